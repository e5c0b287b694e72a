//! What is known of one namespace; pure.

use std::collections::HashMap;

use countersign_contract::discovery::{Denial, LONGEST_PEER};
use countersign_crds::RecentDenial;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// So many pods of a namespace are known; what further ones say is not kept.
pub(super) const MOST_PODS: usize = 10_000;

/// So many policies of a namespace have denials,
pub(super) const MOST_POLICIES: usize = 256;

/// of which each has so many; those that were seen last stay.
pub(super) const MOST_DENIALS: usize = 64;

/// So many denials are told in a status.
pub(super) const TOLD: usize = 20;

/// For so long a denial is told.
const LATELY: SignedDuration = SignedDuration::from_hours(1);

/// Who heard a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// This replica.
    Here,
    /// Another one, which told us; each of its streams has a number.
    Replica(u64),
}

/// Whether a pod has a stream to any replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// One of them has a stream of it.
    Heard,
    /// None of those that report has.
    Unheard,
    /// Its namespace has more pods than are kept.
    Unknown,
}

/// What sidecars of a namespace said.
#[derive(Debug, Default)]
pub(super) struct OfNamespace {
    /// Which revision each pod follows, as each who heard it says; empty where it has not said so. The last
    /// word counts: a pod that goes from one replica to another is heard by both for a moment.
    revisions: HashMap<String, Vec<(Source, String)>>,
    /// By the policy that does not admit them.
    denials: HashMap<String, OfPolicy>,
}

/// Whom one policy did not admit.
#[derive(Debug, Default)]
struct OfPolicy {
    seen: HashMap<Who, Seen>,
    /// Whether what its status tells is part of it.
    is_taken_up: bool,
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

impl OfNamespace {
    pub(super) fn is_empty(&self) -> bool {
        self.revisions.is_empty() && self.denials.is_empty()
    }

    pub(super) fn has_denials(&self) -> bool {
        !self.denials.is_empty()
    }

    /// The pods that said something.
    pub(super) fn pods(&self) -> impl Iterator<Item = &String> {
        self.revisions.keys()
    }

    /// Which revision a pod follows.
    pub(super) fn revision(&self, pod: &str) -> Option<&String> {
        self.said(pod).filter(|revision| !revision.is_empty())
    }

    /// The same, empty where a pod has a stream and has not said so.
    pub(super) fn said(&self, pod: &str) -> Option<&String> {
        self.revisions.get(pod)?.last().map(|(_, revision)| revision)
    }

    /// Whether anybody hears a pod.
    pub(super) fn hears(&self, pod: &str) -> Hearing {
        match self.revisions.contains_key(pod) {
            true => Hearing::Heard,
            false if self.is_full() => Hearing::Unknown,
            false => Hearing::Unheard,
        }
    }

    fn is_full(&self) -> bool {
        self.revisions.len() >= MOST_PODS
    }

    /// Returns whether that is news. A word without a revision says that the pod is heard, and no more.
    pub(super) fn follows(&mut self, from: Source, pod: &str, revision: &str) -> bool {
        let is_full = self.is_full() && !self.revisions.contains_key(pod);
        if pod.is_empty() || revision.len() > LONGEST_PEER || is_full {
            return false;
        }
        let said = self.revisions.entry(pod.to_owned()).or_default();
        if revision.is_empty() {
            let is_news = said.is_empty();
            if said.iter().all(|(source, _)| *source != from) {
                said.insert(0, (from, String::new()));
            }
            return is_news;
        }
        let is_news = said.last().is_none_or(|(_, before)| before != revision);
        said.retain(|(source, _)| *source != from);
        said.push((from, revision.to_owned()));
        is_news
    }

    /// Who heard a pod does so no longer; returns whether that is news.
    pub(super) fn ends(&mut self, from: Source, pod: &str) -> bool {
        let Some(said) = self.revisions.get_mut(pod) else { return false };
        let before = said.last().map(|(_, revision)| revision.clone());
        said.retain(|(source, _)| *source != from);
        let is_news = said.last().map(|(_, revision)| revision) != before.as_ref();
        if said.is_empty() {
            self.revisions.remove(pod);
        }
        is_news
    }

    /// A pod is gone, whoever heard it; returns whether that is news.
    pub(super) fn gone(&mut self, pod: &str) -> bool {
        self.revisions.remove(pod).is_some()
    }

    /// A replica is heard no longer; returns whether that is news.
    pub(super) fn all_end(&mut self, from: Source) -> bool {
        let is_its = |said: &[(Source, String)]| said.iter().any(|(source, _)| *source == from);
        let its = self.revisions.iter().filter(|(_, said)| is_its(said));
        let its: Vec<String> = its.map(|(pod, _)| pod.clone()).collect();
        // Every one of them, and not only until the first that is news.
        its.iter().filter(|pod| self.ends(from, pod)).count() > 0
    }

    pub(super) fn denied(&mut self, denial: &Denial, now: Timestamp) {
        let Ok(port) = u16::try_from(denial.port) else { return };
        let end = denial.peer.char_indices().map(|(at, _)| at).find(|at| *at >= LONGEST_PEER);
        let peer = denial.peer[..end.unwrap_or(denial.peer.len())].to_owned();
        let who = Who { peer, port, audited: denial.audited };
        for policy in &denial.policies {
            let is_full = self.denials.len() >= MOST_POLICIES;
            if is_full && !self.denials.contains_key(policy) || policy.len() > LONGEST_PEER {
                continue;
            }
            let of_policy = self.denials.entry(policy.clone()).or_default();
            of_policy.add(who.clone(), Seen { count: denial.count, last: now });
        }
    }

    /// Takes out so many denials, each of one policy.
    pub(super) fn take_denials(&mut self, most: usize) -> Vec<Denial> {
        let mut taken = Vec::new();
        self.denials.retain(|policy, of_policy| {
            let left = most.saturating_sub(taken.len());
            let whom: Vec<Who> = of_policy.seen.keys().take(left).cloned().collect();
            for who in whom {
                let count = of_policy.seen.remove(&who).map_or(0, |seen| seen.count);
                let Who { peer, port, audited } = who;
                let policies = vec![policy.clone()];
                taken.push(Denial { peer, port: port.into(), policies, count, audited });
            }
            !of_policy.seen.is_empty()
        });
        taken
    }

    /// What the status of a policy tells is taken up again after a restart, once.
    pub(super) fn take_up(&mut self, policy: &str, told: &[RecentDenial], now: Timestamp) {
        let told: Vec<_> = told.iter().filter(|told| is_lately(told.last_seen.0, now)).collect();
        let is_known = self.denials.contains_key(policy);
        let has_room = !told.is_empty() && self.denials.len() < MOST_POLICIES;
        if !is_known && !has_room {
            return;
        }
        let of_policy = self.denials.entry(policy.to_owned()).or_default();
        if std::mem::replace(&mut of_policy.is_taken_up, true) {
            return;
        }
        for denial in told {
            let who = Who { peer: denial.peer.clone(), port: denial.port, audited: denial.audited };
            let count = denial.count.unsigned_abs();
            of_policy.add(who, Seen { count, last: denial.last_seen.0 });
        }
    }

    /// Whom a policy did not admit within the last hour, the most frequent first.
    pub(super) fn denials(&mut self, policy: &str, now: Timestamp) -> Vec<RecentDenial> {
        let Some(of_policy) = self.denials.get_mut(policy) else { return Vec::new() };
        of_policy.seen.retain(|_, seen| is_lately(seen.last, now));
        let told = of_policy.seen.iter().map(|(who, seen)| RecentDenial {
            peer: who.peer.clone(),
            port: who.port,
            count: i64::try_from(seen.count).unwrap_or(i64::MAX),
            last_seen: Time(seen.last),
            audited: who.audited,
        });
        let mut told: Vec<_> = told.collect();
        if told.is_empty() {
            self.denials.remove(policy);
        }
        told.sort_by(|one, other| {
            let rest = |it: &RecentDenial| (it.peer.clone(), it.port, it.audited);
            other.count.cmp(&one.count).then_with(|| rest(one).cmp(&rest(other)))
        });
        told.truncate(TOLD);
        told
    }

    #[cfg(test)]
    pub(super) fn sizes(&self, policy: &str) -> [usize; 3] {
        let denials = self.denials.get(policy).map_or(0, |of_policy| of_policy.seen.len());
        [self.revisions.len(), self.denials.len(), denials]
    }
}

impl OfPolicy {
    fn add(&mut self, who: Who, more: Seen) {
        let seen = self.seen.entry(who.clone()).or_insert(Seen { count: 0, ..more });
        let count = seen.count.saturating_add(more.count);
        *seen = Seen { count, last: seen.last.max(more.last) };
        if self.seen.len() > MOST_DENIALS {
            self.forget_oldest(&who);
        }
    }

    fn forget_oldest(&mut self, but: &Who) {
        let others = self.seen.iter().filter(|(who, _)| *who != but);
        let oldest = others.min_by_key(|(_, seen)| (seen.last, seen.count));
        if let Some(oldest) = oldest.map(|(who, _)| who.clone()) {
            self.seen.remove(&oldest);
        }
    }
}

fn is_lately(last: Timestamp, now: Timestamp) -> bool {
    now.duration_since(last) < LATELY
}
