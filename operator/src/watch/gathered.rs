//! Namespaces in which something changed, each once however much did.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// How long changes are gathered: a chart brings many at once, and a list brings all.
const GATHERED: Duration = Duration::from_millis(50);

/// So far apart one namespace comes, however often it changes.
const APART: Duration = Duration::from_secs(1);

/// The namespaces.
#[derive(Debug, Default)]
pub struct Gathered {
    state: Mutex<State>,
    came: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<String>,
    /// When each was taken, as long as it may not be taken again.
    taken: HashMap<String, Instant>,
}

impl State {
    /// What may be taken now.
    fn take(&mut self, now: Instant) -> BTreeSet<String> {
        self.taken.retain(|_, at| now < *at + APART);
        let is_due = |namespace: &String| !self.taken.contains_key(namespace);
        let (due, rest) = std::mem::take(&mut self.waiting).into_iter().partition(is_due);
        self.waiting = rest;
        self.taken.extend(due.iter().map(|namespace: &String| (namespace.clone(), now)));
        due
    }

    /// When the next may be taken; of one that may be already, there was word.
    fn next(&self) -> Option<Instant> {
        let taken = self.waiting.iter().filter_map(|namespace| self.taken.get(namespace));
        taken.min().map(|at| *at + APART)
    }
}

impl Gathered {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something changed in a namespace.
    pub fn put(&self, namespace: String) {
        self.state().waiting.insert(namespace);
        self.came.notify_one();
    }

    /// Those in which something did, a moment after the first of them; waits while there are none.
    pub async fn take(&self) -> BTreeSet<String> {
        loop {
            let next = self.state().next();
            tokio::select! {
                () = self.came.notified() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            sleep(GATHERED).await;
            let taken = self.state().take(Instant::now());
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

    #[test]
    fn a_namespace_that_changes_all_the_time_comes_once_a_second_and_delays_no_other() {
        let (mut state, began) = (State::default(), Instant::now());
        let mut taken = Vec::new();
        for change in 0..50 {
            state.waiting.insert("evil".to_owned());
            if change == 10 {
                state.waiting.insert("shop".to_owned());
            }
            let now = began + Duration::from_millis(50) * change;
            taken.extend(state.take(now).into_iter().map(|namespace| (change, namespace)));
        }
        let expected = [(0, "evil"), (10, "shop"), (20, "evil"), (40, "evil")];
        assert_eq!(taken, expected.map(|(change, namespace)| (change, namespace.to_owned())));
        assert_eq!(state.next(), Some(began + Duration::from_secs(3)));
        assert_eq!(state.taken.len(), 1, "nothing is kept of others");
    }
}
