//! What is left out of objects that are kept: a cluster has many of them.

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::inject::installed;

/// Of a pod remain its metadata, whose it is, where it runs, whether it has the sidecar, and its
/// addresses.
pub fn pod(pod: &mut Pod) {
    let spec = pod.spec.take().unwrap_or_default();
    pod.spec = Some(PodSpec {
        init_containers: Some(installed::kept(&spec)),
        host_network: spec.host_network,
        service_account_name: spec.service_account_name,
        node_name: spec.node_name,
        ..PodSpec::default()
    });
    let status = pod.status.take().unwrap_or_default();
    pod.status =
        Some(PodStatus { phase: status.phase, pod_ips: status.pod_ips, ..PodStatus::default() });
}

/// Of a Service remain what selects its pods, and how it is called.
pub fn service(service: &mut Service) {
    service.metadata.annotations = None;
    service.metadata.labels = None;
    if let Some(status) = &mut service.status {
        status.conditions = None;
    }
}

/// Of a slice remain its endpoints.
pub fn slice(slice: &mut EndpointSlice) {
    slice.metadata.annotations = None;
    slice.metadata.owner_references = None;
    for endpoint in slice.endpoints.iter_mut().flatten() {
        endpoint.zone = None;
        endpoint.deprecated_topology = None;
    }
}
