//! What is compiled of one namespace, and what holds where it does not fit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_contract::access::NamespaceDocument;
use countersign_contract::policy::Mode;

use super::bounds::Excess;
use super::compile::{closed, text};
use super::modes::Modes;
use crate::pki::sha256_hex;

/// What was compiled.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub(super) document: Arc<NamespaceDocument>,
    /// The SHA-256 of its text.
    pub(super) digest: Arc<str>,
    /// By how much the policies are too large; the document is then the one before.
    pub(super) too_large: Option<Excess>,
    pub(super) modes: Arc<Modes>,
}

impl Compiled {
    /// With the length of its text.
    pub(super) fn of(document: NamespaceDocument) -> (Self, usize) {
        let text = text(&document);
        let digest = sha256_hex(text.as_bytes()).into();
        let modes = Arc::new(Modes::of(&document));
        (Self { document: Arc::new(document), digest, too_large: None, modes }, text.len())
    }

    /// How a port of a pod with these labels speaks TLS, and how many selectors were tried for it.
    #[must_use]
    pub fn mode(&self, labels: &BTreeMap<String, String>, port: u16) -> (Mode, usize) {
        self.modes.mode(&self.document, labels, port)
    }
}

/// What is kept of a namespace. Its lock is held while it is compiled, so that each state is compiled
/// once; a change only counts, and waits for no compilation.
#[derive(Debug, Default)]
pub(super) struct Slot {
    changes: AtomicU64,
    kept: Mutex<Kept>,
}

impl Slot {
    /// What is kept no longer holds.
    pub(super) fn change(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// How many changes there were.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was compiled last, after how many changes, and the last that fitted.
#[derive(Debug, Default)]
pub(super) struct Kept {
    now: Option<(u64, Compiled)>,
    good: Option<Compiled>,
}

impl Kept {
    /// What was compiled after so many changes.
    pub(super) fn after(&self, changes: u64) -> Option<&Compiled> {
        self.now.as_ref().filter(|(at, _)| *at == changes).map(|(_, compiled)| compiled)
    }

    /// What holds after something was compiled: that, or what held before where it is too large, or
    /// what lets nobody in where nothing did.
    pub(super) fn next(&mut self, changes: u64, compiled: Result<Compiled, Excess>) -> Compiled {
        let next = match compiled {
            Ok(compiled) => {
                self.good = Some(compiled.clone());
                compiled
            }
            Err(excess) => {
                let before = self.good.clone().unwrap_or_else(|| Compiled::of(closed()).0);
                Compiled { too_large: Some(excess), ..before }
            }
        };
        self.now = Some((changes, next.clone()));
        next
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::compile;
    use crate::policy::support::{policy, settings};

    #[test]
    fn what_is_too_large_leaves_in_place_what_was_there_before_or_lets_nobody_in() {
        let compiled = Compiled::of(compile([&policy("web", json!({}))], &settings())).0;
        for excess in [Excess::Bytes(2_000_000), Excess::Policies] {
            let mut kept = Kept::default();
            let first = kept.next(0, Err(excess));
            assert_eq!((&*first.document, first.too_large), (&closed(), Some(excess)));
            let good = kept.next(1, Ok(compiled.clone()));
            assert_eq!(good.too_large, None);
            let third = kept.next(2, Err(excess));
            assert_eq!((&third.document, &third.digest), (&good.document, &good.digest));
            assert_eq!(third.too_large, Some(excess));
            assert!(kept.after(2).is_some() && kept.after(3).is_none());
        }
    }
}
