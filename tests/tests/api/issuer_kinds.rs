//! Kinds of external issuers, as their controllers would install them.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use serde_json::{Value, json};

use crate::space::{Space, when_in};
use crate::world::HOME;

/// The ConfigMap in which the operator publishes what it knows of them.
pub(crate) const CONFIG_MAP: &str = "countersign-issuer-kinds";

/// The CustomResourceDefinition of a kind, served in each of these versions.
pub(crate) fn definition(
    group: &str,
    kind: &str,
    plural: &str,
    scope: &str,
    versions: &[&str],
) -> Value {
    let schema = json!({ "openAPIV3Schema": { "type": "object",
        "x-kubernetes-preserve-unknown-fields": true } });
    let version = |(place, name): (usize, &&str)| {
        json!({ "name": name, "served": true, "storage": place == 0, "schema": schema,
            "subresources": { "status": {} } })
    };
    let versions: Vec<_> = versions.iter().enumerate().map(version).collect();
    let names = json!({ "kind": kind, "plural": plural, "singular": kind.to_lowercase() });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": { "group": group, "names": names, "scope": scope, "versions": versions },
    })
}

/// Those that many tests refer to.
pub(crate) fn common() -> String {
    let kinds = [
        ("Issuer", "issuers", "Namespaced"),
        ("ClusterIssuer", "clusterissuers", "Cluster"),
        ("StepIssuer", "stepissuers", "Namespaced"),
    ];
    let all = kinds.map(|(kind, plural, scope)| {
        definition("example.org", kind, plural, scope, &["v1"]).to_string()
    });
    all.join("\n---\n")
}

/// Waits until the operator has published a kind.
pub(crate) async fn published(space: &Space, key: &str, value: &str) {
    let api: Api<ConfigMap> = Api::namespaced(space.client.clone(), HOME);
    let is_there = |map: &ConfigMap| {
        map.data.as_ref().and_then(|data| data.get(key)).is_some_and(|found| found == value)
    };
    when_in(&api, CONFIG_MAP, &format!("has {key}"), is_there).await;
}
