//! Bounds how many refusals are logged: a stranger can cause any number of them, and a log that is
//! full of one kind has no room for others. All are counted in the metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use countersign_contract::Refusal;
use tracing::warn;

use crate::metrics::Direction;

/// So many refusals of one reason are logged at once, and then one in each interval.
const BURST: u64 = 100;
const INTERVAL: Duration = Duration::from_secs(1);

/// How often the sum of those that were not logged is.
const SUM_INTERVAL: Duration = Duration::from_secs(10);

/// One bound for each direction and reason.
#[derive(Debug)]
pub(crate) struct RefusalLog {
    started: Instant,
    bounds: [[Bound; Refusal::ALL.len()]; 2],
}

#[derive(Debug, Default)]
struct Bound {
    /// When all of the burst is free again, in milliseconds since the start.
    free_at: AtomicU64,
    omitted: AtomicU64,
}

impl Default for RefusalLog {
    fn default() -> Self {
        let bounds = std::array::from_fn(|_| std::array::from_fn(|_| Bound::default()));
        Self { started: Instant::now(), bounds }
    }
}

impl RefusalLog {
    /// Whether one more refusal is logged now; counts it where it is not.
    pub(crate) fn admits(&self, direction: Direction, reason: Refusal) -> bool {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.bounds[direction as usize][reason as usize].admits(now)
    }

    /// Logs how many refusals were not logged since the last time.
    pub(crate) fn report_omitted(&self) {
        for direction in Direction::ALL {
            for reason in Refusal::ALL {
                let bound = &self.bounds[direction as usize][*reason as usize];
                let omitted = bound.omitted.swap(0, Relaxed);
                if omitted > 0 {
                    let reason = reason.as_str();
                    warn!(?direction, reason, omitted, "more refusals of the same reason");
                }
            }
        }
    }

    /// The same every few seconds, for ever.
    pub(crate) async fn keep_reporting(&self) {
        loop {
            tokio::time::sleep(SUM_INTERVAL).await;
            self.report_omitted();
        }
    }
}

impl Bound {
    fn admits(&self, now: u64) -> bool {
        let moved = self.free_at.fetch_update(Relaxed, Relaxed, |free_at| later(free_at, now));
        if moved.is_err() {
            self.omitted.fetch_add(1, Relaxed);
        }
        moved.is_ok()
    }
}

/// When the burst will be free again after one more; nothing if there is no room for one. Pure.
fn later(free_at: u64, now: u64) -> Option<u64> {
    let interval = u64::try_from(INTERVAL.as_millis()).unwrap_or(u64::MAX);
    let next = free_at.max(now) + interval;
    (next - now <= BURST * interval).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_logged_and_then_one_a_second() {
        let bound = Bound::default();
        let logged = |now, count| (0..count).filter(|_| bound.admits(now)).count();
        assert_eq!(logged(5, 1000), 100);
        assert_eq!(bound.omitted.swap(0, Relaxed), 900);
        assert_eq!(logged(1004, 10), 0);
        assert_eq!(logged(1005, 10), 1);
        assert_eq!(logged(11_005, 1000), 10);
        assert_eq!(logged(1_000_000, 1000), 100, "all of the burst is free again");
    }
}
