//! What is told to the operator: who was refused by policies, or would have been.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_contract::discovery::{Denial, LONGEST_PEER, LONGEST_REQUEST};
use countersign_contract::policy::PortPolicy;
use tokio::sync::Notify;
use tonic_prost::prost::Message;

use crate::tls::Peer;

/// So many kinds of denials are kept between two reports; of more, only the sum is in the metrics.
const MOST: usize = 256;

/// So many bytes of denials go in one message: well under what the operator takes.
const LONGEST: usize = LONGEST_REQUEST / 4;

/// Who was refused since the last report.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    counts: Mutex<HashMap<Denial, u64>>,
    some: Notify,
}

impl Denials {
    /// Somebody was refused, or passed although an audited policy does not name them.
    pub(crate) fn note(&self, policy: &PortPolicy, port: u16, peer: Option<&Peer>, audited: bool) {
        let policies =
            if audited { policy.audited_policies.clone() } else { policy.policies.clone() };
        let peer = peer.map_or_else(|| "anonymous".to_owned(), ToString::to_string);
        self.add(Denial { peer: cut(peer), port: port.into(), policies, count: 0, audited }, 1);
        self.some.notify_one();
    }

    fn add(&self, denial: Denial, count: u64) {
        let mut counts = self.lock();
        if counts.len() < MOST || counts.contains_key(&denial) {
            *counts.entry(denial).or_default() += count;
        }
    }

    /// Waits until there are some.
    pub(super) async fn some(&self) {
        while self.lock().is_empty() {
            self.some.notified().await;
        }
    }

    /// Takes those that there are, in parts that fit into a message each.
    pub(super) fn take(&self) -> Vec<Vec<Denial>> {
        let counts = std::mem::take(&mut *self.lock());
        parts(counts.into_iter().map(|(denial, count)| Denial { count, ..denial }), LONGEST)
    }

    /// Puts back what could not be told.
    pub(super) fn put_back(&self, denials: Vec<Denial>) {
        for denial in denials {
            let count = denial.count;
            self.add(Denial { count: 0, ..denial }, count);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Denial, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name as it is reported: whoever signs certificates may write very long ones.
fn cut(mut peer: String) -> String {
    peer.truncate(peer.floor_char_boundary(LONGEST_PEER));
    peer
}

/// Parts that take so many bytes at most. A denial by many policies is told as several by some of them
/// each, which adds up to the same.
fn parts(denials: impl Iterator<Item = Denial>, longest: usize) -> Vec<Vec<Denial>> {
    let mut parts: Vec<Vec<Denial>> = Vec::new();
    let mut bytes = longest;
    for denial in denials.flat_map(|denial| by_policies(denial, longest / 4)) {
        // Its own length stands before it.
        let length = denial.encoded_len() + 8;
        bytes += length;
        match parts.last_mut() {
            Some(part) if bytes <= longest => part.push(denial),
            _ => {
                parts.push(vec![denial]);
                bytes = length;
            }
        }
    }
    parts
}

fn by_policies(mut denial: Denial, longest: usize) -> Vec<Denial> {
    let policies = std::mem::take(&mut denial.policies);
    let (mut parts, mut bytes) = (vec![denial.clone()], 0);
    for name in policies {
        bytes += name.len() + 4;
        if bytes > longest && parts.last().is_some_and(|part| !part.policies.is_empty()) {
            bytes = name.len() + 4;
            parts.push(denial.clone());
        }
        if let Some(part) = parts.last_mut() {
            part.policies.push(name);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(peer: &str, policies: usize) -> Denial {
        let policies = (0..policies).map(|number| format!("{number:0>253}")).collect();
        Denial { peer: peer.to_owned(), port: 80, policies, count: 3, audited: false }
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(cut("CN=till-7".to_owned()), "CN=till-7");
        let long = cut("ä".repeat(4000));
        assert_eq!(long.len(), LONGEST_PEER);
        assert_eq!(cut("ä".repeat(4000) + "x"), long);
        assert_eq!(cut(format!("x{}", "ä".repeat(4000))).len(), LONGEST_PEER - 1);
    }

    #[test]
    fn every_part_of_a_report_fits_into_a_message_and_nothing_is_lost() {
        let all: Vec<_> = (0..MOST).map(|number| denial(&number.to_string(), 300)).collect();
        let parts = parts(all.into_iter(), LONGEST);
        for part in &parts {
            let bytes: usize = part.iter().map(|denial| denial.encoded_len() + 8).sum();
            assert!(bytes <= LONGEST, "{bytes}");
        }
        let mut names: HashMap<String, usize> = HashMap::new();
        for denial in parts.iter().flatten() {
            assert_eq!(denial.count, 3);
            *names.entry(denial.peer.clone()).or_default() += denial.policies.len();
        }
        assert!(names.len() == MOST && names.values().all(|count| *count == 300));
    }

    #[test]
    fn what_could_not_be_told_is_added_to_what_came_meanwhile() {
        let denials = Denials::default();
        for number in 0..MOST {
            denials.add(Denial { count: 0, ..denial(&number.to_string(), 1) }, 1);
        }
        let taken: Vec<_> = denials.take().into_iter().flatten().collect();
        assert_eq!(taken.len(), MOST);
        for number in 0..MOST {
            denials.add(Denial { count: 0, ..denial(&number.to_string(), 1) }, 2);
        }
        denials.put_back(taken);
        let again: Vec<_> = denials.take().into_iter().flatten().collect();
        assert!(again.len() == MOST && again.iter().all(|denial| denial.count == 3));
        assert!(denials.take().is_empty());
    }
}
