//! Follows the metadata of our Secrets: keys stay where they are until a decision needs them.

use std::collections::HashSet;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tracing::warn;

use super::versions::{Key, Versions};
use crate::certificate::names::{CERTIFICATE_NAME, OURS_LABEL};
use crate::metrics::KindLabels;

/// A Secret that changed, came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Its namespace and name.
    pub key: Key,
    /// The Certificate that it says it belongs to.
    pub certificate: Option<String>,
}

/// Keeps `versions` up to date for as long as it is polled, and tells what changed.
pub async fn follow_secrets(
    client: Client,
    versions: &Versions,
    restarts: &Family<KindLabels, Counter>,
    mut told: impl FnMut(Touched),
) {
    let restarts = restarts.get_or_create_owned(&KindLabels::of::<Secret>());
    let ours = watcher::Config::default().labels(&format!("{OURS_LABEL}=true"));
    let secrets: Api<PartialObjectMeta<Secret>> = Api::all(client);
    let mut events = watcher(secrets, ours).default_backoff().boxed();
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(secret)) => {
                listed.insert(key(&secret));
                there(versions, &secret, &mut told);
            }
            Ok(Event::Apply(secret)) => there(versions, &secret, &mut told),
            Ok(Event::Delete(secret)) => {
                versions.forget(&key(&secret), &secret.resource_version().unwrap_or_default());
                told(touched(&secret));
            }
            Ok(Event::InitDone) => {
                let gone = versions.keep_only(&std::mem::take(&mut listed));
                gone.into_iter().for_each(|key| told(Touched { key, certificate: None }));
                versions.all_were_read();
            }
            Err(error) => {
                warn!(kind = "Secret", error = crate::story::story(&error), "watching again");
                restarts.inc();
            }
        }
    }
}

fn there(versions: &Versions, secret: &PartialObjectMeta<Secret>, told: &mut impl FnMut(Touched)) {
    // Our own write is known already, and so is whom it concerns.
    if versions.note(key(secret), &secret.resource_version().unwrap_or_default()) {
        told(touched(secret));
    }
}

fn key(secret: &PartialObjectMeta<Secret>) -> Key {
    (secret.namespace().unwrap_or_default(), secret.name_any())
}

fn touched(secret: &PartialObjectMeta<Secret>) -> Touched {
    Touched { key: key(secret), certificate: secret.annotations().get(CERTIFICATE_NAME).cloned() }
}
