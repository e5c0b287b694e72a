//! What the tests of this folder are made of.

use countersign_crds::AccessPolicy;
use serde_json::{Value, json};

use crate::context::Settings;
use crate::kept::MeshPod;

pub(crate) fn settings() -> Settings {
    Settings {
        process: Default::default(),
        trust_domain: "prod.example".parse().unwrap(),
        cluster_domain: "cluster.local".to_owned(),
        cluster_resource_namespace: "countersign-system".to_owned(),
        identity_issuer: "mesh".to_owned(),
        device_issuer: Some("devices".to_owned()),
        identity_duration: std::time::Duration::from_secs(3600).into(),
        reissue_spread: "2s".parse().unwrap(),
        max_rsa_bits: 4096,
        default_issuer: None,
        approves: true,
        signs_for_kubernetes: true,
        injects_authorities: true,
        api_server_authority: Default::default(),
        excluded_namespaces: Vec::new(),
        replaces_uninjected: false,
        access: Default::default(),
        pod_ranges: Vec::new(),
        external_ranges: Vec::new(),
    }
}

pub(super) fn policy(name: &str, spec: Value) -> AccessPolicy {
    let object = json!({
        "apiVersion": "countersign.dev/v1", "kind": "AccessPolicy",
        "metadata": { "name": name, "namespace": "shop", "uid": name, "generation": 1 },
        "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

pub(super) fn pod(name: &str, app: &str) -> MeshPod {
    let metadata = json!({ "name": name, "namespace": "shop", "labels": { "app": app } });
    serde_json::from_value(json!({ "metadata": metadata })).unwrap()
}
