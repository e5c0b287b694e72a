//! What is told to the operator: who was refused by policies, or would have been.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_contract::discovery::Denial;
use countersign_contract::policy::PortPolicy;
use tokio::sync::Notify;

use crate::tls::Peer;

/// So many kinds of denials are kept between two reports; of more, only the sum is in the metrics.
const MOST: usize = 256;

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
        let denial = Denial { peer, port: port.into(), policies, count: 0, audited };
        let mut counts = self.lock();
        if counts.len() < MOST || counts.contains_key(&denial) {
            *counts.entry(denial).or_default() += 1;
        }
        self.some.notify_one();
    }

    /// Waits until there are some.
    pub(super) async fn some(&self) {
        while self.lock().is_empty() {
            self.some.notified().await;
        }
    }

    /// Takes those that there are.
    pub(super) fn take(&self) -> Vec<Denial> {
        let counts = std::mem::take(&mut *self.lock());
        counts.into_iter().map(|(denial, count)| Denial { count, ..denial }).collect()
    }

    /// Puts back what could not be told.
    pub(super) fn put_back(&self, denials: Vec<Denial>) {
        let mut counts = self.lock();
        for denial in denials {
            let count = denial.count;
            if counts.len() < MOST {
                *counts.entry(Denial { count: 0, ..denial }).or_default() += count;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Denial, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
