//! Every version that every object of a namespace had, as the API server's watch tells.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use countersign_crds::{AccessPolicy, Certificate, CertificateRequest, Issuer};
use futures::StreamExt;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longer than a test takes; the API server ends the watch then.
const SECONDS: u32 = 290;

/// What happened to the objects of one kind, in order.
#[derive(Clone)]
pub(crate) struct Log<K>(Arc<Mutex<Vec<Happened<K>>>>);

/// What happened to an object.
#[derive(Clone, Debug)]
pub(crate) enum Happened<K> {
    /// It came, or changed.
    Is(K),
    /// It went.
    Gone(K),
}

impl<K> Default for Log<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Clone + ResourceExt> Log<K> {
    /// All that happened.
    pub(crate) fn all(&self) -> Vec<Happened<K>> {
        self.0.lock().unwrap().clone()
    }

    /// Every version there was.
    pub(crate) fn versions(&self) -> Vec<K> {
        let is = |happened| match happened {
            Happened::Is(object) => Some(object),
            Happened::Gone(_) => None,
        };
        self.all().into_iter().filter_map(is).collect()
    }

    /// What there is now.
    pub(crate) fn now(&self) -> Vec<K> {
        let mut now: Vec<K> = Vec::new();
        for happened in self.all() {
            let (Happened::Is(object) | Happened::Gone(object)) = &happened;
            now.retain(|other| other.name_any() != object.name_any());
            if let Happened::Is(object) = happened {
                now.push(object);
            }
        }
        now
    }

    /// Whether it has these versions of these objects, and no others any more.
    pub(crate) fn has(&self, listed: &[(String, Option<String>)]) -> bool {
        let seen: Vec<_> = self
            .versions()
            .iter()
            .map(|object| (object.name_any(), object.resource_version()))
            .collect();
        let is_listed = |object: &K| listed.iter().any(|(name, _)| *name == object.name_any());
        listed.iter().all(|one| seen.contains(one)) && self.now().iter().all(is_listed)
    }

    /// The object of that name, as it is now.
    pub(crate) fn named(&self, name: &str) -> Option<K> {
        self.now().into_iter().find(|object| object.name_any() == name)
    }
}

/// All that happened in a namespace.
pub(crate) struct History {
    pub(crate) secrets: Log<Secret>,
    pub(crate) certificates: Log<Certificate>,
    pub(crate) requests: Log<CertificateRequest>,
    pub(crate) issuers: Log<Issuer>,
    pub(crate) signing_requests: Log<CertificateSigningRequest>,
    pub(crate) policies: Log<AccessPolicy>,
    pub(crate) config_maps: Log<ConfigMap>,
    pub(crate) pods: Log<Pod>,
    changed: watch::Sender<()>,
    watching: JoinSet<()>,
}

impl History {
    /// Follows what happens in a namespace from now on.
    pub(crate) async fn of(client: &Client, namespace: &str) -> Self {
        let mut history = Self {
            secrets: Log::default(),
            certificates: Log::default(),
            requests: Log::default(),
            issuers: Log::default(),
            signing_requests: Log::default(),
            policies: Log::default(),
            config_maps: Log::default(),
            pods: Log::default(),
            changed: watch::Sender::new(()),
            watching: JoinSet::new(),
        };
        let api = || client.clone();
        let all = WatchParams::default;
        let its = all().fields(&format!("metadata.name={namespace}"));
        let (secrets, certificates) = (history.secrets.clone(), history.certificates.clone());
        let (requests, issuers) = (history.requests.clone(), history.issuers.clone());
        let signing_requests = history.signing_requests.clone();
        let (policies, config_maps) = (history.policies.clone(), history.config_maps.clone());
        let pods = history.pods.clone();
        history.follow(Api::namespaced(api(), namespace), all(), secrets).await;
        history.follow(Api::namespaced(api(), namespace), all(), certificates).await;
        history.follow(Api::namespaced(api(), namespace), all(), requests).await;
        history.follow(Api::namespaced(api(), namespace), all(), issuers).await;
        history.follow(Api::namespaced(api(), namespace), all(), policies).await;
        history.follow(Api::namespaced(api(), namespace), all(), config_maps).await;
        history.follow(Api::namespaced(api(), namespace), all(), pods).await;
        history.follow(Api::all(api()), its, signing_requests).await;
        history
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        while !holds(self) {
            changed.changed().await.expect("it is followed");
        }
    }

    /// What the statuses say, for who waited in vain.
    pub(crate) fn last_words(&self) -> String {
        let certificates = self.certificates.now().into_iter();
        let certificates = certificates.map(|it| (it.name_any(), json!(it.status)));
        let requests = self.requests.now().into_iter();
        let requests = requests.map(|it| (it.name_any(), json!(it.status.map(|it| it.conditions))));
        certificates.chain(requests).map(|(name, status)| format!("{name}: {status}\n")).collect()
    }

    async fn follow<K>(&mut self, api: Api<K>, which: WatchParams, log: Log<K>)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let listed = api.list_metadata(&ListParams::default()).await.expect("a list");
        let version = listed.metadata.resource_version.expect("its version");
        let changed = self.changed.clone();
        self.watching.spawn(async move {
            let which = which.timeout(SECONDS);
            let events = api.watch(&which, &version).await.expect("a watch");
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                let happened = match event.expect("an event") {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        Happened::Is(object)
                    }
                    WatchEvent::Deleted(object) => Happened::Gone(object),
                    WatchEvent::Bookmark(_) => continue,
                    WatchEvent::Error(error) => panic!("watching: {error:?}"),
                };
                log.0.lock().unwrap().push(happened);
                changed.send_replace(());
            }
        });
    }
}
