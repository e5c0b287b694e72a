//! Whether a fault is under way that a good client may suffer from.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Counts beginnings and ends of storms: odd while one is under way.
#[derive(Debug, Default)]
pub(super) struct Weather(AtomicU64);

/// When a client set out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(u64);

/// A storm, until this goes.
pub(super) struct Storm<'a>(&'a Weather);

impl Weather {
    pub(super) fn storm(&self) -> Storm<'_> {
        self.0.fetch_add(1, SeqCst);
        Storm(self)
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.0.load(SeqCst))
    }

    /// Whether there was a storm at some time since.
    pub(super) fn was_rough(&self, Mark(since): Mark) -> bool {
        since % 2 == 1 || self.0.load(SeqCst) != since
    }
}

impl Drop for Storm<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_met_a_storm_on_the_way_is_excused() {
        let weather = Weather::default();
        let before = weather.mark();
        assert!(!weather.was_rough(before));
        let storm = weather.storm();
        let within = weather.mark();
        drop(storm);
        let after = weather.mark();
        let all = [before, within, after].map(|mark| weather.was_rough(mark));
        assert_eq!(all, [true, true, false]);
    }
}
