//! What an injected pod really does with a port, by the commands that it was given; pure. Annotations
//! may be changed while it runs, which changes nothing of it.

use countersign_contract::names;
use countersign_contract::served::Served;
use k8s_openapi::api::core::v1::{Container, PodSpec};

/// The options by which ports are left alone, and served.
const SKIP: &str = "--skip-inbound";
const SERVE: &str = "--serve";

/// Whether the sidecar stands before a port of a pod.
#[must_use]
pub fn is_covered(spec: &PodSpec, port: u16) -> bool {
    let own = [names::INBOUND_PORT, names::OUTBOUND_PORT, names::ADMIN_PORT];
    let Some(sidecar) = container(spec, names::SIDECAR_CONTAINER) else { return false };
    match container(spec, names::REDIRECT_CONTAINER) {
        Some(redirect) => {
            let mut skipped = values(redirect, SKIP).flat_map(|list| list.split(','));
            !own.contains(&port) && !skipped.any(|item| item.parse() == Ok(port))
        }
        None => {
            let served = values(sidecar, SERVE).filter_map(|text| text.parse::<Served>().ok());
            served.into_iter().any(|served| served.listen == port)
        }
    }
}

/// What is kept of an injected pod's containers: as much as the answer rests on.
#[must_use]
pub fn kept(spec: &PodSpec) -> Vec<Container> {
    let ours = [(names::SIDECAR_CONTAINER, SERVE), (names::REDIRECT_CONTAINER, SKIP)];
    let one = |(name, option): (&str, &str)| {
        let found = container(spec, name)?;
        let command = values(found, option).flat_map(|value| [option, value]).map(str::to_owned);
        let command = Some(command.collect());
        Some(Container { name: name.to_owned(), command, ..Container::default() })
    };
    ours.into_iter().filter_map(one).collect()
}

fn container<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a Container> {
    spec.init_containers.iter().flatten().find(|container| container.name == name)
}

/// The values of an option in a container's command.
fn values<'a>(container: &'a Container, option: &'a str) -> impl Iterator<Item = &'a str> {
    let words = container.command.as_deref().unwrap_or_default();
    let pairs = words.windows(2).filter(move |pair| pair[0] == option);
    pairs.map(|pair| pair[1].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(containers: Value) -> PodSpec {
        serde_json::from_value(json!({ "containers": [], "initContainers": containers })).unwrap()
    }

    #[test]
    fn a_port_is_covered_as_the_pods_own_commands_say() {
        let sidecar = |more: &[&str]| {
            let command = [&["/countersign-sidecar", "pod"], more].concat();
            json!({ "name": "countersign-sidecar", "command": command })
        };
        let redirect = json!({ "name": "countersign-redirect",
            "command": ["/countersign-sidecar", "redirect", "--inbound", "14143", "--skip-inbound", "9090,9091"] });
        let explicit = sidecar(&["--inbound", "0", "--serve", "8443=8080", "--serve", "8444=8081"]);
        let cases = [
            (json!([]), [false, false, false, false]),
            (json!([redirect, sidecar(&[])]), [true, false, true, false]),
            (json!([explicit]), [false, false, true, false]),
            (json!([redirect]), [false, false, false, false]),
        ];
        for (containers, expected) in cases {
            let spec = spec(containers);
            let small = PodSpec { init_containers: Some(kept(&spec)), ..PodSpec::default() };
            for spec in [&spec, &small] {
                assert_eq!([8080, 9091, 8443, 14190].map(|port| is_covered(spec, port)), expected);
            }
        }
    }
}
