//! What was measured beside what must be reached; pure.

use std::fmt;

/// What must be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// The figure must be less than this.
    Under(f64),
    /// The figure may be this, and no more.
    AtMost(f64),
}

impl Bar {
    /// Whether a figure reaches it.
    #[must_use]
    pub fn is_reached(self, figure: f64) -> bool {
        match self {
            Self::Under(bar) => figure < bar,
            Self::AtMost(bar) => figure <= bar,
        }
    }
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// How much it is.
    pub figure: f64,
    /// In which unit.
    pub unit: &'static str,
    /// What must be reached.
    pub bar: Bar,
    /// What cert-manager takes for the same, as it was recorded.
    pub peer: &'static str,
    /// What else is to be known about it.
    pub note: String,
}

impl Row {
    /// Whether the bar is missed.
    #[must_use]
    pub fn misses(&self) -> bool {
        !self.bar.is_reached(self.figure)
    }

    fn cells(&self) -> [String; 5] {
        let Self { what, figure, unit, bar, peer, .. } = self;
        let (word, bar) = match bar {
            Bar::Under(bar) => ("under ", bar),
            Bar::AtMost(bar) => ("", bar),
        };
        let verdict = if self.misses() { "MISSED" } else { "ok" };
        let measured = with_unit(&plain(*figure), unit);
        let must = format!("{word}{}", with_unit(&plain(*bar), unit));
        [what.clone(), measured, must, (*peer).to_owned(), verdict.to_owned()]
    }
}

/// Every row, and what is to be said above and below.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The lines above.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
    /// The lines below.
    pub foot: Vec<String>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_peer = self.rows.iter().any(|row| !row.peer.is_empty());
        let peer = if has_peer { "cert-manager" } else { "" };
        let title = ["what", "measured", "must reach", peer, ""].map(str::to_owned);
        let mut lines = vec![title];
        lines.extend(self.rows.iter().map(Row::cells));
        let width = |place: usize| {
            lines.iter().map(|cells| cells[place].chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..4).map(width).collect();
        self.head.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        for [what, measured, must, peer, verdict] in &lines {
            let line = format!(
                "{what:<0$}  {measured:>1$}  {must:>2$}  {peer:<3$}  {verdict}",
                widths[0], widths[1], widths[2], widths[3],
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        self.foot.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        let missed = self.rows.iter().filter(|row| row.misses()).count();
        match missed {
            0 => writeln!(f, "all {} reached", self.rows.len()),
            _ => writeln!(f, "{missed} of {} MISSED", self.rows.len()),
        }
    }
}

/// Three figures that count, and no zeros behind them.
#[must_use]
pub fn plain(figure: f64) -> String {
    let places = match figure.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{figure:.places$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn with_unit(figure: &str, unit: &str) -> String {
    if unit.is_empty() { figure.to_owned() } else { format!("{figure} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(figure: f64, bar: Bar) -> Row {
        let (what, note) = ("CPU".to_owned(), String::new());
        Row { what, figure, unit: "ms", bar, peer: "79 ms", note }
    }

    #[test]
    fn a_bar_is_reached_or_missed() {
        let cases = [
            (7.9, Bar::Under(8.0), false),
            (8.0, Bar::Under(8.0), true),
            (2.0, Bar::AtMost(2.0), false),
            (2.001, Bar::AtMost(2.0), true),
            (f64::NAN, Bar::AtMost(2.0), true),
        ];
        for (figure, bar, misses) in cases {
            assert_eq!(row(figure, bar).misses(), misses, "{figure} {bar:?}");
        }
    }

    #[test]
    fn a_figure_is_short() {
        let cases = [
            (1234.56, "1235"),
            (120.0, "120"),
            (45.67, "45.7"),
            (8.0, "8"),
            (2.0049, "2"),
            (0.1234, "0.123"),
            (0.0, "0"),
            (-0.0001, "0"),
        ];
        for (figure, expected) in cases {
            assert_eq!(plain(figure), expected);
        }
    }

    #[test]
    fn a_table_says_which_bars_are_missed() {
        let rows = vec![row(2.5, Bar::Under(8.0)), row(80.0, Bar::Under(8.0))];
        let table = Table { head: vec!["operator".to_owned()], rows, foot: Vec::new() };
        let expected = "operator\n\
            what  measured  must reach  cert-manager\n\
            CPU     2.5 ms  under 8 ms  79 ms         ok\n\
            CPU      80 ms  under 8 ms  79 ms         MISSED\n\
            1 of 2 MISSED\n";
        assert_eq!(table.to_string(), expected);
    }
}
