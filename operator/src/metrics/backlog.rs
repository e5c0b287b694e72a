//! Which objects of a kind wait to be looked at, and how many are being looked at.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So much room is kept when nothing waits any more; what a burst took beyond it is given back.
const ROOM: usize = 256;

/// The objects of one kind that wait, each once, however often it was put; and how many are under
/// way.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    hasher: RandomState,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By a hash of the object's name, since when: that two of some thousand hashes of 64 bits are
    /// the same will not happen, and would cost a wrong count for a moment.
    waiting: HashMap<u64, Instant>,
    running: usize,
}

/// An object, by its namespace and name.
pub(super) type Name<'a> = (Option<&'a str>, &'a str);

/// What there is to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) waiting: usize,
    pub(super) running: usize,
    /// How long the object has waited that waits longest.
    pub(super) oldest: Duration,
}

impl Backlog {
    /// An object must be looked at; one that waits already waits since then.
    pub(super) fn put(&self, name: Name<'_>, now: Instant) {
        let key = self.hasher.hash_one(name);
        self.inner().waiting.entry(key).or_insert(now);
    }

    /// Somebody begins to look at it.
    pub(super) fn begin(&self, name: Name<'_>) {
        self.gone(name);
        self.inner().running += 1;
    }

    /// Somebody is done with looking at one.
    pub(super) fn end(&self) {
        let mut inner = self.inner();
        inner.running = inner.running.saturating_sub(1);
    }

    /// It waits no longer.
    pub(super) fn gone(&self, name: Name<'_>) {
        let key = self.hasher.hash_one(name);
        let mut inner = self.inner();
        inner.waiting.remove(&key);
        if inner.waiting.is_empty() && inner.waiting.capacity() > ROOM {
            inner.waiting.shrink_to(ROOM / 2);
        }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.inner().waiting.len()
    }

    pub(super) fn level(&self, now: Instant) -> Level {
        let inner = self.inner();
        let oldest = inner.waiting.values().min();
        Level {
            waiting: inner.waiting.len(),
            running: inner.running,
            oldest: oldest.map(|since| now.saturating_duration_since(*since)).unwrap_or_default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: Name<'static> = (Some("shop"), "web");
    const API: Name<'static> = (Some("shop"), "api");

    fn told(backlog: &Backlog, now: Instant) -> (usize, usize, u64) {
        let level = backlog.level(now);
        (level.waiting, level.running, level.oldest.as_secs())
    }

    #[test]
    fn an_object_that_is_put_twice_waits_once_since_the_first_time() {
        let (backlog, start) = (Backlog::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(told(&backlog, at(0)), (0, 0, 0));
        backlog.put(WEB, at(1));
        backlog.put(WEB, at(2));
        backlog.put(API, at(3));
        backlog.put((None, "web"), at(3));
        assert_eq!(told(&backlog, at(5)), (3, 0, 4));
        backlog.begin(WEB);
        assert_eq!(told(&backlog, at(5)), (2, 1, 2));
    }

    #[test]
    fn what_is_put_while_it_is_looked_at_waits_again() {
        let (backlog, now) = (Backlog::default(), Instant::now());
        backlog.put(WEB, now);
        backlog.begin(WEB);
        backlog.put(WEB, now);
        assert_eq!(told(&backlog, now), (1, 1, 0));
        backlog.end();
        backlog.begin(WEB);
        assert_eq!(told(&backlog, now), (0, 1, 0));
        backlog.end();
        backlog.put(API, now);
        backlog.gone(API);
        assert_eq!(told(&backlog, now), (0, 0, 0));
    }

    #[test]
    fn a_burst_gives_its_room_back() {
        let (backlog, now) = (Backlog::default(), Instant::now());
        let names: Vec<_> = (0..10_000).map(|number| number.to_string()).collect();
        names.iter().for_each(|name| backlog.put((None, name), now));
        assert_eq!(told(&backlog, now).0, 10_000);
        names.iter().for_each(|name| backlog.gone((None, name)));
        assert!(backlog.inner().waiting.capacity() <= ROOM);
    }
}
