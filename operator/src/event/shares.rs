//! How many Events of each namespace wait in a queue; what a namespace may have depends on what is left, so
//! that however many namespaces fill it, some is left for the next.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The Events that wait in one queue.
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    waiting: Mutex<HashMap<String, usize>>,
}

impl Shares {
    /// Of a queue for so many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, waiting: Mutex::default() }
    }

    /// Whether one more of a namespace may wait; it is counted then.
    pub(super) fn take(&self, namespace: &str) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let all = waiting.values().sum();
        let own = waiting.get(namespace).copied().unwrap_or_default();
        if !has_room(own, all, self.most) {
            return false;
        }
        waiting.insert(namespace.to_owned(), own + 1);
        true
    }

    /// One of a namespace waits no more.
    pub(super) fn give_back(&self, namespace: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(own) = waiting.get_mut(namespace) else { return };
        *own -= 1;
        if *own == 0 {
            waiting.remove(namespace);
        }
    }
}

/// Whether a namespace has less than twice what is left.
fn has_room(own: usize, all: usize, most: usize) -> bool {
    own < 2 * most.saturating_sub(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a thousand Events of each namespace find room, one namespace after the other.
    fn filled(most: usize, namespaces: &[&str]) -> Vec<usize> {
        let shares = Shares::new(most);
        let taken = |name: &&str| (0..1000).filter(|_| shares.take(name)).count();
        namespaces.iter().map(taken).collect()
    }

    #[test]
    fn one_namespace_leaves_room_for_others() {
        assert_eq!(filled(512, &["noisy"]), [342]);
        assert_eq!(filled(512, &["noisy", "quiet"]), [342, 114]);
        assert_eq!(filled(1536, &["noisy"]), [1000], "a thousand Certificates at once");
        let five = filled(512, &["a", "b", "c", "d", "e"]);
        assert!(five.iter().all(|taken| *taken > 0), "{five:?}");
    }

    #[test]
    fn what_was_written_makes_room() {
        let shares = Shares::new(3);
        for expected in [true, true, false] {
            assert_eq!(shares.take("shop"), expected);
        }
        shares.give_back("shop");
        shares.give_back("bank");
        assert!(shares.take("shop"));
        shares.give_back("shop");
        shares.give_back("shop");
        assert!(shares.waiting.lock().unwrap().is_empty());
    }
}
