//! What sidecars said of themselves: which revision they follow, and whom they refused. In memory
//! only, and of each namespace only so much, whatever its pods say.
//!
//! Each sidecar tells one replica. One that does not lead keeps denials only until the leader has heard
//! them (`untold`), and the leader knows of each pod who heard it (`namespace`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_contract::discovery::{Report, Told};
use countersign_crds::RecentDenial;
use jiff::Timestamp;
use tokio::sync::{Notify, broadcast};

use self::namespace::Source;
use self::untold::{Namespaces, Untold};
use crate::watch::Once;

mod believed;
mod namespace;
mod untold;

pub use believed::believed;
pub use namespace::Hearing;

/// So many changes are kept for who is slow to hear of them; who misses some is told so.
const MOST_CHANGES: usize = 1024;

/// What sidecars said of themselves.
#[derive(Debug)]
pub struct Reports {
    state: Mutex<State>,
    leads: Once,
    /// There may be something to tell the leader.
    more: Notify,
    changes: broadcast::Sender<String>,
}

#[derive(Debug, Default)]
struct State {
    namespaces: Namespaces,
    untold: Untold,
    /// How many streams of replicas there were.
    replicas: u64,
    /// The pods whose streams of replicas are open, by the numbers of these.
    relaying: BTreeMap<u64, String>,
}

impl Default for Reports {
    fn default() -> Self {
        let (state, leads, more) = Default::default();
        Self { state, leads, more, changes: broadcast::Sender::new(MOST_CHANGES) }
    }
}

impl Reports {
    /// A pod tells this replica of itself.
    pub fn note(&self, namespace: &str, pod: &str, report: &Report, now: Timestamp) {
        self.note_from(Source::Here, namespace, pod, report, now);
    }

    fn note_from(&self, from: Source, ns: &str, pod: &str, report: &Report, now: Timestamp) {
        let mut state = self.state();
        let here = state.namespaces.entry(ns.to_owned()).or_default();
        let follows_another = here.follows(from, pod, &report.policy_revision);
        report.denials.iter().for_each(|denial| here.denied(denial, now));
        if here.is_empty() {
            state.namespaces.remove(ns);
        }
        if follows_another {
            state.untold.mark(ns, pod);
        }
        drop(state);
        if follows_another || !report.denials.is_empty() {
            self.changed(ns);
        }
    }

    /// This replica hears nothing of a pod any more.
    pub fn forget(&self, namespace: &str, pod: &str) {
        self.forget_if(namespace, pod, |here| here.ends(Source::Here, pod));
    }

    /// A pod is gone, whichever replica heard it.
    pub fn gone(&self, namespace: &str, pod: &str) {
        self.forget_if(namespace, pod, |here| here.gone(pod));
    }

    fn forget_if(
        &self,
        namespace: &str,
        pod: &str,
        forget: impl FnOnce(&mut namespace::OfNamespace) -> bool,
    ) {
        let mut state = self.state();
        let Some(here) = state.namespaces.get_mut(namespace) else { return };
        let is_news = forget(here);
        if here.is_empty() {
            state.namespaces.remove(namespace);
        }
        if is_news {
            state.untold.mark(namespace, pod);
            drop(state);
            self.changed(namespace);
        }
    }

    /// A namespace is gone.
    pub fn forget_namespace(&self, namespace: &str) {
        self.state().namespaces.remove(namespace);
    }

    /// The namespaces whose picture changes from now on.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<String> {
        self.changes.subscribe()
    }

    /// Which revision a pod follows, if it has said so.
    #[must_use]
    pub fn revision(&self, namespace: &str, pod: &str) -> Option<String> {
        self.state().namespaces.get(namespace)?.revision(pod).cloned()
    }

    /// What the status of a policy tells is taken up again after a restart, and by the next leader.
    pub fn take_up(&self, ns: &str, policy: &str, told: &[RecentDenial], now: Timestamp) {
        let mut state = self.state();
        let here = state.namespaces.entry(ns.to_owned()).or_default();
        here.take_up(policy, told, now);
        if here.is_empty() {
            state.namespaces.remove(ns);
        }
    }

    /// Whom a policy did not admit within the last hour, the most frequent first.
    #[must_use]
    pub fn denials(&self, namespace: &str, policy: &str, now: Timestamp) -> Vec<RecentDenial> {
        let mut state = self.state();
        let here = state.namespaces.get_mut(namespace);
        here.map(|here| here.denials(policy, now)).unwrap_or_default()
    }

    /// From now on this replica leads: it has nobody to tell.
    pub fn lead(&self, now: Timestamp) {
        self.end_telling(now);
        self.leads.set();
    }

    /// Whether it does.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leads.is_set()
    }

    /// Waits until it does.
    pub async fn until_leading(&self) {
        self.leads.wait().await;
    }

    /// The leader can be reached, and is told all.
    pub fn begin_telling(&self, now: Timestamp) {
        let State { namespaces, untold, .. } = &mut *self.state();
        untold.begin(namespaces, now);
        self.more.notify_one();
    }

    /// The leader cannot be reached any longer.
    pub fn end_telling(&self, now: Timestamp) {
        let State { namespaces, untold, .. } = &mut *self.state();
        untold.end(namespaces, now);
    }

    /// What the leader is told next, once it has heard the one before; waits while there is nothing.
    pub async fn next_untold(&self) -> Vec<Told> {
        loop {
            let more = self.more.notified();
            let told = {
                let State { namespaces, untold, .. } = &mut *self.state();
                untold.take(namespaces)
            };
            if !told.is_empty() {
                return told;
            }
            more.await;
        }
    }

    /// Another replica tells us, for as long as this is held.
    #[must_use]
    pub fn replica(self: &Arc<Self>) -> Replica {
        let mut state = self.state();
        state.replicas += 1;
        Replica { number: state.replicas, reports: self.clone() }
    }

    /// The names of the replicas that report to this one now.
    #[must_use]
    pub fn relaying(&self) -> BTreeSet<String> {
        self.state().relaying.values().cloned().collect()
    }

    /// Whether this replica, or one that reports to it, has a stream of a pod.
    #[must_use]
    pub fn hears(&self, namespace: &str, pod: &str) -> Hearing {
        let state = self.state();
        state.namespaces.get(namespace).map_or(Hearing::Unheard, |here| here.hears(pod))
    }

    fn forget_replica(&self, number: u64) {
        let (from, mut changed) = (Source::Replica(number), Vec::new());
        let mut state = self.state();
        state.relaying.remove(&number);
        state.namespaces.retain(|namespace, here| {
            if here.all_end(from) {
                changed.push(namespace.clone());
            }
            !here.is_empty()
        });
        drop(state);
        changed.iter().for_each(|namespace| self.changed(namespace));
    }

    fn changed(&self, namespace: &str) {
        self.more.notify_one();
        // An error means that nobody listens.
        let _ = self.changes.send(namespace.to_owned());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A replica that does not lead, and the pods that it hears: they are forgotten with it, and tell the
/// next one.
#[derive(Debug)]
pub struct Replica {
    reports: Arc<Reports>,
    number: u64,
}

impl Replica {
    /// It says which pod it is.
    pub fn is_called(&mut self, name: String) {
        if !name.is_empty() {
            self.reports.state().relaying.insert(self.number, name);
        }
    }

    /// It tells what a sidecar told it.
    pub fn note(&self, told: &Told, now: Timestamp) {
        let (Told { namespace, pod, report, gone }, source) = (told, Source::Replica(self.number));
        if let Some(report) = report {
            self.reports.note_from(source, namespace, pod, report, now);
        }
        if *gone {
            self.reports.forget_if(namespace, pod, |here| here.ends(source, pod));
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.reports.forget_replica(self.number);
    }
}

#[cfg(test)]
mod tests;
