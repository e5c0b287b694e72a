//! What sidecars said of themselves: which revision they follow, and whom they refused. In memory
//! only, and of each namespace only so much, whatever its pods say.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_contract::discovery::{Denial, Report};
use countersign_crds::RecentDenial;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::sync::broadcast;

/// So many pods of a namespace are known; what further ones say is not kept.
const MOST_PODS: usize = 10_000;

/// So many policies of a namespace have denials,
const MOST_POLICIES: usize = 256;

/// of which each has so many; those that were seen last stay.
const MOST_DENIALS: usize = 256;

/// No name of a peer is longer; what claims to be one is cut.
const LONGEST_PEER: usize = 512;

/// So many denials are told in a status.
const TOLD: usize = 20;

/// For so long a denial is told.
const LATELY: SignedDuration = SignedDuration::from_hours(1);

/// So many changes are kept for who is slow to hear of them; who misses some is told so.
const MOST_CHANGES: usize = 1024;

/// What sidecars said of themselves.
#[derive(Debug)]
pub struct Reports {
    namespaces: Mutex<HashMap<String, OfNamespace>>,
    changes: broadcast::Sender<String>,
}

#[derive(Debug, Default)]
struct OfNamespace {
    /// Which revision each pod follows.
    revisions: HashMap<String, String>,
    /// By the policy that does not admit them.
    denials: HashMap<String, HashMap<Who, Seen>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Who {
    peer: String,
    port: u16,
    audited: bool,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    count: u64,
    last: Timestamp,
}

impl Default for Reports {
    fn default() -> Self {
        Self { namespaces: Mutex::default(), changes: broadcast::Sender::new(MOST_CHANGES) }
    }
}

impl Reports {
    /// A pod tells of itself.
    pub fn note(&self, namespace: &str, pod: &str, report: &Report, now: Timestamp) {
        let is_news = {
            let mut all = self.all();
            let here = all.entry(namespace.to_owned()).or_default();
            let follows_another = here.follows(pod, &report.policy_revision);
            report.denials.iter().for_each(|denial| here.denied(denial, now));
            follows_another || !report.denials.is_empty()
        };
        if is_news {
            // An error means that nobody listens.
            let _ = self.changes.send(namespace.to_owned());
        }
    }

    /// A pod is gone, or nothing is heard of it any more.
    pub fn forget(&self, namespace: &str, pod: &str) {
        let mut all = self.all();
        let Some(here) = all.get_mut(namespace) else { return };
        let is_news = here.revisions.remove(pod).is_some();
        if here.revisions.is_empty() && here.denials.is_empty() {
            all.remove(namespace);
        }
        drop(all);
        if is_news {
            let _ = self.changes.send(namespace.to_owned());
        }
    }

    /// A namespace is gone.
    pub fn forget_namespace(&self, namespace: &str) {
        self.all().remove(namespace);
    }

    /// The namespaces whose picture changes from now on.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<String> {
        self.changes.subscribe()
    }

    /// Which revision a pod follows, if it has said so.
    #[must_use]
    pub fn revision(&self, namespace: &str, pod: &str) -> Option<String> {
        self.all().get(namespace)?.revisions.get(pod).cloned()
    }

    /// What the status of a policy tells is taken up again after a restart, where nothing is known of
    /// the policy yet.
    pub fn take_up(&self, namespace: &str, policy: &str, told: &[RecentDenial]) {
        if told.is_empty() {
            return;
        }
        let mut all = self.all();
        let here = all.entry(namespace.to_owned()).or_default();
        if here.denials.contains_key(policy) || here.denials.len() >= MOST_POLICIES {
            return;
        }
        let taken = told.iter().map(|denial| {
            let who = Who { peer: denial.peer.clone(), port: denial.port, audited: denial.audited };
            (who, Seen { count: denial.count.unsigned_abs(), last: denial.last_seen.0 })
        });
        here.denials.insert(policy.to_owned(), taken.collect());
    }

    /// Whom a policy did not admit within the last hour, the most frequent first.
    #[must_use]
    pub fn denials(&self, namespace: &str, policy: &str, now: Timestamp) -> Vec<RecentDenial> {
        let mut all = self.all();
        let Some(here) = all.get_mut(namespace) else { return Vec::new() };
        let Some(denials) = here.denials.get_mut(policy) else { return Vec::new() };
        denials.retain(|_, seen| is_lately(seen.last, now));
        let told = denials.iter().map(|(who, seen)| RecentDenial {
            peer: who.peer.clone(),
            port: who.port,
            count: i64::try_from(seen.count).unwrap_or(i64::MAX),
            last_seen: Time(seen.last),
            audited: who.audited,
        });
        let mut told: Vec<_> = told.collect();
        if told.is_empty() {
            here.denials.remove(policy);
        }
        told.sort_by(|one, other| {
            let rest = |it: &RecentDenial| (it.peer.clone(), it.port, it.audited);
            other.count.cmp(&one.count).then_with(|| rest(one).cmp(&rest(other)))
        });
        told.truncate(TOLD);
        told
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, OfNamespace>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfNamespace {
    /// Returns whether that is news.
    fn follows(&mut self, pod: &str, revision: &str) -> bool {
        let is_full = self.revisions.len() >= MOST_PODS && !self.revisions.contains_key(pod);
        if revision.is_empty() || revision.len() > LONGEST_PEER || is_full {
            return false;
        }
        let before = self.revisions.insert(pod.to_owned(), revision.to_owned());
        before.as_deref() != Some(revision)
    }

    fn denied(&mut self, denial: &Denial, now: Timestamp) {
        let Ok(port) = u16::try_from(denial.port) else { return };
        let end = denial.peer.char_indices().map(|(at, _)| at).find(|at| *at >= LONGEST_PEER);
        let peer = denial.peer[..end.unwrap_or(denial.peer.len())].to_owned();
        let who = Who { peer, port, audited: denial.audited };
        for policy in &denial.policies {
            let is_full = self.denials.len() >= MOST_POLICIES;
            if is_full && !self.denials.contains_key(policy) || policy.len() > LONGEST_PEER {
                continue;
            }
            let denials = self.denials.entry(policy.clone()).or_default();
            let seen = denials.entry(who.clone()).or_insert(Seen { count: 0, last: now });
            *seen = Seen { count: seen.count.saturating_add(denial.count), last: now };
            if denials.len() > MOST_DENIALS {
                forget_oldest(denials, &who);
            }
        }
    }
}

fn forget_oldest(denials: &mut HashMap<Who, Seen>, but: &Who) {
    let others = denials.iter().filter(|(who, _)| *who != but);
    let oldest = others.min_by_key(|(_, seen)| (seen.last, seen.count));
    if let Some(oldest) = oldest.map(|(who, _)| who.clone()) {
        denials.remove(&oldest);
    }
}

fn is_lately(last: Timestamp, now: Timestamp) -> bool {
    now.duration_since(last) < LATELY
}

#[cfg(test)]
mod tests;
