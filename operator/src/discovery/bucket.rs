//! A token bucket; pure. What is done may cost more than there is: the debt is waited for.

use std::time::Duration;

use tokio::time::Instant;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) per_second: u32,
    pub(super) burst: u32,
}

/// What is left.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    left: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, left: f64::from(rate.burst), at: now }
    }

    /// How long until something is left.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let filled = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        let per_second = f64::from(self.rate.per_second);
        self.left = (self.left + filled * per_second).min(f64::from(self.rate.burst));
        if self.left >= 1.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64((1.0 - self.left) / per_second)
    }

    /// Something was done that costs so much.
    pub(super) fn charge(&mut self, cost: u32) {
        self.left -= f64::from(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let began = Instant::now();
        let mut bucket = Bucket::new(Rate { per_second: 10, burst: 3 }, began);
        for _ in 0..3 {
            assert_eq!(bucket.wait(began), Duration::ZERO);
            bucket.charge(1);
        }
        assert_eq!(bucket.wait(began), Duration::from_millis(100));
        assert_eq!(bucket.wait(began + Duration::from_millis(100)), Duration::ZERO);
        // What costs more than there is, is waited for afterwards.
        bucket.charge(11);
        let later = began + Duration::from_millis(100);
        assert_eq!(bucket.wait(later), Duration::from_millis(1100));
        // However long nothing is done, no more than a burst is saved.
        let late = began + Duration::from_secs(3600);
        assert_eq!(bucket.wait(late), Duration::ZERO);
        bucket.charge(3);
        assert!(bucket.wait(late) > Duration::ZERO);
    }
}
