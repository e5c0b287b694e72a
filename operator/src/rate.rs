//! How often something is done: a few times at once, and after that at an interval; pure.

use std::time::{Duration, Instant};

/// A rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// So many at once,
    pub(crate) at_once: u32,
    /// and then one in so much time.
    pub(crate) interval: Duration,
}

/// What of a rate was used: when all of it may be used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used(Option<Instant>);

impl Rate {
    /// How long until the next one is allowed; `None` if it is now.
    pub(crate) fn wait(self, used: Used, now: Instant) -> Option<Duration> {
        let unused_in = used.0?.saturating_duration_since(now);
        let wait = unused_in.checked_sub(self.interval * self.at_once.saturating_sub(1))?;
        (!wait.is_zero()).then_some(wait)
    }

    /// One was done.
    pub(crate) fn after(self, used: Used, now: Instant) -> Used {
        Used(Some(used.0.map_or(now, |until| until.max(now)) + self.interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_ones_are_allowed_at_once_and_later_ones_at_the_interval() {
        let rate = Rate { at_once: 3, interval: Duration::from_secs(2) };
        let start = Instant::now();
        let mut used = Used::default();
        // Milliseconds since the start, and how long must be waited.
        let cases = [
            (0, None),
            (0, None),
            (10, None),
            (10, Some(1990)),
            (1000, Some(1000)),
            (2000, None),
            (2000, Some(2000)),
            (60_000, None),
            (60_000, None),
            (60_000, None),
            (60_000, Some(2000)),
        ];
        for (at, expected) in cases {
            let now = start + Duration::from_millis(at);
            let found = rate.wait(used, now);
            assert_eq!(found, expected.map(Duration::from_millis), "{at}");
            if found.is_none() {
                used = rate.after(used, now);
            }
        }
    }
}
