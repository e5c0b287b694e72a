//! From a pod to what is added to it, or why it is not; pure.

use countersign_contract::{Upstream, names, upstream};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::args::InjectArgs;
use super::sidecar;

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

impl Skip {
    /// What its owner should be told, if anything.
    #[must_use]
    pub fn notice(self) -> Option<&'static str> {
        match self {
            Self::AlreadyInjected | Self::Declined => None,
            Self::HostNetwork => Some(
                "the sidecar was not injected: the pod uses the host's network, whose connections are not its own to redirect",
            ),
        }
    }
}

/// Decides about a pod.
#[must_use]
pub fn inject(pod: &Pod, args: &InjectArgs) -> Injection {
    let Some(spec) = &pod.spec else { return Injection::Refuse("the pod has no spec".to_owned()) };
    if let Some(skip) = skip(pod, spec) {
        return Injection::Skip(skip);
    }
    match asked(pod, spec) {
        Ok((upstreams, skipped)) => {
            Injection::Patch(operations(pod, spec, args, &upstreams, &skipped))
        }
        Err(why) => Injection::Refuse(why),
    }
}

fn skip(pod: &Pod, spec: &PodSpec) -> Option<Skip> {
    let inits = spec.init_containers.iter().flatten();
    let has_sidecar = inits.into_iter().any(|container| container.name == names::SIDECAR_CONTAINER);
    if has_sidecar && pod.annotations().contains_key(names::STATUS_ANNOTATION) {
        return Some(Skip::AlreadyInjected);
    }
    if pod.labels().get(names::INJECT_LABEL).is_some_and(|value| value == "disabled") {
        return Some(Skip::Declined);
    }
    (spec.host_network == Some(true)).then_some(Skip::HostNetwork)
}

/// What the pod's annotations ask for, and whether it fits beside what the pod has.
fn asked(pod: &Pod, spec: &PodSpec) -> Result<(Vec<Upstream>, Vec<u16>), String> {
    let annotation = |name| pod.annotations().get(name).map_or("", String::as_str);
    let upstreams = upstream::parse_list(annotation(names::UPSTREAMS_ANNOTATION))
        .map_err(|error| format!("annotation {}: {error}", names::UPSTREAMS_ANNOTATION))?;
    let skipped = ports(annotation(names::SKIP_INBOUND_PORTS_ANNOTATION)).map_err(|port| {
        format!("annotation {}: {port:?} is not a port", names::SKIP_INBOUND_PORTS_ANNOTATION)
    })?;
    let ours = [names::REDIRECT_CONTAINER, names::SIDECAR_CONTAINER];
    for container in containers(spec) {
        if ours.contains(&container.name.as_str()) {
            return Err(format!(
                "container {} has a name that belongs to the sidecar: rename it",
                container.name
            ));
        }
        // Without this a container could name the volume that is about to be added, and read the key.
        let mut mounts = container.volume_mounts.iter().flatten();
        if mounts.any(|mount| mount.name == names::CREDENTIALS_VOLUME) {
            return Err(format!(
                "container {} mounts volume {}, which only the sidecar may: remove the mount",
                container.name,
                names::CREDENTIALS_VOLUME
            ));
        }
        for port in container.ports.iter().flatten().map(|port| port.container_port) {
            if let Some(taken) = taken(port, &upstreams) {
                return Err(format!(
                    "container {} listens on port {port}, which is {taken}: choose another",
                    container.name
                ));
            }
        }
    }
    let volumes = spec.volumes.iter().flatten();
    if volumes.into_iter().any(|volume| volume.name == names::CREDENTIALS_VOLUME) {
        return Err(format!(
            "volume {} has a name that belongs to the sidecar: rename it",
            names::CREDENTIALS_VOLUME
        ));
    }
    match upstreams.iter().find(|upstream| taken(i32::from(upstream.listen), &[]).is_some()) {
        Some(upstream) => Err(format!(
            "annotation {}: port {} is the sidecar's own",
            names::UPSTREAMS_ANNOTATION,
            upstream.listen
        )),
        None => Ok((upstreams, skipped)),
    }
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

fn taken(port: i32, upstreams: &[Upstream]) -> Option<&'static str> {
    let sidecars = [names::INBOUND_PORT, names::OUTBOUND_PORT, names::ADMIN_PORT];
    if sidecars.iter().any(|own| i32::from(*own) == port) {
        return Some("the sidecar's own");
    }
    let an_upstream = upstreams.iter().any(|upstream| i32::from(upstream.listen) == port);
    an_upstream.then_some("that of an upstream")
}

fn ports(text: &str) -> Result<Vec<u16>, String> {
    let items = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty());
    items
        .map(|item| item.parse().ok().filter(|port| *port != 0).ok_or_else(|| item.to_owned()))
        .collect()
}

fn operations(
    pod: &Pod,
    spec: &PodSpec,
    args: &InjectArgs,
    upstreams: &[Upstream],
    skipped: &[u16],
) -> Vec<Value> {
    let account = spec.service_account_name.as_deref().filter(|name| !name.is_empty());
    let account = account.unwrap_or("default");
    let volume = sidecar::volume(account);
    let ours = [sidecar::redirect(args, skipped), sidecar::proxy(args, account, upstreams)];
    let mut operations = Vec::new();
    // First, so that the pod's own init containers are covered too.
    match &spec.init_containers {
        Some(inits) if !inits.is_empty() => {
            for (place, container) in ours.iter().enumerate() {
                operations.push(add(&format!("/spec/initContainers/{place}"), container));
            }
        }
        _ => operations.push(add("/spec/initContainers", &json!(ours))),
    }
    match &spec.volumes {
        Some(volumes) if !volumes.is_empty() => operations.push(add("/spec/volumes/-", &volume)),
        _ => operations.push(add("/spec/volumes", &json!([volume]))),
    }
    let labels = pod.metadata.labels.is_some();
    operations.push(entry("labels", labels, names::INJECTED_LABEL, "true"));
    let annotations = pod.metadata.annotations.is_some();
    operations.push(entry("annotations", annotations, names::STATUS_ANNOTATION, "injected"));
    operations
}

fn add(path: &str, value: &Value) -> Value {
    json!({ "op": "add", "path": path, "value": value })
}

/// One entry of a map of the metadata, which may not be there yet.
fn entry(map: &str, exists: bool, name: &str, value: &str) -> Value {
    if !exists {
        return add(&format!("/metadata/{map}"), &json!({ name: value }));
    }
    let escaped = name.replace('~', "~0").replace('/', "~1");
    add(&format!("/metadata/{map}/{escaped}"), &json!(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: InjectArgs,
    }

    fn args() -> InjectArgs {
        Line::parse_from(["test", "--sidecar-image", "sidecar:1"]).args
    }

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    fn plain() -> Value {
        json!({
            "metadata": { "name": "web" },
            "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
        })
    }

    /// The pod after a patch, as the API server would have it.
    fn patched(before: &Value) -> Value {
        let Injection::Patch(operations) = inject(&pod(before.clone()), &args()) else {
            panic!("not injected: {before}");
        };
        let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations)).unwrap();
        let mut after = before.clone();
        json_patch::patch(&mut after, &patch).unwrap();
        after
    }

    fn names_of(list: &Value) -> Vec<&str> {
        list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn the_sidecar_comes_before_the_pods_own_init_containers() {
        let mut before = plain();
        before["spec"]["initContainers"] = json!([{ "name": "migrate", "image": "app:1" }]);
        before["spec"]["volumes"] = json!([{ "name": "data", "emptyDir": {} }]);
        let after = patched(&before);
        assert_eq!(
            names_of(&after["spec"]["initContainers"]),
            ["countersign-redirect", "countersign-sidecar", "migrate"]
        );
        assert_eq!(names_of(&after["spec"]["volumes"]), ["data", "countersign-credentials"]);
        assert_eq!(after["spec"]["initContainers"][1]["restartPolicy"], "Always");
    }

    #[test]
    fn a_pod_with_nothing_of_its_own_gets_all_of_it() {
        let after = patched(&plain());
        assert_eq!(after["metadata"]["labels"]["countersign.dev/injected"], "true");
        assert_eq!(after["metadata"]["annotations"]["countersign.dev/status"], "injected");
        let secret = &after["spec"]["volumes"][0]["projected"]["sources"][0]["secret"];
        assert_eq!(secret["name"], "countersign-default");
        assert_eq!(secret["optional"], Value::Null);
    }

    #[test]
    fn the_key_is_mounted_into_the_sidecar_only() {
        let after = patched(&plain());
        assert_eq!(after["spec"]["containers"][0]["volumeMounts"], Value::Null);
        assert_eq!(after["spec"]["initContainers"][0]["volumeMounts"], Value::Null);
        let mounts = &after["spec"]["initContainers"][1]["volumeMounts"];
        assert_eq!(names_of(mounts), ["countersign-credentials"]);
    }

    /// Everything that the two containers may do, in full: a right more is a change of this test.
    #[test]
    fn only_the_redirect_may_change_the_network_and_neither_may_anything_else() {
        let mut before = plain();
        before["spec"]["serviceAccountName"] = json!("web");
        before["metadata"]["labels"] = json!({ "app": "web" });
        before["metadata"]["annotations"] =
            json!({ "note": "kept", "countersign.dev/skip-inbound-ports": "9090, 9091" });
        let after = patched(&before);
        let rights = |user: u32, capabilities: Value| {
            json!({
                "runAsUser": user,
                "runAsGroup": user,
                "runAsNonRoot": user != 0,
                "privileged": false,
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": capabilities,
                "seccompProfile": { "type": "RuntimeDefault" },
            })
        };
        let [redirect, sidecar] = [0, 1].map(|place| &after["spec"]["initContainers"][place]);
        let net_admin = json!({ "drop": ["ALL"], "add": ["NET_ADMIN"] });
        assert_eq!(redirect["securityContext"], rights(0, net_admin));
        assert_eq!(sidecar["securityContext"], rights(14100, json!({ "drop": ["ALL"] })));
        let command = "/countersign-sidecar redirect --inbound 14143 --skip-inbound 9090,9091";
        assert_eq!(redirect["command"], json!(command.split(' ').collect::<Vec<_>>()));
        let command = "/countersign-sidecar pod --credentials /var/run/countersign/credentials \
                       --admin 0.0.0.0:14190 --identity \
                       spiffe://cluster.local/ns/$(COUNTERSIGN_NAMESPACE)/sa/web";
        assert_eq!(sidecar["command"], json!(command.split(' ').collect::<Vec<_>>()));
        // The pod's namespace may not be in the pod yet; the kubelet knows it.
        let namespace = json!({ "fieldRef": { "fieldPath": "metadata.namespace" } });
        let variable = json!({ "name": "COUNTERSIGN_NAMESPACE", "valueFrom": namespace });
        assert_eq!(sidecar["env"][0], variable);
        let item = |name: &str| json!({ "key": name, "path": name });
        let items = ["tls.crt", "tls.key", "ca.crt"].map(item);
        let secret = json!({ "name": "countersign-web", "items": items });
        let projected = json!({ "defaultMode": 0o444, "sources": [{ "secret": secret }] });
        assert_eq!(after["spec"]["volumes"][0]["projected"], projected);
        assert_eq!(after["metadata"]["labels"]["app"], "web");
        assert_eq!(after["metadata"]["annotations"]["note"], "kept");
    }

    #[test]
    fn a_pod_is_injected_once() {
        let after = patched(&plain());
        assert_eq!(inject(&pod(after), &args()), Injection::Skip(Skip::AlreadyInjected));
    }

    #[test]
    fn an_upstream_of_the_annotation_is_one_of_the_sidecar() {
        let mut before = plain();
        let upstreams = "9001=web.shop.svc.cluster.local:8080";
        before["metadata"]["annotations"] = json!({ "countersign.dev/upstreams": upstreams });
        let after = patched(&before);
        let command = after["spec"]["initContainers"][1]["command"].to_string();
        assert!(
            command.contains(&format!("{upstreams}=dns:web.shop.svc.cluster.local")),
            "{command}"
        );
    }

    #[test]
    fn a_pod_on_the_hosts_network_or_that_declines_is_left_alone() {
        let mut host = plain();
        host["spec"]["hostNetwork"] = json!(true);
        assert_eq!(inject(&pod(host), &args()), Injection::Skip(Skip::HostNetwork));
        assert!(Skip::HostNetwork.notice().is_some());
        let mut declines = plain();
        declines["metadata"]["labels"] = json!({ "countersign.dev/inject": "disabled" });
        assert_eq!(inject(&pod(declines), &args()), Injection::Skip(Skip::Declined));
    }

    #[test]
    fn a_mistake_is_refused_and_named() {
        let annotated = |name: &str, value: &str| {
            let mut pod = plain();
            pod["metadata"]["annotations"] = json!({ name: value });
            pod
        };
        let listening = |port: u16| {
            let mut pod = plain();
            pod["spec"]["containers"][0]["ports"] = json!([{ "containerPort": port }]);
            pod
        };
        let mut listening_beside_an_upstream = listening(9001);
        listening_beside_an_upstream["metadata"]["annotations"] =
            json!({ "countersign.dev/upstreams": "9001=a.b:1" });
        let with = |part: &str, value: Value| {
            let mut pod = plain();
            pod["spec"][part] = value;
            pod
        };
        let mounting = json!([{
            "name": "app",
            "volumeMounts": [{ "name": "countersign-credentials", "mountPath": "/keys" }],
        }]);
        let cases = [
            (with("containers", mounting.clone()), "remove the mount"),
            (with("initContainers", mounting), "remove the mount"),
            (with("volumes", json!([{ "name": "countersign-credentials" }])), "rename it"),
            (with("initContainers", json!([{ "name": "countersign-redirect" }])), "rename it"),
            (annotated("countersign.dev/upstreams", "14190=a.b:1"), "14190"),
            (annotated("countersign.dev/upstreams", "9001"), "9001"),
            (annotated("countersign.dev/upstreams", "14143=a.b:1"), "14143"),
            (annotated("countersign.dev/skip-inbound-ports", "http"), "http"),
            (annotated("countersign.dev/skip-inbound-ports", "9090,0"), "\"0\""),
            (annotated("countersign.dev/skip-inbound-ports", "70000"), "70000"),
            (listening(14190), "14190"),
            (listening_beside_an_upstream, "that of an upstream"),
        ];
        for (before, named) in cases {
            let Injection::Refuse(why) = inject(&pod(before.clone()), &args()) else {
                panic!("let in: {before}");
            };
            assert!(why.contains(named), "{why}");
        }
    }
}
