//! Follows all objects of a kind, once for everybody who wants to know.

use std::fmt::Debug;
use std::hash::Hash;

use countersign_contract::names;
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

use super::once::Once;
use crate::metrics::KindLabels;

/// What kubectl keeps of a manifest; it may be as long as the rest of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The maximum length of annotations of others, names and values together, that a Certificate's
/// requests bear, too.
const MAX_CARRIED: usize = 4096;

/// What happened to an object.
#[derive(Debug)]
pub enum Change<'a, K> {
    /// It is there, perhaps anew or with other contents.
    There(&'a K),
    /// It is gone.
    Gone(&'a K),
}

/// Which objects are followed, and what of them.
pub struct Scope<K> {
    /// Which.
    pub config: watcher::Config,
    /// Leaves out what nobody asks for.
    pub slim: fn(&mut K),
    /// Happens when all were read, and everybody who wants to know was told.
    pub read: Once,
}

impl<K> Default for Scope<K> {
    /// All, whole.
    fn default() -> Self {
        Self { config: watcher::Config::default(), slim: |_| {}, read: Once::default() }
    }
}

/// Keeps a store up to date for as long as it is polled. `told` hears of each change once the store
/// has it, and of everything whenever all was read anew.
pub async fn follow<K>(
    api: Api<K>,
    scope: Scope<K>,
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
    let Scope { config, slim, read } = scope;
    let lessen = move |object: &mut K| {
        strip(object);
        slim(object);
    };
    let mut events = watcher(api, config).default_backoff().modify(lessen).boxed();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                warn!(kind = %K::kind(&K::DynamicType::default()), error = crate::story::story(&error), "watching again");
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
                read.set();
            }
            Event::Init | Event::InitApply(_) => {}
        }
    }
}

/// Leaves out what nobody here reads, and what is often the larger part of an object: a tenant may write
/// 256 KiB of annotations on each.
fn strip<K: Resource<DynamicType: Default>>(object: &mut K) {
    object.managed_fields_mut().clear();
    let mut left = foreign_bytes::<K>();
    object.annotations_mut().retain(|name, value| {
        if is_ours(name) {
            return true;
        }
        let bytes = name.len() + value.len();
        let is_kept = name != LAST_APPLIED && bytes <= left;
        if is_kept {
            left -= bytes;
        }
        is_kept
    });
}

/// How many bytes of annotations of others are kept. Those of a Certificate are carried to its
/// CertificateRequests; of no other kind are they read.
fn foreign_bytes<K: Resource<DynamicType: Default>>() -> usize {
    if K::kind(&K::DynamicType::default()) == "Certificate" { MAX_CARRIED } else { 0 }
}

/// Whether an annotation is of our group, or of one below it.
fn is_ours(name: &str) -> bool {
    let group = name.split_once('/').map_or("", |(group, _)| group);
    let above = group.strip_suffix(names::API_GROUP);
    above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::task::{Context, Poll};

    use axum::http::{Request, Response};
    use k8s_openapi::api::core::v1::Pod;
    use kube::Client;
    use kube::client::Body;
    use kube::runtime::reflector::store::store;

    use super::*;

    /// An API server that answers nothing but that it cannot, and counts how often it was asked.
    #[derive(Clone, Default)]
    struct Broken(Counter);

    impl tower::Service<Request<Body>> for Broken {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            self.0.inc();
            ready(Ok(Response::builder().status(500).body(Body::empty()).unwrap()))
        }
    }

    #[test]
    fn annotations_of_others_are_not_kept_beyond_a_bound() {
        let annotations: std::collections::BTreeMap<String, String> = [
            ("countersign.dev/revision", "1".to_owned()),
            ("experimental.countersign.dev/request-duration", "1h".to_owned()),
            ("evilcountersign.dev/a", "x".to_owned()),
            ("note", "x".to_owned()),
            ("large", "x".repeat(200_000)),
            ("venafi.example/zone", "x".repeat(4000)),
            ("zz", "x".repeat(100)),
            (LAST_APPLIED, "{}".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let ours = ["countersign.dev/revision", "experimental.countersign.dev/request-duration"];
        let mut pod = Pod::default();
        pod.metadata.annotations = Some(annotations.clone());
        strip(&mut pod);
        assert_eq!(pod.annotations().keys().collect::<Vec<_>>(), ours);
        let certificate = serde_json::json!({ "metadata": { "annotations": annotations },
            "spec": { "secretName": "web", "issuerRef": { "name": "ca" } } });
        let mut certificate: countersign_crds::Certificate =
            serde_json::from_value(certificate).unwrap();
        strip(&mut certificate);
        let kept: Vec<_> = certificate.annotations().keys().map(String::as_str).collect();
        assert_eq!(
            kept,
            [ours[0], "evilcountersign.dev/a", ours[1], "note", "venafi.example/zone"]
        );
    }

    #[tokio::test]
    async fn a_watch_that_breaks_is_counted() {
        let (broken, restarts) = (Broken::default(), Family::default());
        let api: Api<Pod> = Api::all(Client::new(broken.clone(), "shop"));
        let (_, writer) = store();
        let counted = restarts.get_or_create_owned(&KindLabels::of::<Pod>());
        let following = follow(api, Scope::default(), writer, &restarts, |_| {});
        let until_counted = async {
            while counted.get() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { () = following => panic!("it never ends"), () = until_counted => {} }
        assert_eq!((counted.get(), broken.0.get()), (1, 1));
    }
}
