//! Pods that must be looked at, each once however often it changed.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// A namespace, and a name in it.
pub(crate) type Key = (String, String);

/// Pods that must be looked at.
#[derive(Debug, Default)]
pub struct Suspects {
    waiting: Mutex<BTreeSet<Key>>,
    came: Notify,
}

impl Suspects {
    /// A pod must be looked at.
    pub fn put(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        self.came.notify_one();
    }

    /// The next one, once there is one.
    pub(super) async fn next(&self) -> Key {
        loop {
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
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
}
