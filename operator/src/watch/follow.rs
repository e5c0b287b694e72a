//! Follows all objects of a kind, once for everybody who wants to know.

use std::fmt::Debug;
use std::hash::Hash;

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::metrics::KindLabels;

/// What kubectl keeps of a manifest; it may be as long as the rest of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What happened to an object.
#[derive(Debug)]
pub enum Change<'a, K> {
    /// It is there, perhaps anew or with other contents.
    There(&'a K),
    /// It is gone.
    Gone(&'a K),
}

/// Keeps a store up to date for as long as it is polled. `told` hears of each change once the store
/// has it, and of everything whenever all was read anew.
pub async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    mut writer: Writer<K>,
    restarts: &Family<KindLabels, Counter>,
    mut told: impl FnMut(Change<'_, K>),
) where
    K: Resource<DynamicType: Eq + Hash + Clone + Default>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let reader = writer.as_reader();
    let restarts = restarts.get_or_create_owned(&KindLabels::of::<K>());
    let mut events = watcher(api, config).default_backoff().modify(strip).boxed();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                warn!(kind = %K::kind(&K::DynamicType::default()), %error, "watching again");
                restarts.inc();
                continue;
            }
        };
        let before = if matches!(event, Event::InitDone) { reader.state() } else { Vec::new() };
        writer.apply_watcher_event(&event);
        match &event {
            Event::Apply(object) => told(Change::There(object)),
            Event::Delete(object) => told(Change::Gone(object)),
            Event::InitDone => {
                let is_gone = |object: &K| reader.get(&ObjectRef::from_obj(object)).is_none();
                before.iter().filter(|was| is_gone(was)).for_each(|was| told(Change::Gone(was)));
                reader.state().iter().for_each(|now| told(Change::There(now)));
            }
            Event::Init | Event::InitApply(_) => {}
        }
    }
}

/// Leaves out what nobody here reads, and what is often the larger part of an object.
fn strip<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove(LAST_APPLIED);
}
