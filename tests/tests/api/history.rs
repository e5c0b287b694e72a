//! Every version that an object had, as the API server's watch tells.

use std::fmt::Debug;

use futures::StreamExt;
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::space::Space;

/// Long enough for a busy API server to send what it has.
const SECONDS: u32 = 3;

/// Every version of an object after one of the namespace's.
pub(crate) async fn versions_since<K>(space: &Space, name: &str, version: &str) -> Vec<K>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = space.api();
    let fields = format!("metadata.name={name}");
    let of_name = WatchParams::default().fields(&fields).timeout(SECONDS);
    let events = api.watch(&of_name, version).await.expect("a watch");
    let versions = events.filter_map(async |event| match event.expect("an event") {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => Some(object),
        WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => None,
        WatchEvent::Error(error) => panic!("watching {name}: {error:?}"),
    });
    versions.collect().await
}
