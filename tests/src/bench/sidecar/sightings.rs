//! When each certificate was put in place, and when a client first saw it; pure.

use std::collections::HashMap;
use std::time::Duration;

/// All certificates, in the order in which they were put in place. Times count from the start.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    places: HashMap<Vec<u8>, usize>,
    placed: Vec<Duration>,
    seen: Vec<Duration>,
}

impl Sightings {
    pub(super) fn place(&mut self, certificate: &[u8], at: Duration) {
        self.places.insert(certificate.to_vec(), self.placed.len());
        self.placed.push(at);
    }

    /// Whoever shows a certificate has also got over those before.
    pub(super) fn see(&mut self, certificate: &[u8], at: Duration) {
        let Some(place) = self.places.get(certificate) else { return };
        let news = (place + 1).saturating_sub(self.seen.len());
        self.seen.extend(std::iter::repeat_n(at, news));
    }

    /// The longest that one took until it was seen; those never seen took until the end.
    pub(super) fn slowest(&self, end: Duration) -> Duration {
        let seen = self.seen.iter().copied().chain(std::iter::repeat(end));
        let waits = self.placed.iter().zip(seen).map(|(placed, seen)| seen.saturating_sub(*placed));
        waits.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn three() -> Sightings {
        let mut sightings = Sightings::default();
        sightings.place(b"one", ms(0));
        sightings.place(b"two", ms(1_000));
        sightings.place(b"three", ms(2_000));
        sightings
    }

    #[test]
    fn the_slowest_is_what_counts() {
        let mut sightings = three();
        sightings.see(b"one", ms(5));
        sightings.see(b"two", ms(1_300));
        sightings.see(b"one", ms(1_400));
        sightings.see(b"three", ms(2_100));
        sightings.see(b"three", ms(2_900));
        assert_eq!(sightings.slowest(ms(3_000)), ms(300));
    }

    #[test]
    fn one_that_is_skipped_is_seen_with_the_next() {
        let mut sightings = three();
        sightings.see(b"one", ms(5));
        sightings.see(b"three", ms(2_100));
        assert_eq!(sightings.slowest(ms(3_000)), ms(1_100));
    }

    #[test]
    fn one_that_is_never_seen_takes_until_the_end() {
        let mut sightings = three();
        sightings.see(b"two", ms(1_100));
        sightings.see(b"unknown", ms(1_200));
        assert_eq!(sightings.slowest(ms(9_000)), ms(7_000));
    }
}
