//! Namespaces in which something changed, each once however much did.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How long changes are gathered: a chart brings many at once, and a list brings all.
const GATHERED: Duration = Duration::from_millis(50);

/// The namespaces.
#[derive(Debug, Default)]
pub struct Gathered {
    waiting: Mutex<BTreeSet<String>>,
    came: Notify,
}

impl Gathered {
    /// Something changed in a namespace.
    pub fn put(&self, namespace: String) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace);
        self.came.notify_one();
    }

    /// Those in which something did, a moment after the first of them; waits while there are none.
    pub async fn take(&self) -> BTreeSet<String> {
        loop {
            self.came.notified().await;
            tokio::time::sleep(GATHERED).await;
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = std::mem::take(&mut *waiting);
            drop(waiting);
            // What came before they were taken has told of itself, too.
            if !taken.is_empty() {
                return taken;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_namespace_with_many_changes_comes_once() {
        let gathered = Gathered::default();
        for namespace in ["shop", "bank", "shop"] {
            gathered.put(namespace.to_owned());
        }
        assert_eq!(Vec::from_iter(gathered.take().await), ["bank", "shop"]);
        let (taken, ()) = tokio::join!(gathered.take(), async { gathered.put("shop".to_owned()) });
        assert_eq!(Vec::from_iter(taken), ["shop"]);
    }
}
