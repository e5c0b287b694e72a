//! What is left out of objects that are kept: a cluster has many of them.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

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
