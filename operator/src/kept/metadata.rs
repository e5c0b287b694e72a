//! The metadata of an object, as far as anybody asks.

use std::collections::BTreeMap;

use countersign_contract::names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Deserialize;

/// Metadata as it is told. Who manages which field is not even read; it is often the larger part of
/// an object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    owner_references: Option<Vec<Owner>>,
}

#[derive(Debug, Deserialize)]
struct Owner {
    controller: Option<bool>,
    uid: String,
}

impl Metadata {
    /// The uid of the controller that made the object.
    pub(super) fn controller(&mut self) -> Option<String> {
        let owners = self.owner_references.take().unwrap_or_default();
        owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid)
    }

    /// The same in Kubernetes' type, with those annotations alone that are ours.
    pub(super) fn kept(self) -> ObjectMeta {
        let mut annotations = self.annotations.unwrap_or_default();
        annotations.retain(|name, _| is_ours(name));
        ObjectMeta {
            name: self.name,
            namespace: self.namespace,
            uid: self.uid,
            resource_version: self.resource_version,
            labels: self.labels,
            annotations: (!annotations.is_empty()).then_some(annotations),
            creation_timestamp: self.creation_timestamp,
            deletion_timestamp: self.deletion_timestamp,
            ..ObjectMeta::default()
        }
    }
}

fn is_ours(annotation: &str) -> bool {
    let prefix = annotation.split_once('/').map(|(prefix, _)| prefix);
    prefix == Some(names::API_GROUP)
}
