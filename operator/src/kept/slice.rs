//! The fields of an EndpointSlice that are used.

use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

use super::metadata::Metadata;
use super::service::{MeshPort, ToldPort};

/// The label by which a slice belongs to a Service (KEP-752).
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A slice of a Service's endpoints.
#[derive(Clone, Debug, Default, Deserialize, Resource)]
#[resource(inherit = EndpointSlice)]
#[serde(from = "Told")]
pub struct MeshSlice {
    metadata: ObjectMeta,
    /// The name of its Service, which is in the same namespace.
    pub service: Option<Box<str>>,
    /// The TCP ports of its endpoints.
    pub ports: Box<[MeshPort]>,
    /// Its endpoints, as far as they have an IP address.
    pub endpoints: Box<[MeshEndpoint]>,
}

/// An endpoint. Of several addresses only the first counts, as for kube-proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshEndpoint {
    /// Its address.
    pub ip: IpAddr,
    /// Whether it serves.
    pub state: EndpointState,
    /// Its node.
    pub node: Option<Box<str>>,
    /// The pod that the slice's author says it is, in the slice's own namespace. A pod of another
    /// namespace is not kept: a slice says nothing about those.
    pub pod: Option<Box<TargetPod>>,
    /// The nodes and zones that it is meant for.
    pub hints: Option<Box<Hints>>,
}

/// Whether an endpoint serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointState {
    /// It is ready.
    Ready,
    /// It is terminating, and serves while it does.
    Terminating,
    /// It does not serve.
    NotServing,
}

/// A pod that a slice names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetPod {
    /// Its name.
    pub name: Box<str>,
    /// Its uid, without which a slice names no pod.
    pub uid: Box<str>,
}

/// The nodes and zones that an endpoint is meant for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Names of nodes.
    pub nodes: Box<[Box<str>]>,
    /// Names of zones.
    pub zones: Box<[Box<str>]>,
}

impl MeshSlice {
    /// Removes what only the watch itself needs.
    pub fn lessen(&mut self) {
        self.metadata.resource_version = None;
        self.metadata.labels = None;
        self.metadata.annotations = None;
    }

    /// The number of a Service's port on these endpoints; they have the same name.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|port| &*port.name == name).map(|port| port.number)
    }
}

#[derive(Debug, Deserialize)]
struct Told {
    metadata: Metadata,
    ports: Option<Vec<ToldPort>>,
    endpoints: Option<Vec<ToldEndpoint>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToldEndpoint {
    #[serde(default)]
    addresses: Vec<String>,
    conditions: Option<Conditions>,
    node_name: Option<String>,
    target_ref: Option<TargetRef>,
    hints: Option<ToldHints>,
}

#[derive(Debug, Deserialize)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct TargetRef {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToldHints {
    for_nodes: Option<Vec<Named>>,
    for_zones: Option<Vec<Named>>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

impl From<Told> for MeshSlice {
    fn from(Told { metadata, ports, endpoints }: Told) -> Self {
        let metadata = metadata.kept();
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let service = metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        let endpoints = endpoints.into_iter().flatten();
        Self {
            service: service.map(|name| name.as_str().into()),
            ports: ports.into_iter().flatten().filter_map(ToldPort::tcp).collect(),
            endpoints: endpoints.filter_map(|endpoint| endpoint.kept(namespace)).collect(),
            metadata,
        }
    }
}

impl ToldEndpoint {
    fn kept(self, namespace: &str) -> Option<MeshEndpoint> {
        let target = self.target_ref.filter(|target| {
            let is_here = target.namespace.as_deref().is_none_or(|of| of == namespace);
            is_here && target.kind.as_deref() == Some("Pod")
        });
        let pod = target.and_then(|target| {
            let uid = target.uid.filter(|uid| !uid.is_empty())?.into();
            Some(Box::new(TargetPod { name: target.name?.into(), uid }))
        });
        Some(MeshEndpoint {
            ip: self.addresses.first()?.parse().ok()?,
            state: state(self.conditions.as_ref()),
            node: self.node_name.map(Into::into),
            pod,
            hints: self.hints.and_then(ToldHints::kept),
        })
    }
}

impl ToldHints {
    fn kept(self) -> Option<Box<Hints>> {
        let names = |all: Option<Vec<Named>>| {
            all.into_iter().flatten().map(|named| named.name.into()).collect()
        };
        let hints = Hints { nodes: names(self.for_nodes), zones: names(self.for_zones) };
        (hints != Hints::default()).then(|| Box::new(hints))
    }
}

/// A condition that is absent counts as ready (discovery.k8s.io/v1, EndpointConditions).
fn state(conditions: Option<&Conditions>) -> EndpointState {
    let Some(conditions) = conditions else { return EndpointState::Ready };
    let is_ready = conditions.ready.unwrap_or(true);
    let ends = conditions.terminating.unwrap_or(false) && conditions.serving.unwrap_or(is_ready);
    match (is_ready, ends) {
        (true, _) => EndpointState::Ready,
        (false, true) => EndpointState::Terminating,
        (false, false) => EndpointState::NotServing,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn slice(endpoints: Value) -> MeshSlice {
        serde_json::from_value(json!({
            "metadata": { "name": "web-1", "namespace": "shop", "labels": { SERVICE_NAME: "web" } },
            "ports": [{ "name": "http", "port": 8080 }, { "name": "dns", "port": 53, "protocol": "UDP" }, { "name": "any" }],
            "endpoints": endpoints,
        }))
        .unwrap()
    }

    #[test]
    fn believes_a_slice_about_pods_of_its_own_namespace_only() {
        let target = |kind: &str, namespace: Value| {
            json!([{ "addresses": ["10.0.0.1"],
            "targetRef": { "kind": kind, "namespace": namespace, "name": "a", "uid": "u" } }])
        };
        let cases = [
            (target("Pod", json!("shop")), true),
            (target("Pod", json!(null)), true),
            (target("Pod", json!("bank")), false),
            (target("Node", json!("shop")), false),
            (json!([{ "addresses": ["10.0.0.1"] }]), false),
        ];
        for (endpoints, has_pod) in cases {
            let slice = slice(endpoints.clone());
            assert_eq!(slice.endpoints[0].pod.is_some(), has_pod, "{endpoints}");
        }
    }

    #[test]
    fn keeps_the_first_address_the_state_and_the_hints() {
        let slice = slice(json!([
            { "addresses": ["10.0.0.1", "10.0.0.2"], "nodeName": "n",
              "hints": { "forZones": [{ "name": "x" }] } },
            { "addresses": ["10.0.0.3"], "conditions": { "ready": false, "serving": true, "terminating": true } },
            { "addresses": ["10.0.0.4"], "conditions": { "ready": false } },
            { "addresses": ["web.example"] }, { "addresses": [] },
        ]));
        assert_eq!(
            (slice.service.as_deref(), slice.port("http"), slice.port("dns")),
            (Some("web"), Some(8080), None)
        );
        let found: Vec<_> =
            slice.endpoints.iter().map(|it| (it.ip.to_string(), it.state)).collect();
        let expected = [
            ("10.0.0.1".to_owned(), EndpointState::Ready),
            ("10.0.0.3".to_owned(), EndpointState::Terminating),
            ("10.0.0.4".to_owned(), EndpointState::NotServing),
        ];
        assert_eq!(found, expected);
        assert_eq!(&*slice.endpoints[0].hints.as_ref().unwrap().zones[0], "x");
        assert!(slice.endpoints[1].hints.is_none());
    }

    #[test]
    fn an_endpoint_takes_less_than_a_fifth_of_what_the_library_type_takes() {
        use k8s_openapi::api::discovery::v1::Endpoint;
        assert!(
            size_of::<MeshEndpoint>() * 5 <= size_of::<Endpoint>(),
            "{}",
            size_of::<MeshEndpoint>()
        );
    }
}
