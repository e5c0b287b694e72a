//! When each request of a steady rate is due, whoever sends it; pure.

use std::time::Duration;

/// A rate, dealt out to senders in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    per_second: u32,
    senders: u32,
}

impl Schedule {
    pub(crate) fn new(per_second: u32, senders: u32) -> Self {
        Self { per_second, senders }
    }

    /// When a sender's n-th request is due, counted from the start. It does not depend on how long
    /// any request took, so that a slow answer cannot hide those behind it.
    pub(crate) fn due(self, sender: u32, nth: u32) -> Duration {
        let place = u64::from(nth) * u64::from(self.senders) + u64::from(sender);
        Duration::from_nanos(place * 1_000_000_000 / u64::from(self.per_second))
    }

    /// How many requests of each sender are due within a time.
    pub(crate) fn each(self, within: Duration) -> u32 {
        let all = within.as_nanos() * u128::from(self.per_second) / 1_000_000_000;
        u32::try_from(all / u128::from(self.senders)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_evenly_and_in_turn() {
        let schedule = Schedule::new(8_000, 32);
        assert_eq!(schedule.due(0, 0), Duration::ZERO);
        assert_eq!(schedule.due(1, 0), Duration::from_micros(125));
        assert_eq!(schedule.due(0, 1), Duration::from_millis(4));
        assert_eq!(schedule.due(31, 249), Duration::from_micros(999_875));
    }

    #[test]
    fn every_sender_has_the_same_share() {
        assert_eq!(Schedule::new(2_000, 32).each(Duration::from_secs(4)), 250);
        assert_eq!(Schedule::new(500, 8).each(Duration::from_secs(600)), 37_500);
    }
}
