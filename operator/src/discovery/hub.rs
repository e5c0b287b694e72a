//! What followers of a destination are told when its answer changes.
//!
//! A change marks addresses; a moment later those of them that somebody follows are answered anew,
//! and whoever follows is told if the answer is another one. What nobody follows costs an entry in an
//! index. What concerns many addresses at once, as a policy or a range does, is looked at once a second
//! at most.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_contract::discovery::Ranges as Told;
use countersign_contract::names;
use countersign_crds::AccessPolicy;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::answer::Addresses as _;
use super::directory::Directory;
use super::followers::{Follower, Followers};
use super::home::HomeAddresses;
use super::plain::PlainPods;
use super::published::Evidence;
use super::ranges::Ranges;
use super::rarely::{Rarely, Work};
use super::strangers::Strangers;
use crate::context::{Settings, Watched};
use crate::kept::{MeshPod, MeshService, MeshSlice};
use crate::policy::Documents;
use crate::watch::Change;

/// How long changes are gathered before they are looked at: a rollout is many of them.
const GATHERED: Duration = Duration::from_millis(20);

mod ranges;
mod telling;

/// What followers are told of.
#[derive(Debug)]
pub struct Hub {
    seen: Watched,
    settings: Settings,
    documents: Arc<Documents>,
    state: Mutex<State>,
    changed: Notify,
    /// What sidecars are told of the ranges.
    told: watch::Sender<Option<Arc<Told>>>,
    home: HomeAddresses,
    pub(super) plain: PlainPods,
    pub(super) ranges: Ranges,
    pub(super) pod_ranges: Ranges,
    pub(super) strangers: Strangers,
}

#[derive(Debug, Default)]
struct State {
    directory: Directory,
    followers: Followers,
    dirty: BTreeSet<IpAddr>,
    all_dirty: bool,
    rarely: Rarely,
    evidence: Evidence,
    /// How many answers were begun: one that was begun later knows more.
    begun: u64,
}

impl State {
    /// What must be answered anew, and to whom.
    fn due(&mut self) -> Vec<(SocketAddr, Vec<Arc<Follower>>)> {
        let dirty = std::mem::take(&mut self.dirty);
        let ips = match std::mem::take(&mut self.all_dirty) {
            true => self.followers.addresses(),
            false => dirty.into_iter().collect(),
        };
        self.followers.of(ips)
    }

    /// Marks addresses, as far as they are followed.
    fn mark(&mut self, ips: impl IntoIterator<Item = IpAddr>) {
        let Self { followers, dirty, .. } = self;
        dirty.extend(ips.into_iter().filter(|ip| followers.is_followed(*ip)));
    }

    /// Marks the addresses of pods, and those of the Services that they are behind.
    fn mark_pods<'a>(&mut self, pods: impl Iterator<Item = &'a MeshPod>) {
        pods.flat_map(MeshPod::claims).for_each(|ip| self.mark_around(*ip));
    }

    /// Marks an address, and those of the Services that it is behind.
    fn mark_around(&mut self, ip: IpAddr) {
        let around = self.directory.around(ip);
        self.mark(around);
    }
}

impl Hub {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(seen: Watched, settings: Settings, documents: Arc<Documents>) -> Self {
        let (state, changed, plain, ranges, strangers) = Default::default();
        let home = HomeAddresses::default();
        let pod_ranges = Ranges::of(&settings.pod_ranges);
        let told = watch::Sender::new(None);
        Self {
            seen,
            settings,
            documents,
            state,
            changed,
            told,
            home,
            plain,
            ranges,
            pod_ranges,
            strangers,
        }
    }

    /// The addresses of discovery's own Service.
    #[must_use]
    pub fn home(&self) -> HomeAddresses {
        self.home.clone()
    }

    /// A Service changed.
    pub fn service(&self, change: &Change<'_, MeshService>) {
        let (Change::There(service) | Change::Gone(service)) = change;
        if service.is_in(&self.settings.cluster_resource_namespace)
            && service.name_any() == names::DISCOVERY_SERVICE
        {
            let is_there = matches!(change, Change::There(_));
            self.home.note(is_there.then_some(&*service.cluster_ips));
        }
        self.note(|directory| match change {
            Change::There(service) => directory.note_service(service, true),
            Change::Gone(service) => directory.note_service(service, false),
        });
    }

    /// An injected pod changed.
    pub fn pod(&self, change: &Change<'_, MeshPod>) {
        self.note(|directory| {
            let changed = match change {
                Change::There(pod) => directory.note_pod(pod, true),
                Change::Gone(pod) => directory.note_pod(pod, false),
            };
            self.strangers.forget(changed.iter().copied());
            changed
        });
    }

    /// A slice of a Service's endpoints changed.
    pub fn slice(&self, change: &Change<'_, MeshSlice>) {
        let mut state = lock(&self.state);
        let changed = match change {
            Change::There(slice) => state.directory.note_slice(slice, true),
            Change::Gone(slice) => state.directory.note_slice(slice, false),
        };
        state.mark(changed);
        drop(state);
        self.changed.notify_one();
    }

    /// A policy changed, and with it perhaps how ports of its namespace's pods speak TLS.
    pub fn access_policy(&self, change: &Change<'_, AccessPolicy>) {
        match change {
            Change::There(policy) => self.documents.there(policy),
            Change::Gone(policy) => self.documents.gone(policy),
        }
    }

    /// More is known of who has some addresses.
    pub(super) fn learned(&self, ips: impl IntoIterator<Item = IpAddr>) {
        let mut state = lock(&self.state);
        ips.into_iter().for_each(|ip| state.mark_around(ip));
        drop(state);
        self.changed.notify_one();
    }

    /// Anything may be answered otherwise now: all was read.
    pub fn everything(&self) {
        lock(&self.state).all_dirty = true;
        self.changed.notify_one();
    }

    fn note(&self, change: impl FnOnce(&mut Directory) -> Vec<IpAddr>) {
        let mut state = lock(&self.state);
        let changed = change(&mut state.directory);
        state.mark(changed);
        state.rarely.ranges();
        drop(state);
        self.changed.notify_one();
    }

    /// Looks at who follows what.
    pub(super) fn followers<T>(&self, look: impl FnOnce(&mut Followers) -> T) -> T {
        look(&mut lock(&self.state).followers)
    }

    /// How many streams there are, and how many destinations are followed.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        self.followers(|followers| followers.count())
    }

    /// Tells followers of changes, for as long as it is polled.
    pub(super) async fn run(&self) {
        let mut policies = self.documents.changes();
        loop {
            let rarely = lock(&self.state).rarely.due();
            tokio::select! {
                () = self.changed.notified() => {}
                changed = policies.recv() => self.policies_changed(changed),
                () = sleep_until(rarely.unwrap_or_else(Instant::now)), if rarely.is_some() => {}
            }
            tokio::time::sleep(GATHERED).await;
            // Before all was read there is nothing to judge, and nobody who was told anything.
            if self.is_complete() {
                let work = lock(&self.state).rarely.take(Instant::now());
                work.iter().for_each(|work| self.look_at(work));
            }
            let due = lock(&self.state).due();
            self.tell_all(due).await;
        }
    }

    fn policies_changed(&self, changed: Result<String, RecvError>) {
        let mut state = lock(&self.state);
        match changed {
            Ok(namespace) => state.rarely.policies_of(namespace),
            // Some were missed.
            Err(_) => state.rarely.all_policies(),
        }
    }

    /// Of policies, the pods of their namespaces are marked, and the Services that they are behind.
    fn look_at(&self, work: &Work) {
        if work.ranges {
            self.weigh();
        }
        if work.has_policies() {
            let pods = self.seen.pods.state_filter(|pod| work.concerns(pod));
            lock(&self.state).mark_pods(pods.iter().map(AsRef::as_ref));
        }
    }

    /// Whether everything was read once that answers rest on.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let ranges = self.ranges.was_read.is_set() && self.pod_ranges.was_read.is_set();
        ranges && self.seen.mesh_was_read.is_set() && self.documents.were_read()
    }

    /// Waits until it was.
    pub(super) async fn complete(&self) {
        self.seen.mesh_was_read.wait().await;
        self.documents.wait_until_read().await;
        self.ranges.was_read.wait().await;
        self.pod_ranges.was_read.wait().await;
    }

    /// The injected pod of a name.
    pub(super) fn pod_named(&self, namespace: &str, name: &str) -> Option<Arc<MeshPod>> {
        get(&self.seen.pods, namespace, name)
    }

    /// Whether a sidecar follows an address, or a Service that it is behind.
    pub(super) fn is_wanted(&self, ip: IpAddr) -> bool {
        let state = lock(&self.state);
        state.directory.around(ip).into_iter().any(|ip| state.followers.is_followed(ip))
    }

    /// Whether the watch has a pod that claims an address, and that may have it.
    pub(super) fn is_claimed(&self, ip: IpAddr) -> bool {
        let state = lock(&self.state);
        let known = ranges::Known::new(self, state.evidence);
        let mut pods = state.directory.pods_at(ip);
        pods.any(|(namespace, name)| {
            get(&self.seen.pods, namespace, name).is_some_and(|pod| known.may_have(&pod, ip))
        })
    }

    /// Whether the watch has a pod as the API server has it, with an address.
    pub(super) fn has_seen(&self, pod: &PartialObjectMeta<Pod>, ip: IpAddr) -> bool {
        let found = self.pod_named(&pod.namespace().unwrap_or_default(), &pod.name_any());
        found.is_some_and(|found| found.uid() == pod.uid() && found.ips.contains(&ip))
    }
}

fn get<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<Arc<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    store.get(&ObjectRef::new(name).within(namespace))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_changed_policy_concerns_the_pods_of_its_namespace_and_the_services_before_them() {
        let mut state = State::default();
        let pod = |namespace: &str, ip: &str| -> MeshPod {
            serde_json::from_value(json!({ "metadata": { "name": "web", "namespace": namespace },
                "status": { "podIPs": [{ "ip": ip }] } }))
            .unwrap()
        };
        let service = json!({ "metadata": { "name": "web", "namespace": "shop" },
            "spec": { "clusterIPs": ["10.96.0.7"] } });
        let slice = json!({ "metadata": { "name": "web-1", "namespace": "shop",
            "labels": { crate::kept::SERVICE_NAME: "web" } }, "endpoints": [{ "addresses": ["10.0.0.1"] }] });
        let pods = [pod("shop", "10.0.0.1"), pod("bank", "10.0.0.2"), pod("shop", "10.0.0.3")];
        pods.iter().for_each(|pod| drop(state.directory.note_pod(pod, true)));
        state.directory.note_service(&serde_json::from_value(service).unwrap(), true);
        state.directory.note_slice(&serde_json::from_value(slice).unwrap(), true);
        let id = state.followers.join(Arc::default());
        for ip in ["10.96.0.7", "10.0.0.1", "10.0.0.2", "192.0.2.1"] {
            state.followers.begin(SocketAddr::new(ip.parse().unwrap(), 80), id);
        }
        state.rarely.policies_of("shop".to_owned());
        let work = state.rarely.take(Instant::now()).unwrap();
        state.mark_pods(pods.iter().filter(|pod| work.concerns(pod)));
        let marked: Vec<String> = state.dirty.iter().map(ToString::to_string).collect();
        assert_eq!(marked, ["10.0.0.1", "10.96.0.7"], "what is followed of what it concerns");
    }
}
