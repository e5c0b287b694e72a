//! What is kept of an injected pod.

use std::net::IpAddr;

use countersign_contract::covered::{Covered, DISCOVERY, values};
use countersign_contract::names;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

use super::metadata::Metadata;

/// An injected pod: whose it is, where it runs and at which addresses, and what its containers were
/// given of what the sidecar does.
#[derive(Clone, Debug, Default, Deserialize, Resource)]
#[resource(inherit = Pod)]
#[serde(from = "Told")]
pub struct MeshPod {
    metadata: ObjectMeta,
    /// Its service account; a pod that names none runs as `default`.
    pub service_account: Box<str>,
    /// The node that it was given.
    pub node: Option<Box<str>>,
    /// Its addresses, of both families.
    pub ips: Box<[IpAddr]>,
    /// The uid of the controller that made it.
    pub controller: Option<Box<str>>,
    /// Whether all of its containers ended, and none will be started again.
    pub has_ended: bool,
    /// Whether its condition says so.
    pub is_ready: bool,
    /// Whether its sidecar runs, and was started to ask discovery.
    pub asks_discovery: bool,
    /// Whether it uses its node's network, so that its addresses are the node's.
    pub is_host_network: bool,
    /// The ports that the sidecar stands before, read once.
    covered: Covered,
}

impl MeshPod {
    /// Whether it is in a namespace.
    #[must_use]
    pub fn is_in(&self, namespace: &str) -> bool {
        self.metadata.namespace.as_deref() == Some(namespace)
    }

    /// The addresses that it alone may have: none with the node's network, none once it ended.
    #[must_use]
    pub fn claims(&self) -> &[IpAddr] {
        if self.is_host_network || self.has_ended { &[] } else { &self.ips }
    }

    /// Whether its deletion has begun, so that its address may be given to another pod.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether it has the sidecar.
    #[must_use]
    pub fn has_sidecar(&self) -> bool {
        self.covered.has_sidecar()
    }

    /// Whether the sidecar stands before a port.
    #[must_use]
    pub fn is_covered(&self, port: u16) -> bool {
        self.covered.has(port)
    }

    /// Leaves out what only the watch itself asks for.
    pub fn lessen(&mut self) {
        self.metadata.resource_version = None;
    }
}

/// A pod as it is told.
#[derive(Debug, Deserialize)]
struct Told {
    metadata: Metadata,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    service_account_name: Option<String>,
    node_name: Option<String>,
    host_network: Option<bool>,
    init_containers: Option<Vec<Container>>,
}

#[derive(Debug, Deserialize)]
struct Container {
    name: String,
    command: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
    conditions: Option<Vec<Condition>>,
    #[serde(rename = "initContainerStatuses")]
    inits: Option<Vec<ContainerStatus>>,
}

#[derive(Debug, Deserialize)]
struct ContainerStatus {
    name: String,
    state: Option<ContainerState>,
}

#[derive(Debug, Deserialize)]
struct ContainerState {
    running: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct PodIp {
    ip: String,
}

#[derive(Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl From<Told> for MeshPod {
    fn from(Told { mut metadata, spec, status }: Told) -> Self {
        let (spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
        let account = spec.service_account_name.as_deref().filter(|name| !name.is_empty());
        let ips = status.pod_ips.iter().flatten();
        let mut conditions = status.conditions.iter().flatten();
        Self {
            asks_discovery: spec.asks_discovery() && status.sidecar_runs(),
            service_account: account.unwrap_or("default").into(),
            ips: ips.filter_map(|pod_ip| pod_ip.ip.parse().ok()).collect(),
            controller: metadata.controller().map(Into::into),
            has_ended: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            is_host_network: spec.host_network.unwrap_or_default(),
            is_ready: conditions.any(|one| one.type_ == "Ready" && one.status == "True"),
            covered: Covered::new(
                spec.command(names::REDIRECT_CONTAINER),
                spec.command(names::SIDECAR_CONTAINER),
            ),
            node: spec.node_name.map(Into::into),
            metadata: metadata.kept(),
        }
    }
}

impl Spec {
    fn asks_discovery(&self) -> bool {
        let command = self.command(names::SIDECAR_CONTAINER).unwrap_or_default();
        values(command, DISCOVERY).next().is_some()
    }

    fn command(&self, name: &str) -> Option<&[String]> {
        let container = self.init_containers.iter().flatten().find(|one| one.name == name)?;
        Some(container.command.as_deref().unwrap_or_default())
    }
}

impl Status {
    fn sidecar_runs(&self) -> bool {
        let is_sidecar = |one: &&ContainerStatus| one.name == names::SIDECAR_CONTAINER;
        let state = self.inits.iter().flatten().find(is_sidecar).and_then(|one| one.state.as_ref());
        state.is_some_and(|state| state.running.is_some())
    }
}

#[cfg(test)]
mod tests {
    use countersign_contract::covered;
    use kube::ResourceExt;
    use serde_json::{Value, json};

    use super::*;

    /// The words of a container's command, where there is one.
    type Words<'a> = Option<&'a [&'a str]>;

    fn pod(value: Value) -> MeshPod {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_kept_of_a_pod_answers_as_the_whole_pod_does() {
        let redirect = ["/countersign-sidecar", "redirect", "--skip-inbound", "9090,9091"];
        let plain = ["/countersign-sidecar", "pod"];
        let explicit = ["/countersign-sidecar", "pod", "--serve", "8443=8080", "--serve", "1=2"];
        let cases: [(Words<'_>, Words<'_>); 5] = [
            (None, None),
            (Some(&redirect), None),
            (Some(&redirect), Some(&plain)),
            (None, Some(&plain)),
            (None, Some(&explicit)),
        ];
        for (redirect, sidecar) in cases {
            let container =
                |name, command: Words<'_>| Some(json!({"name": name, "command": command?}));
            let inits = [
                container(names::REDIRECT_CONTAINER, redirect),
                container(names::SIDECAR_CONTAINER, sidecar),
            ];
            let inits: Vec<Value> = inits.into_iter().flatten().collect();
            let small = pod(json!({ "metadata": {}, "spec": { "initContainers": inits } }));
            let words = |command: Words<'_>| -> Option<Vec<String>> {
                Some(command?.iter().map(|word| (*word).to_owned()).collect())
            };
            let (redirect, sidecar) = (words(redirect), words(sidecar));
            assert_eq!(small.has_sidecar(), sidecar.is_some());
            for port in [8080, 9090, 8443, 8444, 14190] {
                let whole = covered::is_covered(redirect.as_deref(), sidecar.as_deref(), port);
                assert_eq!(small.is_covered(port), whole, "{inits:?} {port}");
            }
        }
    }

    #[test]
    fn a_pod_is_known_by_what_the_api_server_tells_of_it() {
        let known = pod(json!({
            "metadata": {
                "name": "web-0", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "labels": { "app": "web" },
                "annotations": { "countersign.dev/sidecar-version": "1", "cni.example/address": "x" },
                "ownerReferences": [
                    { "apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c" },
                    { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": true },
                ],
                "managedFields": [{ "manager": "kubelet", "fieldsV1": { "f:metadata": {} } }],
            },
            "spec": { "serviceAccountName": "web", "nodeName": "n", "containers": [{ "name": "app" }] },
            "status": {
                "phase": "Running", "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }, { "ip": "" }],
                "conditions": [{ "type": "Initialized", "status": "True" }, { "type": "Ready", "status": "True" }],
            },
        }));
        assert_eq!(
            (known.name_any().as_str(), known.namespace().as_deref()),
            ("web-0", Some("shop"))
        );
        assert_eq!((&*known.service_account, known.node.as_deref()), ("web", Some("n")));
        assert_eq!(known.controller.as_deref(), Some("r"));
        assert_eq!(*known.ips, ["10.0.0.1", "fd00::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        assert_eq!(known.labels()["app"], "web");
        assert_eq!(
            known.annotations().keys().collect::<Vec<_>>(),
            ["countersign.dev/sidecar-version"]
        );
        assert!(known.is_ready && !known.has_ended);
    }

    #[test]
    fn a_sidecar_asks_discovery_once_it_runs_and_where_it_was_told_to() {
        let asking = json!(["/countersign-sidecar", "pod", "--discovery", "discovery:14142"]);
        let running = json!({ "running": { "startedAt": "2026-01-01T00:00:00Z" } });
        let cases = [
            (&asking, running.clone(), true),
            (&asking, json!({ "waiting": { "reason": "CrashLoopBackOff" } }), false),
            (&asking, json!({ "terminated": { "exitCode": 1 } }), false),
            (&asking, json!(null), false),
            (&json!(["/countersign-sidecar", "pod"]), running, false),
        ];
        for (command, state, expected) in cases {
            let sidecar = json!({ "name": names::SIDECAR_CONTAINER, "command": command });
            let status = json!({ "name": names::SIDECAR_CONTAINER, "state": state });
            let pod = pod(json!({
                "metadata": {}, "spec": { "initContainers": [sidecar] },
                "status": { "initContainerStatuses": [status] },
            }));
            assert_eq!(pod.asks_discovery, expected, "{command} {state}");
        }
    }

    #[test]
    fn of_what_is_not_said_the_default_holds() {
        let unready = json!([{ "type": "Ready", "status": "False" }]);
        let cases = [
            (json!({ "metadata": {} }), (false, false)),
            (json!({ "metadata": {}, "spec": null, "status": null }), (false, false)),
            (
                json!({ "metadata": {}, "status": { "podIPs": null, "conditions": unready } }),
                (false, false),
            ),
            (json!({ "metadata": {}, "status": { "phase": "Succeeded" } }), (false, true)),
            (json!({ "metadata": {}, "status": { "phase": "Failed" } }), (false, true)),
        ];
        for (told, (is_ready, has_ended)) in cases {
            let pod = pod(told);
            assert_eq!((pod.is_ready, pod.has_ended), (is_ready, has_ended));
            assert_eq!(
                (&*pod.service_account, pod.ips.len(), pod.has_sidecar()),
                ("default", 0, false)
            );
        }
    }

    #[test]
    fn of_ports_that_are_named_again_and_again_each_is_kept_once() {
        let ports = ["9"; 100_000].join(",");
        let command = ["redirect", "--skip-inbound", &ports];
        let pod = pod(json!({ "metadata": {}, "spec": { "initContainers": [
            { "name": names::REDIRECT_CONTAINER, "command": command },
            { "name": names::SIDECAR_CONTAINER },
        ] } }));
        assert_eq!(pod.covered, Covered::AllBut([9].into()));
    }
}
