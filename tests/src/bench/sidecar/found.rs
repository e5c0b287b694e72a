//! What was found: every run's figure of every contender; pure.

use std::collections::BTreeMap;

use super::super::statistics::median;
use super::contender::Contender;
use super::figure::{Bar, Figure};

/// One row's runs.
pub(super) type Runs = BTreeMap<Contender, Vec<f64>>;

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rows: BTreeMap<Figure, Runs>,
    /// How much of its core a terminator took where it ought to be the whole, as a share.
    pub(super) busy: BTreeMap<Figure, Runs>,
    /// How much of theirs load and backend took meanwhile.
    pub(super) load: BTreeMap<Figure, Runs>,
    /// What went wrong with the sidecar: the bench fails.
    pub(super) failures: Vec<String>,
    /// What went wrong with its peers, whose figure of that round is missing.
    pub(super) of_peers: Vec<String>,
}

/// A bar, in the row's unit, and whether it is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) bar: Bar,
    pub(super) at_most: f64,
    pub(super) reached: bool,
}

impl Found {
    pub(super) fn add(&mut self, figure: Figure, contender: Contender, value: f64) {
        self.rows.entry(figure).or_default().entry(contender).or_default().push(value);
    }

    /// How much of their cores both sides took.
    pub(super) fn busy(&mut self, figure: Figure, contender: Contender, core: f64, load: f64) {
        self.busy.entry(figure).or_default().entry(contender).or_default().push(core);
        self.load.entry(figure).or_default().entry(contender).or_default().push(load);
    }

    /// Every bar of a row that can be told, given what the others took in the same run.
    pub(super) fn verdicts(&self, figure: Figure) -> Vec<Verdict> {
        let Some(runs) = self.rows.get(&figure) else { return Vec::new() };
        let Some(ours) = middle(runs, Contender::Countersign) else { return Vec::new() };
        let verdict = |bar: Bar| {
            let at_most = match bar {
                Bar::OfBest(share) => share * best(runs)?.1,
                Bar::OfFloor(share) => share * middle(runs, Contender::Floor)?,
                Bar::AtMost(most) => most,
            };
            Some(Verdict { bar, at_most, reached: ours <= at_most })
        };
        figure.bars().into_iter().filter_map(verdict).collect()
    }

    /// Where the terminator was not what was slow, but the load, or somebody else on the machine.
    pub(super) fn not_saturated(&self) -> Vec<String> {
        let rows = self.busy.iter().filter_map(|(figure, runs)| {
            let slow = |contender: &Contender| {
                let busy = middle(runs, *contender)? * 100.0;
                let load = middle(self.load.get(figure)?, *contender)? * 100.0;
                (busy < 90.0).then(|| format!("{contender} {busy:.0} % (load {load:.0} %)"))
            };
            let slow: Vec<String> = runs.keys().filter_map(slow).collect();
            (!slow.is_empty()).then(|| format!("{}: {}", figure.what(), slow.join(", ")))
        });
        rows.collect()
    }
}

/// The median of a contender's runs.
pub(super) fn middle(runs: &Runs, contender: Contender) -> Option<f64> {
    median(runs.get(&contender)?)
}

/// The peer that takes least.
pub(super) fn best(runs: &Runs) -> Option<(Contender, f64)> {
    let peers = runs.keys().copied().filter(|contender| contender.is_peer());
    let middles = peers.filter_map(|contender| Some((contender, middle(runs, contender)?)));
    middles.min_by(|one, other| one.1.total_cmp(&other.1))
}

#[cfg(test)]
mod tests {
    use super::super::figure::Peer;
    use super::super::load::client::Group;
    use super::*;

    const ROW: Figure = Figure::HandshakeCpu(Group::X25519, Peer::SeenBefore);

    fn found(ours: f64) -> Found {
        let mut found = Found::default();
        found.add(ROW, Contender::Countersign, ours);
        [500.0, 480.0, 490.0].into_iter().for_each(|value| found.add(ROW, Contender::Envoy, value));
        found.add(ROW, Contender::Nginx, 1_000.0);
        found
    }

    #[test]
    fn a_bar_is_a_share_of_the_best_peers_median() {
        let verdicts = found(269.0).verdicts(ROW);
        let expected = Verdict { bar: Bar::OfBest(0.55), at_most: 0.55 * 490.0, reached: true };
        assert_eq!(verdicts, [expected]);
        assert!(!found(270.0).verdicts(ROW)[0].reached);
    }

    #[test]
    fn the_floor_is_no_peer() {
        let mut found = found(269.0);
        found.add(ROW, Contender::Floor, 200.0);
        let reached: Vec<bool> = found.verdicts(ROW).iter().map(|one| one.reached).collect();
        assert_eq!(reached, [true, false]);
    }

    #[test]
    fn without_ours_or_a_peer_there_is_no_verdict() {
        let mut found = Found::default();
        assert_eq!(found.verdicts(ROW), []);
        found.add(ROW, Contender::Countersign, 1.0);
        assert_eq!(found.verdicts(ROW), []);
    }

    #[test]
    fn a_core_that_was_not_busy_is_told_of() {
        let mut found = Found::default();
        found.busy(ROW, Contender::Envoy, 0.97, 0.99);
        found.busy(ROW, Contender::Countersign, 0.72, 0.984);
        let expected = ["handshake, X25519, seen before: CPU: countersign 72 % (load 98 %)"];
        assert_eq!(found.not_saturated(), expected);
    }
}
