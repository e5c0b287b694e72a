//! What good clients noticed, as figures; pure.

use std::fmt;

use super::good::Seen;
use crate::bench::statistics::percentile;

/// By how much the 99th percentile may grow.
const MAX_GROWTH: f64 = 2.0;

/// What was seen in one minute.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    when: String,
    seen: Seen,
    /// Of the larger of both sidecars, in kB.
    memory: f64,
    descriptors: usize,
}

impl Figures {
    pub(super) const HEADING: &str =
        "              served  failed   p50 ms   p99 ms   max ms   memory kB   descriptors";

    pub(super) fn new(when: &str, seen: Seen, memory: f64, descriptors: usize) -> Self {
        Self { when: when.to_owned(), seen, memory, descriptors }
    }

    fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.seen.took, percent).unwrap_or(f64::INFINITY)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, most] = [50, 99, 100].map(|percent| self.percentile(percent));
        let served = self.seen.took.len() as u64 + self.seen.served;
        write!(
            f,
            "{:>12} {served:>7} {:>7} {p50:>8.1} {p99:>8.1} {most:>8.1} {:>11.0} {:>13}",
            self.when, self.seen.failed, self.memory, self.descriptors
        )
    }
}

/// What is wrong; nothing if all is well. The percentile is that of all minutes together.
pub(super) fn complaints(calm: &Figures, attacked: &[Figures]) -> Vec<String> {
    let mut all = Vec::new();
    for figures in [calm].into_iter().chain(attacked) {
        if figures.seen.failed > 0 {
            all.push(format!("{}: {} good clients failed", figures.when, figures.seen.failed));
            all.extend(figures.seen.told.iter().map(|told| format!("  {told}")));
        }
    }
    let took: Vec<f64> = attacked.iter().flat_map(|figures| figures.seen.took.clone()).collect();
    let (before, during) = (calm.percentile(99), percentile(&took, 99).unwrap_or(f64::INFINITY));
    println!("p99 of good clients: {before:.1} ms before, {during:.1} ms under attack");
    if during > before * MAX_GROWTH {
        all.push(format!("p99 was {before:.1} ms, and is {during:.1} ms under attack"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(took: f64, failed: u64) -> Figures {
        let seen = Seen { took: vec![took; 200], failed, ..Seen::default() };
        Figures::new("now", seen, 0.0, 0)
    }

    #[test]
    fn complains_of_failures_and_of_a_percentile_that_more_than_doubles() {
        let none = Figures::new("now", Seen::default(), 0.0, 0);
        let cases = [
            (figures(4.0, 0), vec![figures(8.0, 0)], 0),
            (figures(4.0, 0), vec![figures(8.1, 0)], 1),
            (figures(4.0, 0), vec![figures(4.0, 1)], 1),
            (figures(4.0, 1), vec![figures(4.0, 0)], 1),
            (figures(4.0, 0), vec![none], 1),
        ];
        for (calm, attacked, expected) in cases {
            assert_eq!(complaints(&calm, &attacked).len(), expected, "{calm} {attacked:?}");
        }
    }
}
