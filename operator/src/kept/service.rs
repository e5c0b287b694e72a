//! The fields of a Service that are used.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

use super::metadata::Metadata;

/// A Service: its addresses, its TCP ports, and the labels by which it selects pods.
#[derive(Clone, Debug, Default, Deserialize, Resource)]
#[resource(inherit = Service)]
#[serde(from = "Told")]
pub struct MeshService {
    metadata: ObjectMeta,
    /// Its cluster IPs, of both families. The API server gives each to one Service only.
    pub cluster_ips: Box<[IpAddr]>,
    /// `spec.externalIPs`, and addresses of load balancers that kube-proxy leads to the endpoints.
    /// Any author of a Service may write any address here.
    pub external_ips: Box<[IpAddr]>,
    /// Its TCP ports.
    pub ports: Box<[MeshPort]>,
    /// The labels by which it selects pods; empty: it selects none.
    pub selector: BTreeMap<String, String>,
    /// `internalTrafficPolicy: Local`.
    pub is_local: bool,
    /// `sessionAffinity: ClientIP`.
    pub is_sticky: bool,
}

/// A TCP port of a Service, or of the endpoints of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshPort {
    /// Its name; empty, where there is one port only.
    pub name: Box<str>,
    /// Its number.
    pub number: u16,
}

impl MeshService {
    /// Whether it is in a namespace.
    #[must_use]
    pub fn is_in(&self, namespace: &str) -> bool {
        self.metadata.namespace.as_deref() == Some(namespace)
    }

    /// Removes what only the watch itself needs.
    pub fn lessen(&mut self) {
        self.metadata.resource_version = None;
        self.metadata.labels = None;
        self.metadata.annotations = None;
    }
}

#[derive(Debug, Deserialize)]
struct Told {
    metadata: Metadata,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
    ports: Option<Vec<ToldPort>>,
    selector: Option<BTreeMap<String, String>>,
    internal_traffic_policy: Option<String>,
    session_affinity: Option<String>,
}

/// A port as the API server writes it, of a Service or of a slice.
#[derive(Debug, Deserialize)]
pub(super) struct ToldPort {
    name: Option<String>,
    port: Option<i32>,
    protocol: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    load_balancer: Option<LoadBalancer>,
}

#[derive(Debug, Default, Deserialize)]
struct LoadBalancer {
    ingress: Option<Vec<Ingress>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ingress {
    ip: Option<String>,
    ip_mode: Option<String>,
}

impl From<Told> for MeshService {
    fn from(Told { metadata, spec, status }: Told) -> Self {
        let (spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
        let own = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
        let cluster_ips = addresses(own);
        let ingress = status.load_balancer.iter().flat_map(|it| it.ingress.iter().flatten());
        let led = ingress.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
        let external =
            spec.external_ips.iter().flatten().chain(led.filter_map(|it| it.ip.as_ref()));
        // kube-proxy leads nowhere what has no cluster IP (headless, ExternalName).
        let external_ips =
            if cluster_ips.is_empty() { Box::default() } else { addresses(external) };
        Self {
            cluster_ips,
            external_ips,
            ports: spec.ports.into_iter().flatten().filter_map(ToldPort::tcp).collect(),
            selector: spec.selector.unwrap_or_default(),
            is_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            is_sticky: spec.session_affinity.as_deref() == Some("ClientIP"),
            metadata: metadata.kept(),
        }
    }
}

impl ToldPort {
    /// The port, if it is a TCP port with a number.
    pub(super) fn tcp(self) -> Option<MeshPort> {
        let is_tcp = self.protocol.as_deref().unwrap_or("TCP") == "TCP";
        let number = self.port.and_then(|port| u16::try_from(port).ok()).filter(|_| is_tcp)?;
        Some(MeshPort { name: self.name.unwrap_or_default().into(), number })
    }
}

/// Distinct addresses; `None`, names, and what else is no address are omitted.
fn addresses<'a>(texts: impl Iterator<Item = &'a String>) -> Box<[IpAddr]> {
    let mut ips: Vec<IpAddr> = texts.filter_map(|ip| ip.parse().ok()).collect();
    ips.sort_unstable();
    ips.dedup();
    ips.into()
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::{Value, json};

    use super::*;

    fn service(spec: Value, status: Value) -> MeshService {
        let metadata = json!({ "name": "web", "namespace": "shop",
            "annotations": { "example.org/large": "x" }, "creationTimestamp": "2026-01-01T00:00:00Z" });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": status }))
            .unwrap()
    }

    fn texts(ips: &[IpAddr]) -> String {
        ips.iter().map(|ip| ip.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn keeps_cluster_ips_and_external_ips_apart() {
        let balancer = json!({ "loadBalancer": { "ingress": [
            { "ip": "192.0.2.2" }, { "ip": "192.0.2.3", "ipMode": "Proxy" }, { "hostname": "x.example" },
        ] } });
        let cases = [
            (
                json!({ "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00::7"],
                     "externalIPs": ["192.0.2.1", "192.0.2.1"] }),
                "10.96.0.7 fd00::7",
                "192.0.2.1 192.0.2.2",
            ),
            (
                json!({ "clusterIP": "None", "clusterIPs": ["None"], "externalIPs": ["192.0.2.1"] }),
                "",
                "",
            ),
            (json!({ "externalName": "x.example", "externalIPs": ["192.0.2.1"] }), "", ""),
            (json!(null), "", ""),
        ];
        for (spec, cluster, external) in cases {
            let service = service(spec.clone(), balancer.clone());
            let found = (texts(&service.cluster_ips), texts(&service.external_ips));
            assert_eq!(found, (cluster.to_owned(), external.to_owned()), "{spec}");
        }
    }

    #[test]
    fn keeps_tcp_ports_and_drops_annotations_of_others() {
        let mut service = service(
            json!({ "ports": [{ "name": "http", "port": 80 }, { "name": "dns", "port": 53, "protocol": "UDP" },
                              { "port": 70000 }, { "port": 81, "protocol": "TCP" }],
                    "selector": { "app": "web" }, "internalTrafficPolicy": "Local",
                    "sessionAffinity": "ClientIP" }),
            json!(null),
        );
        let port = |name: &str, number| MeshPort { name: name.into(), number };
        assert_eq!(*service.ports, [port("http", 80), port("", 81)]);
        assert!(service.is_local && service.is_sticky && service.selector["app"] == "web");
        assert!(service.annotations().is_empty() && service.creation_timestamp().is_some());
        service.lessen();
        assert_eq!(
            (service.name_any().as_str(), service.namespace().as_deref()),
            ("web", Some("shop"))
        );
    }
}
