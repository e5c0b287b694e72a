//! The figures as a picture: each row's bars relative to the best peer, whose bar ends at 1. SVG by
//! hand, in colours that can be read on white and on black; pure.

use std::fmt::Write as _;

use super::super::table::plain;
use super::contender::Contender;
use super::figure::{Bar, Figure};
use super::found::{Found, Runs, best, middle};

/// Where the bars begin, and how long one of 1 is.
const LEFT: f64 = 330.0;
const UNIT: f64 = 220.0;
/// What is longer is cut, and its figure tells.
const LONGEST: f64 = 2.5;
const LINE: f64 = 13.0;
const WIDTH: f64 = LEFT + UNIT * LONGEST + 130.0;
const TOP: f64 = 56.0;

const STYLE: &str = "\
text{font:11px system-ui,sans-serif;fill:#1f2328}
.title{font-size:15px;font-weight:600}
.soft{fill:#59636e}
.countersign{fill:#0b7a4b}
.peer{fill:#8c959f}
.floor{fill:#c9a227}
.one{stroke:#59636e;stroke-dasharray:3 3}
.bar{stroke:#cf222e;stroke-width:2}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9198a1}.countersign{fill:#3fb950}\
.peer{fill:#6e7681}.floor{fill:#d4b106}.one{stroke:#9198a1}.bar{stroke:#ff7b72}}
";

/// Every row that has peers and less is better in it.
pub(super) fn svg(found: &Found) -> String {
    let rows = found.rows.iter().filter_map(|(figure, runs)| Row::of(*figure, runs, found));
    let rows: Vec<Row<'_>> = rows.collect();
    let (mut body, mut y) = (String::new(), TOP);
    for row in &rows {
        y = row.draw(&mut body, y);
    }
    let x = LEFT + UNIT;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\">\n<style>{STYLE}</style>\n\
         <text class=\"title\" x=\"12\" y=\"24\">The sidecar beside its peers: shorter is better</text>\n\
         <text class=\"soft\" x=\"12\" y=\"42\">1 is the best peer of the same run; \
         the red line is what must be reached</text>\n\
         <line class=\"one\" x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{y}\"/>\n{body}</svg>\n",
        height = y + 12.0,
    )
}

/// What is drawn of a row.
struct Row<'a> {
    figure: Figure,
    runs: &'a Runs,
    one: f64,
    /// The lowest bar, where there is one.
    must: Option<f64>,
}

impl<'a> Row<'a> {
    fn of(figure: Figure, runs: &'a Runs, found: &Found) -> Option<Self> {
        let is_drawn = figure.bars().iter().any(|bar| matches!(bar, Bar::OfBest(_)))
            || matches!(figure, Figure::MemoryIdle | Figure::MemoryEach(_));
        let (_, one) = best(runs).filter(|(_, one)| is_drawn && *one > 0.0)?;
        let musts = found.verdicts(figure).into_iter().map(|verdict| verdict.at_most);
        Some(Self { figure, runs, one, must: musts.min_by(f64::total_cmp) })
    }

    /// Tells where the next row begins.
    fn draw(&self, body: &mut String, top: f64) -> f64 {
        let mut y = top + 6.0;
        let what = format!("{} ({})", self.figure.what(), self.figure.unit());
        text(body, "", 12.0, y + 10.0, &what);
        let height = LINE * self.runs.len() as f64;
        for contender in self.runs.keys().copied() {
            if let Some(value) = middle(self.runs, contender) {
                self.bar(body, y, contender, value);
                y += LINE;
            }
        }
        if let Some(must) = self.must {
            let x = LEFT + UNIT * (must / self.one).min(LONGEST);
            line(body, x, top + 4.0, top + 6.0 + LINE);
        }
        top + height + 14.0
    }

    fn bar(&self, body: &mut String, y: f64, contender: Contender, value: f64) {
        let class = match contender {
            Contender::Countersign => "countersign",
            Contender::Floor => "floor",
            _ => "peer",
        };
        let (share, height) = (value / self.one, LINE - 3.0);
        let width = UNIT * share.clamp(0.0, LONGEST);
        let _always = writeln!(
            body,
            "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{height}\"/>",
        );
        let said = format!("{contender} {}", plain(value));
        text(body, "soft", LEFT + width + 5.0, y + 9.0, &said);
    }
}

fn text(body: &mut String, class: &str, x: f64, y: f64, said: &str) {
    let _always = writeln!(body, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{said}</text>");
}

fn line(body: &mut String, x: f64, from: f64, to: f64) {
    let _always = writeln!(
        body,
        "<line class=\"bar\" x1=\"{x:.1}\" y1=\"{from:.1}\" x2=\"{x:.1}\" y2=\"{to:.1}\"/>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_they_are_beside_the_best_peer() {
        let mut found = Found::default();
        let row = Figure::RequestCpu(8_000);
        found.add(row, Contender::Countersign, 30.0);
        found.add(row, Contender::Envoy, 60.0);
        found.add(row, Contender::Nginx, 600.0);
        let svg = svg(&found);
        assert!(svg.contains("<rect class=\"countersign\" x=\"330\" y=\"62.0\" width=\"110.0\""));
        assert!(svg.contains("<rect class=\"peer\" x=\"330\" y=\"75.0\" width=\"220.0\""));
        assert!(svg.contains("y=\"88.0\" width=\"550.0\""), "it is cut");
        assert!(svg.contains(">nginx 600</text>"), "and its figure tells");
        assert!(svg.contains("<line class=\"bar\" x1=\"506.0\""), "0.8 of the best peer");
    }

    #[test]
    fn rows_without_peers_are_not_drawn() {
        let mut found = Found::default();
        found.add(Figure::Binary, Contender::Countersign, 5.0);
        found.add(Figure::RequestCpu(2_000), Contender::Countersign, 5.0);
        assert!(!svg(&found).contains("<rect"));
    }
}
