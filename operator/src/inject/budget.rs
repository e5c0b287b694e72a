//! How many bytes of bodies may be in memory at once, over all requests together.
//!
//! As with connections, the oldest makes room for a newcomer: an API server sends a review at once, so
//! that what stays long is a body that trickles.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The bytes of all bodies together.
#[derive(Debug)]
pub(super) struct Budget {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    next: u64,
    readers: BTreeMap<u64, Reader>,
}

#[derive(Debug)]
struct Reader {
    bytes: usize,
    leave: CancellationToken,
}

/// The bytes of one body, until this goes.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    id: u64,
    leave: CancellationToken,
}

impl Budget {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default() })
    }

    /// A body begins.
    pub(super) fn begin(self: &Arc<Self>) -> Share {
        let leave = CancellationToken::new();
        let mut held = self.held();
        let id = held.next;
        held.next += 1;
        held.readers.insert(id, Reader { bytes: 0, leave: leave.clone() });
        drop(held);
        Share { budget: self.clone(), id, leave }
    }

    /// How many bytes are held now.
    #[cfg(test)]
    pub(super) fn total(&self) -> usize {
        self.held().total
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Ends the oldest body that holds anything, other than one.
    fn end_oldest(&mut self, but: u64) -> bool {
        let mut others = self.readers.iter().filter(|(id, reader)| **id != but && reader.bytes > 0);
        let Some(oldest) = others.next().map(|(id, _)| *id) else { return false };
        if let Some(reader) = self.readers.remove(&oldest) {
            reader.leave.cancel();
            self.total -= reader.bytes;
        }
        true
    }
}

impl Share {
    /// Takes so many bytes more, if they fit once the oldest bodies have gone.
    #[must_use]
    pub(super) fn take(&self, bytes: usize) -> bool {
        let mut held = self.budget.held();
        while held.total + bytes > self.budget.most {
            if !held.end_oldest(self.id) {
                return false;
            }
        }
        let Some(reader) = held.readers.get_mut(&self.id) else { return false };
        reader.bytes += bytes;
        held.total += bytes;
        true
    }

    /// Waits until this body must make room for others.
    pub(super) async fn must_leave(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.budget.held();
        if let Some(reader) = held.readers.remove(&self.id) {
            held.total -= reader.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_body_makes_room_and_all_together_never_exceed_the_budget() {
        let budget = Budget::new(100);
        let [first, second, third] = [(); 3].map(|()| budget.begin());
        assert!(first.take(60) && second.take(40));
        assert_eq!(budget.total(), 100);
        assert!(third.take(30));
        assert_eq!(budget.total(), 70);
        assert!(first.leave.is_cancelled() && !second.leave.is_cancelled());
        assert!(!first.take(1), "it has left");
        assert!(third.take(70), "the second makes room, too");
        assert_eq!(budget.total(), 100);
        assert!(!third.take(1), "nothing else can make room");
        drop((first, second, third));
        assert_eq!(budget.total(), 0);
    }
}
