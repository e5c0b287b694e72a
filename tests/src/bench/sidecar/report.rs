//! What was found as a table for people and as JSON for programs; pure.

use std::fmt;

use serde_json::{Value, json};

use super::super::statistics::{median, range};
use super::super::table::plain;
use super::contender::Contender;
use super::figure::{Bar, Figure};
use super::found::{Found, Verdict};

/// A table: two lines a row, medians above their range.
pub(super) struct Report<'a> {
    /// The lines above.
    pub(super) head: Vec<String>,
    /// Who is measured in which version.
    pub(super) versions: Vec<(&'static str, String)>,
    pub(super) found: &'a Found,
    /// The lines below.
    pub(super) foot: Vec<String>,
}

/// The cells of a line: what, unit, one a contender, and what must be reached.
type Line = Vec<String>;

impl Report<'_> {
    /// Those who have a figure at all.
    fn columns(&self) -> Vec<Contender> {
        let has = |contender: &Contender| {
            self.found.rows.values().any(|runs| runs.contains_key(contender))
        };
        Contender::ALL.into_iter().filter(has).collect()
    }

    fn lines(&self) -> Vec<Line> {
        let columns = self.columns();
        let names = columns.iter().map(ToString::to_string);
        let title = ["what".to_owned(), String::new()].into_iter().chain(names);
        let mut lines: Vec<Line> = vec![title.chain(["must reach".to_owned()]).collect()];
        for (figure, runs) in &self.found.rows {
            let cells = |cell: fn(&[f64]) -> Option<String>| {
                let all = columns.iter().map(|one| runs.get(one).and_then(|runs| cell(runs)));
                all.map(Option::unwrap_or_default).collect::<Vec<_>>()
            };
            let verdicts = self.found.verdicts(*figure);
            let first = [figure.what(), figure.unit().to_owned()];
            let medians = first.into_iter().chain(cells(middle)).chain([must(&verdicts)]);
            lines.push(medians.collect());
            let ranges = cells(span);
            if ranges.iter().any(|range| !range.is_empty()) {
                let first = [String::new(), String::new()];
                lines.push(first.into_iter().chain(ranges).chain([String::new()]).collect());
            }
        }
        lines
    }

    /// Which bars are missed.
    fn missed(&self) -> (usize, usize) {
        let all: Vec<Verdict> =
            self.found.rows.keys().flat_map(|figure| self.found.verdicts(*figure)).collect();
        (all.iter().filter(|verdict| !verdict.reached).count(), all.len())
    }

    /// Everything, every run's figures too.
    pub(super) fn as_json(&self) -> Value {
        let rows: Vec<Value> = self.found.rows.keys().map(|figure| self.row(*figure)).collect();
        let versions =
            self.versions.iter().map(|(name, version)| ((*name).to_owned(), json!(version)));
        let versions: serde_json::Map<_, _> = versions.collect();
        json!({
            "head": self.head, "versions": versions, "rows": rows, "foot": self.foot,
            "failures": self.found.failures,
            "failuresOfPeers": self.found.of_peers,
        })
    }

    fn row(&self, figure: Figure) -> Value {
        let runs = |runs: Option<&super::found::Runs>| {
            let runs = runs.into_iter().flatten();
            runs.map(|(contender, runs)| (contender.name().to_owned(), json!(runs)))
                .collect::<serde_json::Map<_, _>>()
        };
        let medians = self.found.rows.get(&figure).into_iter().flatten();
        let medians: serde_json::Map<_, _> = medians
            .map(|(contender, runs)| (contender.name().to_owned(), json!(median(runs))))
            .collect();
        let bars: Vec<Value> = self
            .found
            .verdicts(figure)
            .into_iter()
            .map(|verdict| {
                let (of, share) = shares(verdict.bar);
                json!({
                    "of": of, "share": share,
                    "at most": verdict.at_most, "reached": verdict.reached,
                })
            })
            .collect();
        json!({
            "what": figure.what(), "unit": figure.unit(), "medians": medians,
            "runs": runs(self.found.rows.get(&figure)),
            "terminator's core": runs(self.found.busy.get(&figure)),
            "load's core": runs(self.found.load.get(&figure)), "bars": bars,
        })
    }
}

fn shares(bar: Bar) -> (Option<&'static str>, Option<f64>) {
    match bar {
        Bar::OfBest(share) => (Some("best peer"), Some(share)),
        Bar::OfFloor(share) => (Some("floor"), Some(share)),
        Bar::AtMost(_) => (None, None),
    }
}

fn middle(runs: &[f64]) -> Option<String> {
    median(runs).map(plain)
}

/// Nothing where there is one run alone, or all were alike.
fn span(runs: &[f64]) -> Option<String> {
    let (least, most) = range(runs)?;
    (plain(least) != plain(most)).then(|| format!("{}..{}", plain(least), plain(most)))
}

fn must(verdicts: &[Verdict]) -> String {
    let one = |verdict: &Verdict| match shares(verdict.bar) {
        (Some(of), Some(share)) => format!("{} ({share} of {of})", plain(verdict.at_most)),
        _ => plain(verdict.at_most),
    };
    let bars: Vec<String> = verdicts.iter().map(one).collect();
    match verdicts {
        [] => String::new(),
        _ if verdicts.iter().all(|verdict| verdict.reached) => format!("{}  ok", bars.join(", ")),
        _ => format!("{}  MISSED", bars.join(", ")),
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        let count = lines.first().map(Vec::len).unwrap_or_default();
        let widest = |place: usize| lines.iter().map(|line| line[place].chars().count()).max();
        let widths: Vec<usize> = (0..count).map(|place| widest(place).unwrap_or(0)).collect();
        self.head.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        for line in &lines {
            let cells = line.iter().zip(&widths).enumerate().map(|(place, (cell, width))| {
                // Words to the left, figures to the right.
                let is_word = place < 2 || place == count - 1;
                if is_word { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            let cells: Vec<String> = cells.collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        self.foot.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        match self.missed() {
            (0, all) => writeln!(f, "all {all} bars reached"),
            (missed, all) => writeln!(f, "{missed} of {all} bars MISSED"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::figure::Way;
    use super::*;

    fn found() -> Found {
        let mut found = Found::default();
        let row = Figure::BulkCpu(Way::ToServer, 1);
        [1.0, 0.9, 1.25]
            .into_iter()
            .for_each(|value| found.add(row, Contender::Countersign, value));
        [0.7, 0.71, 0.72].into_iter().for_each(|value| found.add(row, Contender::Envoy, value));
        found.add(Figure::Binary, Contender::Countersign, 5.2);
        found
    }

    #[test]
    fn a_table_has_medians_ranges_and_verdicts() {
        let found = found();
        let head = vec!["sidecar".to_owned()];
        let report = Report { head, versions: Vec::new(), found: &found, foot: Vec::new() };
        let expected = "\
sidecar
what                                    countersign      Envoy  must reach
bulk to the server, 1 conn.: CPU  s/GB            1       0.71  0.497 (0.7 of best peer)  MISSED
                                          0.9..1.25  0.7..0.72
binary                            MB            5.2             10  ok
1 of 2 bars MISSED
";
        assert_eq!(report.to_string(), expected);
    }

    #[test]
    fn json_has_every_run_and_every_bar() {
        let found = found();
        let versions = vec![("Envoy", "1.40.0".to_owned())];
        let report = Report { head: Vec::new(), versions, found: &found, foot: Vec::new() };
        let json = report.as_json();
        assert_eq!(json["versions"]["Envoy"], json!("1.40.0"));
        let row = &json["rows"][0];
        assert_eq!(row["runs"]["countersign"], json!([1.0, 0.9, 1.25]));
        assert_eq!(row["medians"]["Envoy"], json!(0.71));
        assert_eq!(row["bars"][0]["reached"], json!(false));
        assert_eq!(json["rows"][1]["bars"][0]["at most"], json!(10.0));
    }
}
