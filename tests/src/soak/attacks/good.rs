//! Good clients at a steady rate, and how long each one took.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::beat;
use crate::soak::client::{Door, Story, play};

/// How many clients stay for some seconds, at each door.
const LIVE: usize = 10;

/// How many of the failures are told of.
const MAX_TOLD: usize = 5;

/// Who comes, and where to.
pub(super) struct Good {
    doors: [Door; 2],
    rate: u32,
}

/// What became of the clients of one phase.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// How long small requests took from the beginning of their connection to its end, in milliseconds.
    pub(super) took: Vec<f64>,
    /// How many others were served.
    pub(super) served: u64,
    pub(super) failed: u64,
    pub(super) told: Vec<String>,
}

/// Where it is noted.
#[derive(Clone, Debug, Default)]
pub(super) struct Phase(Arc<Mutex<Seen>>);

impl Phase {
    pub(super) fn take(&self) -> Seen {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn one(self, door: Door, story: Story) {
        let started = Instant::now();
        let played = play(&door, story).await;
        let took = started.elapsed().as_secs_f64() * 1e3;
        let mut seen = self.lock();
        match played {
            Ok(()) if story == Story::Fresh => seen.took.push(took),
            Ok(()) => seen.served += 1,
            Err(error) => {
                seen.failed += 1;
                if seen.told.len() < MAX_TOLD {
                    seen.told.push(format!("{story:?} after {took:.0} ms: {error:#}"));
                }
            }
        }
    }
}

impl Good {
    pub(super) fn new(doors: [Door; 2], rate: u32) -> Self {
        Self { doors, rate }
    }

    /// Comes until then, and waits for the last to be done.
    pub(super) async fn run(self: Arc<Self>, phase: &Phase, until: Instant) {
        let mut all = JoinSet::new();
        let second = Duration::from_secs(1);
        let periods = [second / self.rate.max(1), 4 * second / self.rate.max(1)];
        for (door, period) in self.doors.clone().into_iter().zip(periods) {
            all.spawn(come(phase.clone(), door.clone(), Story::Fresh, period, until));
            all.spawn(come(phase.clone(), door.clone(), Story::EndsFirst, second, until));
            all.spawn(come(phase.clone(), door.clone(), Story::Bulk, 3 * second, until));
            for _ in 0..LIVE {
                all.spawn(stay(phase.clone(), door.clone(), until));
            }
        }
        while all.join_next().await.is_some() {}
    }
}

/// One after the other, however long each takes.
async fn come(phase: Phase, door: Door, story: Story, period: Duration, until: Instant) {
    let mut ticks = beat(period);
    let mut clients = JoinSet::new();
    while ticks.tick().await < until {
        clients.spawn(phase.clone().one(door.clone(), story));
        while clients.try_join_next().is_some() {}
    }
    while clients.join_next().await.is_some() {}
}

async fn stay(phase: Phase, door: Door, until: Instant) {
    while Instant::now() < until {
        phase.clone().one(door.clone(), Story::Live).await;
    }
}
