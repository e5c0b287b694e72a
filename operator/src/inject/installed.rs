//! What an injected pod's containers were given, as far as others ask.

use countersign_contract::covered::{self, SERVE, SKIP, values};
use countersign_contract::names;
use k8s_openapi::api::core::v1::{Container, PodSpec};

/// Whether the sidecar stands before a port of a pod.
#[must_use]
pub fn is_covered(spec: &PodSpec, port: u16) -> bool {
    let command = |name| Some(container(spec, name)?.command.as_deref().unwrap_or_default());
    let [redirect, sidecar] = [names::REDIRECT_CONTAINER, names::SIDECAR_CONTAINER].map(command);
    covered::is_covered(redirect, sidecar, port)
}

/// What is kept of an injected pod's containers: as much as the answer rests on.
#[must_use]
pub fn kept(spec: &PodSpec) -> Vec<Container> {
    let ours = [(names::SIDECAR_CONTAINER, SERVE), (names::REDIRECT_CONTAINER, SKIP)];
    let one = |(name, option): (&str, &str)| {
        let command = container(spec, name)?.command.as_deref().unwrap_or_default();
        let command = values(command, option).flat_map(|value| [option, value]);
        let command = Some(command.map(str::to_owned).collect());
        Some(Container { name: name.to_owned(), command, ..Container::default() })
    };
    ours.into_iter().filter_map(one).collect()
}

fn container<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a Container> {
    spec.init_containers.iter().flatten().find(|container| container.name == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_kept_of_a_pod_answers_as_the_whole_pod_does() {
        let redirect = json!({ "name": "countersign-redirect",
            "command": ["/countersign-sidecar", "redirect", "--skip-inbound", "9090,9091"] });
        let sidecar = |more: &[&str]| {
            let command = [&["/countersign-sidecar", "pod"], more].concat();
            json!({ "name": "countersign-sidecar", "command": command })
        };
        let explicit = sidecar(&["--serve", "8443=8080", "--serve", "8444=8081"]);
        for inits in [json!([]), json!([redirect, sidecar(&[])]), json!([explicit])] {
            let spec = json!({ "containers": [], "initContainers": inits });
            let spec: PodSpec = serde_json::from_value(spec).unwrap();
            let small = PodSpec { init_containers: Some(kept(&spec)), ..PodSpec::default() };
            for port in [8080, 9090, 8443, 8444, 14190] {
                assert_eq!(is_covered(&small, port), is_covered(&spec, port), "{inits} {port}");
            }
        }
    }
}
