//! Every version that an object had, as the API server's watch tells.

use futures::StreamExt;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};

use crate::space::{Object, Space};

/// Long enough for a busy API server to send what it has.
const SECONDS: u32 = 3;

/// Every version of an object after one of the namespace's.
pub(crate) async fn versions_since<K: Object>(space: &Space, name: &str, version: &str) -> Vec<K> {
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
