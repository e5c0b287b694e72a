//! From a pod to what is added to it, or why it is not; pure.

use countersign_contract::{ProbeDocument, Upstream, names};
use serde_json::{Map, Value, json};

use super::again::again;
use super::annotations::{Mode, Wishes, wishes};
use super::args::InjectArgs;
use super::pod::{Container, Pod, PodSpec};
use super::probes::{Rewritten, rewrite};
use super::{dress, sidecar};

/// So many ports that are not covered are told of each container, and so many containers.
const MOST_PORTS: usize = 8;

/// What is done about a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Injection {
    /// These operations (JSON Patch, RFC 6902) add the sidecar.
    Patch(Vec<Value>),
    /// It is left as it is.
    Skip(Skip),
    /// It cannot be let in as it is; the sentence says what to change.
    Refuse(String),
}

/// Why a pod is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// It has the sidecar already.
    AlreadyInjected,
    /// Its label declines.
    Declined,
    /// It uses the node's own network, whose connections are not its own to redirect.
    HostNetwork,
}

/// Decides about a pod. The token is a secret of its own, by which its sidecar knows its kubelet.
#[must_use]
pub fn inject(pod: &Pod, args: &InjectArgs, token: &str) -> Injection {
    let Some(spec) = &pod.spec else { return Injection::Refuse("the pod has no spec".to_owned()) };
    let document = ProbeDocument { token: token.to_owned(), ..ProbeDocument::default() };
    match skip(pod, spec) {
        Some(Skip::AlreadyInjected) => return again(pod, spec, args, document),
        Some(skip) => return Injection::Skip(skip),
        None => {}
    }
    let asked = wishes(pod, spec, args).and_then(|wishes| fits(spec, &wishes).map(|()| wishes));
    match asked {
        Ok(mut wishes) => {
            wishes.notes.extend(uncovered(spec));
            let rewritten = rewrite(spec, &wishes, document);
            Injection::Patch(operations(pod, spec, args, wishes, rewritten))
        }
        Err(why) => Injection::Refuse(why),
    }
}

fn skip(pod: &Pod, spec: &PodSpec) -> Option<Skip> {
    if has_sidecar(spec) && pod.annotations().contains_key(names::STATUS_ANNOTATION) {
        return Some(Skip::AlreadyInjected);
    }
    if pod.labels().get(names::INJECT_LABEL).is_some_and(|value| value == "disabled") {
        return Some(Skip::Declined);
    }
    (spec.host_network == Some(true)).then_some(Skip::HostNetwork)
}

/// Whether the sidecar is there.
fn has_sidecar(spec: &PodSpec) -> bool {
    spec.init_containers.iter().any(|container| container.name == names::SIDECAR_CONTAINER)
}

/// What is to be told of ports that the sidecar does not protect: it carries TCP only.
fn uncovered(spec: &PodSpec) -> Vec<String> {
    let of_container = |container: &Container| {
        let ports = container.ports.iter();
        let others =
            ports.filter(|port| port.protocol.as_deref().is_some_and(|protocol| protocol != "TCP"));
        let named = others.take(MOST_PORTS).map(|port| {
            format!("{}/{}", port.container_port, port.protocol.as_deref().unwrap_or_default())
        });
        let named: Vec<_> = named.collect();
        let name = &container.name;
        (!named.is_empty()).then(|| {
            format!(
                "container {name}: port {} is not covered: the sidecar carries TCP only, and every pod reaches it; restrict it by a NetworkPolicy",
                named.join(", ")
            )
        })
    };
    containers(spec).filter_map(of_container).take(MOST_PORTS).collect()
}

/// Whether what the pod asks for fits beside what it has.
fn fits(spec: &PodSpec, wishes: &Wishes) -> Result<(), String> {
    containers(spec).try_for_each(|container| beside(container, wishes))?;
    containers(spec).try_for_each(|container| as_somebody_else(container, spec))?;
    if spec.volumes.has_credentials {
        return Err(format!(
            "volume {} has a name that belongs to the sidecar: rename it",
            names::CREDENTIALS_VOLUME
        ));
    }
    let listening = wishes.upstreams.iter().map(|it| (names::UPSTREAMS_ANNOTATION, it.listen));
    // Behind a served port the sidecar's own would take its callers for callers on loopback.
    let served = wishes.served.iter().flat_map(|it| [it.listen, it.target]);
    let serving = served.map(|port| (names::INBOUND_ANNOTATION, port));
    for (name, port) in listening.chain(serving) {
        let is_served = wishes.served.iter().any(|served| served.listen == port);
        if is_own(i32::from(port)) {
            return Err(format!("annotation {name}: port {port} is the sidecar's own"));
        }
        if name == names::UPSTREAMS_ANNOTATION && is_served {
            return Err(format!("annotation {name}: port {port} is served by the sidecar"));
        }
    }
    Ok(())
}

/// The same of a pod that has our containers.
pub(super) fn others_fit(spec: &PodSpec, wishes: &Wishes) -> Result<(), String> {
    let ours = [names::REDIRECT_CONTAINER, names::SIDECAR_CONTAINER];
    let inits = spec.init_containers.iter().filter(|it| !ours.contains(&it.name.as_str()));
    inits.chain(&spec.containers).try_for_each(|container| {
        beside(container, wishes)?;
        as_somebody_else(container, spec)
    })
}

fn beside(container: &Container, wishes: &Wishes) -> Result<(), String> {
    let name = &container.name;
    if [names::REDIRECT_CONTAINER, names::SIDECAR_CONTAINER].contains(&name.as_str()) {
        return Err(format!("container {name} has a name that belongs to the sidecar: rename it"));
    }
    // Without this a container could name the volume that is about to be added, and read the key.
    if container.volume_mounts.has_credentials {
        return Err(format!(
            "container {name} mounts volume {}, which only the sidecar may: remove the mount",
            names::CREDENTIALS_VOLUME
        ));
    }
    for port in container.ports.iter().map(|port| port.container_port) {
        if let Some(taken) = taken(port, wishes) {
            return Err(format!(
                "container {name} listens on port {port}, which is {taken}: choose another"
            ));
        }
    }
    Ok(())
}

/// What runs as the sidecar's user is not redirected, and where processes are shared it could read the
/// sidecar's key. What an image says of its user is not seen here.
fn as_somebody_else(container: &Container, spec: &PodSpec) -> Result<(), String> {
    let own = container.security_context.as_ref().and_then(|context| context.run_as_user);
    let pods = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    match own.or(pods) {
        Some(user) if user == i64::from(names::SIDECAR_UID) => Err(format!(
            "container {} runs as user {user}, which is the sidecar's own: choose another",
            container.name
        )),
        _ => Ok(()),
    }
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().chain(&spec.containers)
}

fn is_own(port: i32) -> bool {
    let sidecars = [names::INBOUND_PORT, names::OUTBOUND_PORT, names::ADMIN_PORT];
    sidecars.iter().any(|own| i32::from(*own) == port)
}

fn taken(port: i32, wishes: &Wishes) -> Option<&'static str> {
    let is_upstream = |upstream: &Upstream| i32::from(upstream.listen) == port;
    if is_own(port) {
        Some("the sidecar's own")
    } else if wishes.upstreams.iter().any(is_upstream) {
        Some("that of an upstream")
    } else if wishes.served.iter().any(|served| i32::from(served.listen) == port) {
        Some("served by the sidecar")
    } else {
        None
    }
}

fn operations(
    pod: &Pod,
    spec: &PodSpec,
    args: &InjectArgs,
    wishes: Wishes,
    rewritten: Rewritten,
) -> Vec<Value> {
    let ours = containers_of_ours(spec, args, &wishes, rewritten.document.as_deref());
    // While containers still are where they were.
    let mut operations = rewritten.operations;
    // First, so that the pod's own init containers are covered too.
    if spec.init_containers.is_empty() {
        operations.push(add("/spec/initContainers", &json!(ours)));
    } else {
        for (place, container) in ours.iter().enumerate() {
            operations.push(add(&format!("/spec/initContainers/{place}"), container));
        }
    }
    operations.push(volume(spec));
    let labels = pod.metadata.labels.is_some();
    operations.extend(entries("labels", labels, vec![(names::INJECTED_LABEL, "true".to_owned())]));
    let annotations = pod.metadata.annotations.is_some();
    let notes: Vec<_> = wishes.notes.into_iter().chain(rewritten.notes).collect();
    operations.extend(entries("annotations", annotations, said(args, wishes.mode, &notes)));
    operations
}

/// The sidecar, behind the rules where the pod's connections are redirected.
pub(super) fn containers_of_ours(
    spec: &PodSpec,
    args: &InjectArgs,
    wishes: &Wishes,
    probes: Option<&str>,
) -> Vec<Value> {
    let redirect = (wishes.mode == Mode::Redirect)
        .then(|| dress::redirect(sidecar::redirect(args, &wishes.skip_inbound), wishes));
    let proxy = sidecar::proxy(args, account(spec), &wishes.upstreams);
    redirect.into_iter().chain([dress::proxy(proxy, wishes, probes)]).collect()
}

fn account(spec: &PodSpec) -> &str {
    let account = spec.service_account_name.as_deref().filter(|name| !name.is_empty());
    account.unwrap_or("default")
}

/// Adds the credentials.
pub(super) fn volume(spec: &PodSpec) -> Value {
    let volume = sidecar::volume(account(spec));
    if spec.volumes.any {
        add("/spec/volumes/-", &volume)
    } else {
        add("/spec/volumes", &json!([volume]))
    }
}

/// What the pod's annotations say of what was done.
fn said(args: &InjectArgs, mode: Mode, notes: &[String]) -> Vec<(&'static str, String)> {
    // Written even where there is nothing to tell: nobody else speaks in our name.
    let mut said = vec![
        (names::STATUS_ANNOTATION, "injected".to_owned()),
        (names::SIDECAR_VERSION_ANNOTATION, version(&args.sidecar_image).to_owned()),
        (names::INJECTION_NOTES_ANNOTATION, json!(notes).to_string()),
    ];
    if mode == Mode::Redirect {
        said.push((names::REDIRECT_NEEDS_ANNOTATION, sidecar::NEEDS.to_owned()));
    }
    said
}

/// The version of an image: its tag, or our own where it has none.
pub(super) fn version(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    let tag = name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'));
    tag.filter(|tag| !tag.is_empty()).unwrap_or(env!("CARGO_PKG_VERSION"))
}

pub(super) fn add(path: &str, value: &Value) -> Value {
    json!({ "op": "add", "path": path, "value": value })
}

/// Entries of a map of the metadata, which may not be there yet.
fn entries(map: &str, exists: bool, entries: Vec<(&'static str, String)>) -> Vec<Value> {
    if !exists {
        let whole = entries.into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
        return vec![add(
            &format!("/metadata/{map}"),
            &Value::Object(whole.collect::<Map<_, _>>()),
        )];
    }
    let one = |(name, value): (&str, String)| {
        let escaped = name.replace('~', "~0").replace('/', "~1");
        add(&format!("/metadata/{map}/{escaped}"), &json!(value))
    };
    entries.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests;
