//! The API server's addresses as pods call it.
//!
//! The kubelet gives them to containers as variables, but a Service `kubernetes` of a pod's own namespace
//! takes those names: its owner would choose what the redirect leaves alone.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use tracing::warn;

/// The API server's own Service.
const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";

/// The addresses of the API server's Service; none, if it cannot be read.
pub(super) async fn addresses(client: &Client) -> Vec<SocketAddr> {
    let api: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    match api.get_opt(NAME).await {
        Ok(service) => service.as_ref().map(of_service).unwrap_or_default(),
        Err(error) => {
            warn!(%error, "reading Service default/kubernetes; pods use their own variables");
            Vec::new()
        }
    }
}

fn of_service(service: &Service) -> Vec<SocketAddr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let ports = spec.ports.iter().flatten().filter_map(|port| u16::try_from(port.port).ok());
    let ips = spec.cluster_ips.iter().flatten().filter_map(|ip| ip.parse::<IpAddr>().ok());
    let ips: Vec<_> = ips.collect();
    ports.flat_map(|port| ips.iter().map(move |ip| SocketAddr::new(*ip, port))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_address_and_port_of_the_service_counts() {
        let service = |spec| serde_json::from_value(json!({ "spec": spec })).unwrap();
        let cases = [
            (
                json!({ "clusterIPs": ["10.96.0.1"], "ports": [{ "port": 443 }] }),
                vec!["10.96.0.1:443"],
            ),
            (
                json!({ "clusterIPs": ["fd00::1", "10.96.0.1"], "ports": [{ "port": 443 }] }),
                vec!["[fd00::1]:443", "10.96.0.1:443"],
            ),
            (json!({ "clusterIPs": ["None"], "ports": [{ "port": 443 }] }), vec![]),
            (json!({}), vec![]),
        ];
        for (spec, expected) in cases {
            let found: Vec<_> =
                of_service(&service(spec)).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        }
    }
}
