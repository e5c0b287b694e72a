//! Pods that must be looked at, each once however often it changed.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// A namespace, and a name in it.
pub(crate) type Key = (String, String);

/// Pods that must be looked at.
#[derive(Debug, Default)]
pub struct Suspects {
    waiting: Mutex<Waiting>,
    came: Notify,
}

/// Who waits, and whose turn it was last.
#[derive(Debug, Default)]
struct Waiting {
    keys: BTreeSet<Key>,
    last: Option<Key>,
}

impl Waiting {
    /// Each has its turn: one that comes back again and again holds up no other.
    fn take(&mut self) -> Option<Key> {
        let after = self.last.take();
        let next = after.and_then(|last| self.keys.range(last..).next().cloned());
        let next = next.or_else(|| self.keys.first().cloned())?;
        self.keys.remove(&next);
        self.last = Some((next.0.clone(), format!("{}\0", next.1)));
        Some(next)
    }
}

impl Suspects {
    /// A pod must be looked at.
    pub fn put(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).keys.insert(key);
        self.came.notify_one();
    }

    /// The next one, once there is one.
    pub(super) async fn next(&self) -> Key {
        loop {
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
            match next {
                Some(key) => return key,
                None => self.came.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pod_that_was_put_twice_comes_once() {
        let suspects = Suspects::default();
        for name in ["b", "a", "b"] {
            suspects.put("shop", name);
        }
        assert_eq!(suspects.next().await.1, "a");
        assert_eq!(suspects.next().await.1, "b");
        let none = tokio::time::timeout(std::time::Duration::ZERO, suspects.next()).await;
        assert!(none.is_err());
        let (next, ()) = tokio::join!(suspects.next(), async { suspects.put("shop", "c") });
        assert_eq!(next.1, "c");
    }

    #[tokio::test]
    async fn one_that_always_comes_back_holds_up_no_other() {
        let suspects = Suspects::default();
        ["a", "b", "c"].iter().for_each(|name| suspects.put("shop", name));
        let mut seen = Vec::new();
        for _ in 0..5 {
            let (namespace, name) = suspects.next().await;
            if name == "a" {
                suspects.put(&namespace, &name);
            }
            seen.push(name);
        }
        assert_eq!(seen, ["a", "b", "c", "a", "a"]);
    }
}
