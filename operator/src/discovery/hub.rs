//! What followers of a destination are told when its answer changes.
//!
//! A change marks addresses; a moment later those of them that somebody follows are answered anew,
//! and whoever follows is told if the answer is another one. What nobody follows costs an entry in an
//! index.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_contract::access::mode;
use countersign_contract::discovery::{Answer, Kind};
use countersign_crds::AccessPolicy;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::Notify;

use super::answer::{Found, Unknown, View};
use super::directory::Directory;
use super::followers::{Follower, Followers};
use super::plain::PlainPods;
use super::ranges::Ranges;
use super::strangers::Strangers;
use crate::context::{Settings, Watched};
use crate::kept::MeshPod;
use crate::policy::Documents;
use crate::watch::Change;

/// How long changes are gathered before they are looked at: a rollout is many of them.
const GATHERED: Duration = Duration::from_millis(20);

/// What followers are told of.
#[derive(Debug)]
pub struct Hub {
    seen: Watched,
    settings: Settings,
    documents: Arc<Documents>,
    state: Mutex<State>,
    changed: Notify,
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
}

/// What some followers are told at once.
struct Said<'a> {
    node: Option<&'a str>,
    is_near: bool,
    is_nobodys: bool,
    was: Kind,
    answer: Option<Arc<Answer>>,
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
}

impl Hub {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(seen: Watched, settings: Settings, documents: Arc<Documents>) -> Self {
        let (state, changed, plain, ranges, strangers) = Default::default();
        let pod_ranges = Ranges::of(&settings.pod_ranges);
        Self { seen, settings, documents, state, changed, plain, ranges, pod_ranges, strangers }
    }

    /// A Service changed.
    pub fn service(&self, change: &Change<'_, Service>) {
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
    pub fn slice(&self, change: &Change<'_, EndpointSlice>) {
        self.note(|directory| match change {
            Change::There(slice) => directory.note_slice(slice, true),
            Change::Gone(slice) => directory.note_slice(slice, false),
        });
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
        self.note(|directory| ips.into_iter().flat_map(|ip| directory.around(ip)).collect());
    }

    /// Anything may be answered otherwise now: all was read, or policies changed.
    pub fn everything(&self) {
        lock(&self.state).all_dirty = true;
        self.changed.notify_one();
    }

    fn note(&self, change: impl FnOnce(&mut Directory) -> Vec<IpAddr>) {
        let mut state = lock(&self.state);
        let dirty = change(&mut state.directory);
        let State { followers, dirty: marked, .. } = &mut *state;
        let before = marked.len();
        marked.extend(dirty.into_iter().filter(|ip| followers.is_followed(ip)));
        if marked.len() != before {
            self.changed.notify_one();
        }
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
            tokio::select! {
                () = self.changed.notified() => {}
                // Whether it missed some is all the same.
                _ = policies.recv() => lock(&self.state).all_dirty = true,
            }
            tokio::time::sleep(GATHERED).await;
            let due = lock(&self.state).due();
            for (place, (destination, followers)) in due.into_iter().enumerate() {
                self.tell(destination, &followers);
                if place % 64 == 63 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Tells some followers what is known of a destination now. Nothing is said before all was read
    /// once: what is not there yet would look as if it were not in the mesh.
    pub(super) fn tell(&self, destination: SocketAddr, followers: &[Arc<Follower>]) {
        if !self.is_complete() {
            return;
        }
        let mut said: Option<Said<'_>> = None;
        for follower in followers {
            let node = follower.node.as_deref();
            // Few Services are answered otherwise on each node, and most followers are on another.
            let same = said.take().filter(|said| !said.is_near || said.node == node);
            let said = said.insert(same.unwrap_or_else(|| self.say(destination, node)));
            match &said.answer {
                Some(answer) => follower.put(destination, answer),
                // It was there, and is gone: nobody waits for it to come.
                None if said.is_nobodys => follower.withdraw(destination, said.was),
                None => {}
            }
        }
    }

    fn say<'a>(&self, destination: SocketAddr, node: Option<&'a str>) -> Said<'a> {
        let Found { answer, unknown, is_near, strange } = self.answer(destination, node);
        self.plain.want(&unknown);
        strange.into_iter().for_each(|ip| self.strangers.want(ip));
        let is_nobodys = answer.is_none() && unknown.is_empty();
        let was = if strange.is_some() { Kind::Pod } else { Kind::Service };
        Said { node, is_near, is_nobodys, was, answer: answer.map(Arc::new) }
    }

    /// What is known of a destination, seen from a node.
    pub(super) fn answer(&self, destination: SocketAddr, node: Option<&str>) -> Found {
        let state = lock(&self.state);
        let view = View {
            directory: &state.directory,
            trust_domain: &self.settings.trust_domain,
            service: &|(namespace, name)| get(&self.seen.services, namespace, name),
            slice: &|slice| self.seen.slices.get(slice),
            pod: &|(namespace, name)| get(&self.seen.pods, namespace, name),
            is_reserved: &|ip| self.ranges.has(ip),
            is_strange: &|ip| self.pod_ranges.has(ip) && !self.strangers.knows(ip),
            zone: &|node| self.pod_ranges.zone(node),
            is_plain: &|uid| self.plain.knows(uid),
            mode: &|namespace, labels, port| mode(&self.documents.of(namespace), labels, port),
        };
        view.answer(destination, node)
    }

    /// Whether everything was read once that answers rest on.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let ranges = self.ranges.read.is_set() && self.pod_ranges.read.is_set();
        ranges && self.seen.mesh_was_read.is_set() && self.documents.were_read()
    }

    /// Waits until it was.
    pub(super) async fn complete(&self) {
        self.seen.mesh_was_read.wait().await;
        self.documents.wait_until_read().await;
        self.ranges.read.wait().await;
        self.pod_ranges.read.wait().await;
    }

    /// The injected pod of a name.
    pub(super) fn pod_named(&self, namespace: &str, name: &str) -> Option<Arc<MeshPod>> {
        get(&self.seen.pods, namespace, name)
    }

    /// An address is asked about once more, if somebody still follows it and nobody has told whose it
    /// is.
    pub(super) fn ask_again(&self, ip: IpAddr) {
        let state = lock(&self.state);
        let is_wanted = state.followers.is_followed(&ip) && state.directory.pod(ip).is_none();
        self.strangers.again(ip, is_wanted);
    }

    /// The pods that must be asked for.
    pub(super) async fn unknown(&self) -> Vec<Unknown> {
        self.plain.wanted().await
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
