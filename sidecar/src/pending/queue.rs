//! Which handshake gives way to a newcomer: no clock, no lock.
//!
//! A handshake is worth what its client did for it. Clients that have not sent a whole ClientHello and
//! clients that leave the rest unanswered are two crowds: the larger one loses the handshake that has
//! waited longest for its client, so that a crowd of one kind pushes out its own.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a handshake may wait for its client before it gives way.
const MAX_PATIENCE: Duration = Duration::from_millis(20);

/// Less where there are few of them: newcomers wait in the kernel's queue meanwhile, and this many
/// a second must leave it.
const NEWCOMERS_PER_SECOND: u32 = 5000;

/// How soon to look again after handshakes that no worker has begun.
const SOON: Duration = Duration::from_millis(1);

/// How far a handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No worker has looked at it: it waits for us, and not for its client.
    Accepted,
    AwaitsHello,
    HelloAnswered,
}

/// What makes room for a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// This handshake gives way.
    Of(u64),
    /// Every handshake is too young: one can give way after this time.
    After(Duration),
    /// There is no handshake.
    None,
}

/// Handshakes, each with something that belongs to it.
#[derive(Debug)]
pub(super) struct Queue<T> {
    next_id: u64,
    next_order: u64,
    entries: HashMap<u64, Entry<T>>,
    /// Identifiers by the order in which they came to each stage.
    stages: [BTreeMap<u64, u64>; 3],
    of_source: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Entry<T> {
    source: IpAddr,
    stage: Stage,
    order: u64,
    since: Instant,
    of_it: T,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let (entries, stages, of_source) = Default::default();
        Self { next_id: 0, next_order: 0, entries, stages, of_source }
    }
}

impl<T> Queue<T> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn count_of(&self, source: IpAddr) -> usize {
        self.of_source.get(&source).copied().unwrap_or_default()
    }

    pub(super) fn insert(&mut self, source: IpAddr, since: Instant, of_it: T) -> u64 {
        self.next_id += 1;
        self.next_order += 1;
        let (id, order, stage) = (self.next_id, self.next_order, Stage::Accepted);
        self.stages[stage as usize].insert(order, id);
        self.entries.insert(id, Entry { source, stage, order, since, of_it });
        *self.of_source.entry(source).or_default() += 1;
        id
    }

    /// Nothing, where it has given way already.
    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let Entry { source, stage, order, of_it, .. } = self.entries.remove(&id)?;
        self.stages[stage as usize].remove(&order);
        if let Some(count) = self.of_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.of_source.remove(&source);
            }
        }
        Some(of_it)
    }

    /// A handshake waits for its client's next step from now on.
    pub(super) fn advance(&mut self, id: u64, stage: Stage, now: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        self.stages[entry.stage as usize].remove(&entry.order);
        self.next_order += 1;
        (entry.stage, entry.order, entry.since) = (stage, self.next_order, now);
        self.stages[stage as usize].insert(entry.order, id);
    }

    /// Who makes room, of one source or of all, once it has had its time.
    pub(super) fn room(&self, source: Option<IpAddr>, now: Instant) -> Room {
        let Some((id, entry)) = self.longest_waiting(source) else {
            return if self.entries.is_empty() { Room::None } else { Room::After(SOON) };
        };
        let waited = now.saturating_duration_since(entry.since);
        match patience(self.len()).checked_sub(waited) {
            None | Some(Duration::ZERO) => Room::Of(id),
            Some(left) => Room::After(left),
        }
    }

    /// Who makes room, however young.
    pub(super) fn room_at_once(&self, source: Option<IpAddr>) -> Option<u64> {
        let accepted = || self.of(Stage::Accepted, source).next();
        self.longest_waiting(source).or_else(accepted).map(|(id, _)| id)
    }

    fn longest_waiting(&self, source: Option<IpAddr>) -> Option<(u64, &Entry<T>)> {
        let count = |stage: Stage| match source {
            None => self.stages[stage as usize].len(),
            Some(_) => self.of(stage, source).count(),
        };
        // Those that no worker has begun belong to the silent ones, of which a burst has many.
        let silent = count(Stage::Accepted) + count(Stage::AwaitsHello);
        let is_silent = silent >= count(Stage::HelloAnswered);
        self.of(if is_silent { Stage::AwaitsHello } else { Stage::HelloAnswered }, source).next()
    }

    fn of(&self, stage: Stage, source: Option<IpAddr>) -> impl Iterator<Item = (u64, &Entry<T>)> {
        let all = self.stages[stage as usize].values();
        let all = all.filter_map(|id| Some((*id, self.entries.get(id)?)));
        all.filter(move |(_, entry)| source.is_none_or(|source| entry.source == source))
    }
}

/// How long each of so many handshakes may wait for its client while newcomers do.
fn patience(count: usize) -> Duration {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    (Duration::from_secs(1) / NEWCOMERS_PER_SECOND).saturating_mul(count).min(MAX_PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// Handshakes of sources, each at its stage since so many milliseconds.
    fn queue(all: &[(u8, Stage, u64)], now: Instant) -> Queue<()> {
        let mut queue = Queue::default();
        for (last, stage, waited) in all {
            let since = now.checked_sub(Duration::from_millis(*waited)).unwrap();
            let id = queue.insert(source(*last), since, ());
            if *stage != Stage::Accepted {
                queue.advance(id, *stage, since);
            }
        }
        queue
    }

    #[test]
    fn the_larger_crowd_loses_the_handshake_that_waits_longest_for_its_client() {
        use Stage::{Accepted, AwaitsHello, HelloAnswered};
        let now = Instant::now() + Duration::from_secs(60);
        let young = Room::After(Duration::from_micros(200));
        type Case<'a> = (&'a [(u8, Stage, u64)], Room);
        let cases: [Case<'_>; 9] = [
            (&[], Room::None),
            (&[(1, AwaitsHello, 9)], Room::Of(1)),
            (&[(1, HelloAnswered, 50), (2, AwaitsHello, 9)], Room::Of(2)),
            (&[(1, HelloAnswered, 50), (2, AwaitsHello, 9), (3, AwaitsHello, 8)], Room::Of(2)),
            (&[(1, AwaitsHello, 50), (2, HelloAnswered, 9), (3, HelloAnswered, 8)], Room::Of(2)),
            // Nobody has looked at this one: it is not its client that is slow.
            (&[(1, Accepted, 50), (2, AwaitsHello, 9)], Room::Of(2)),
            (&[(1, Accepted, 50)], Room::After(SOON)),
            (&[(1, HelloAnswered, 50), (2, Accepted, 9)], Room::After(SOON)),
            (&[(1, AwaitsHello, 0)], young),
        ];
        for (all, expected) in cases {
            assert_eq!(queue(all, now).room(None, now), expected, "{all:?}");
        }
    }

    #[test]
    fn a_source_makes_room_for_its_own() {
        use Stage::{Accepted, AwaitsHello, HelloAnswered};
        let now = Instant::now() + Duration::from_secs(60);
        let all =
            [(1, AwaitsHello, 50), (2, HelloAnswered, 9), (2, AwaitsHello, 8), (3, Accepted, 70)];
        let queue = queue(&all, now);
        assert_eq!(queue.room(Some(source(2)), now), Room::Of(3));
        let at_once = [2, 3, 4].map(|last| queue.room_at_once(Some(source(last))));
        assert_eq!(at_once, [Some(3), Some(4), None]);
    }

    #[test]
    fn newcomers_leave_the_kernels_queue_at_a_steady_rate() {
        let cases = [(1, 200), (32, 6400), (100, 20_000), (1024, 20_000)];
        for (count, micros) in cases {
            assert_eq!(patience(count), Duration::from_micros(micros), "{count}");
        }
    }

    #[test]
    fn what_is_removed_leaves_nothing() {
        let now = Instant::now();
        let mut queue = queue(&[(1, Stage::Accepted, 0), (1, Stage::HelloAnswered, 0)], now);
        assert_eq!((queue.len(), queue.count_of(source(1))), (2, 2));
        assert_eq!([1, 2, 2].map(|id| queue.remove(id)), [Some(()), Some(()), None]);
        queue.advance(1, Stage::HelloAnswered, now);
        assert!(queue.of_source.is_empty() && queue.stages.iter().all(BTreeMap::is_empty));
    }
}
