//! Follows the ConfigMaps of compiled policies. What they hold is digested as it comes, so that a
//! change of somebody else's is seen, and ten megabytes of policies are not kept a second time.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_contract::names::{POLICIES_FILE, POLICY_CONFIG_MAP};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde::Deserialize;
use tracing::warn;

use super::versions::is_later;
use crate::context::FIELD_MANAGER;
use crate::metrics::KindLabels;
use crate::pki::sha256_hex;

/// The label by which they are found.
pub const POLICY_LABEL: &str = "countersign.dev/policy";

/// The ConfigMap of each namespace, as the watch and our own writes told it.
#[derive(Debug, Default)]
pub struct Published {
    maps: Mutex<HashMap<String, Found>>,
    was_read: tokio::sync::watch::Sender<bool>,
}

/// What a ConfigMap holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    version: String,
    /// The SHA-256 of its document; nothing where it holds none.
    pub digest: Option<String>,
    /// What the document says is its revision.
    pub revision: Option<String>,
    /// When we changed it last.
    pub since: Option<Timestamp>,
}

impl Found {
    fn of(map: &ConfigMap) -> Self {
        #[derive(Deserialize)]
        struct Revised {
            revision: String,
        }
        let text = map.data.as_ref().and_then(|data| data.get(POLICIES_FILE));
        let revised = text.and_then(|text| serde_json::from_str::<Revised>(text).ok());
        Self {
            version: map.resource_version().unwrap_or_default(),
            digest: text.map(|text| sha256_hex(text.as_bytes())),
            revision: revised.map(|revised| revised.revision),
            since: map
                .managed_fields()
                .iter()
                .filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER))
                .filter_map(|entry| Some(entry.time.as_ref()?.0))
                .max(),
        }
    }
}

impl Published {
    /// A ConfigMap is there, as the watch or the answer to a write of ours has it; returns whether
    /// that is news.
    pub fn note(&self, map: &ConfigMap) -> bool {
        let (namespace, found) = (map.namespace().unwrap_or_default(), Found::of(map));
        let mut maps = self.maps();
        let is_news =
            maps.get(&namespace).is_none_or(|known| is_later(&found.version, &known.version));
        if is_news {
            maps.insert(namespace, found);
        }
        is_news
    }

    /// What the ConfigMap of a namespace holds.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Option<Found> {
        self.maps().get(namespace).cloned()
    }

    /// Waits until every ConfigMap was read once.
    pub async fn wait_until_read(&self) {
        // The sender lives as long as `self`, hence this waits for nothing but the word.
        let _ = self.was_read.subscribe().wait_for(|was_read| *was_read).await;
    }

    /// It was deleted, or lost our label, at this version.
    fn forget(&self, map: &ConfigMap) {
        let namespace = map.namespace().unwrap_or_default();
        let version = map.resource_version().unwrap_or_default();
        let mut maps = self.maps();
        if maps.get(&namespace).is_some_and(|known| !is_later(&known.version, &version)) {
            maps.remove(&namespace);
        }
    }

    fn keep_only(&self, all: &HashSet<String>) -> Vec<String> {
        let mut maps = self.maps();
        let gone: Vec<_> = maps.keys().filter(|name| !all.contains(*name)).cloned().collect();
        gone.iter().for_each(|namespace| drop(maps.remove(namespace)));
        self.was_read.send_replace(true);
        gone
    }

    fn maps(&self) -> MutexGuard<'_, HashMap<String, Found>> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps `published` up to date for as long as it is polled, and tells the namespaces that must be
/// looked at.
pub async fn follow_config_maps(
    client: Client,
    published: &Published,
    restarts: &Family<KindLabels, Counter>,
    mut told: impl FnMut(&str),
) {
    let restarts = restarts.get_or_create_owned(&KindLabels::of::<ConfigMap>());
    let ours = watcher::Config::default().labels(&format!("{POLICY_LABEL}=true"));
    let mut events = watcher(Api::<ConfigMap>::all(client), ours).default_backoff().boxed();
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitDone) => {
                let gone = published.keep_only(&std::mem::take(&mut listed));
                gone.iter().for_each(|namespace| told(namespace));
            }
            // What else bears our label is nobody's business here.
            Ok(Event::InitApply(map) | Event::Apply(map) | Event::Delete(map))
                if map.name_any() != POLICY_CONFIG_MAP => {}
            Ok(Event::InitApply(map)) => {
                let namespace = map.namespace().unwrap_or_default();
                if published.note(&map) {
                    told(&namespace);
                }
                listed.insert(namespace);
            }
            Ok(Event::Apply(map)) => {
                // Our own write is known already.
                if published.note(&map) {
                    told(&map.namespace().unwrap_or_default());
                }
            }
            Ok(Event::Delete(map)) => {
                published.forget(&map);
                told(&map.namespace().unwrap_or_default());
            }
            Err(error) => {
                warn!(kind = "ConfigMap", error = crate::story::story(&error), "watching again");
                restarts.inc();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(namespace: &str, version: &str, text: &str) -> ConfigMap {
        let metadata = json!({ "name": "x", "namespace": namespace, "resourceVersion": version });
        let object = json!({ "metadata": metadata, "data": { POLICIES_FILE: text } });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_late_word_of_the_watch_does_not_undo_our_own_write() {
        let published = Published::default();
        assert!(published.note(&map("shop", "7", r#"{"revision":"b","more":[]}"#)));
        assert!(!published.note(&map("shop", "6", r#"{"revision":"a"}"#)), "the watch, late");
        assert_eq!(published.of("shop").unwrap().revision.as_deref(), Some("b"));
        published.forget(&map("shop", "6", ""));
        assert!(published.of("shop").is_some(), "it was made again after that");
        assert!(published.note(&map("shop", "8", "garbage")));
        let found = published.of("shop").unwrap();
        assert!(found.revision.is_none() && found.digest == Some(sha256_hex(b"garbage")));
        published.forget(&map("shop", "9", ""));
        assert!(published.of("shop").is_none());
    }

    #[test]
    fn a_list_tells_which_are_gone() {
        let published = Published::default();
        published.note(&map("bank", "1", "{}"));
        published.note(&map("shop", "2", "{}"));
        assert_eq!(published.keep_only(&HashSet::from(["bank".to_owned()])), ["shop"]);
        assert!(published.of("bank").is_some() && published.of("shop").is_none());
    }
}
