//! A stretch of time in which something is counted.

use std::thread;
use std::time::{Duration, Instant};

use super::terminator::Terminator;
use super::usage::{self, Spent};

/// How long everything runs before it is counted.
const WARM_UP: Duration = Duration::from_millis(300);

/// What happened within it.
pub(super) struct Window {
    pub(super) time: Duration,
    pub(super) count: u64,
    pub(super) spent: Spent,
    /// What load and backend took.
    load: Duration,
}

impl Window {
    /// Looks at the counter and the terminator's time twice, this far apart; less where there is
    /// nothing to be done any more.
    pub(super) fn open(
        terminator: &Terminator,
        length: Duration,
        count: impl Fn() -> u64,
        is_over: impl Fn() -> bool,
    ) -> anyhow::Result<Self> {
        thread::sleep(WARM_UP.min(length / 2));
        let bench = std::process::id();
        let (before, load) = (terminator.spent()?, usage::spent_alone(bench)?.exact);
        let (start, first) = (Instant::now(), count());
        while start.elapsed() < length && !is_over() {
            thread::sleep(Duration::from_millis(10));
        }
        let (time, last) = (start.elapsed(), count());
        let spent = terminator.spent()?.since(before);
        let load = usage::spent_alone(bench)?.exact.saturating_sub(load);
        Ok(Self { time, count: last - first, spent, load })
    }

    /// How much of its core the terminator took.
    pub(super) fn busy(&self) -> f64 {
        self.spent.time().as_secs_f64() / self.time.as_secs_f64()
    }

    /// How much of theirs load and backend took.
    pub(super) fn load(&self) -> f64 {
        self.load.as_secs_f64() / self.time.as_secs_f64()
    }

    pub(super) fn per_second(&self) -> f64 {
        self.count as f64 / self.time.as_secs_f64()
    }

    pub(super) fn microseconds_each(&self) -> f64 {
        self.spent.microseconds() / self.count as f64
    }
}
