//! Words and columns for people. What is printed comes from others: no value can begin a line of
//! its own, or speak to the terminal.

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};

/// A text on one line, without characters that a terminal obeys.
#[must_use]
pub fn one_line(text: &str) -> String {
    let harmless = |c: char| if c.is_control() || is_bidirectional(c) { ' ' } else { c };
    text.chars().map(harmless).collect::<String>().trim().to_owned()
}

/// Characters that turn the order of what is read around.
fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How long something is, in its two largest units: `3d4h`, `12m`, `59s`.
#[must_use]
pub fn span(duration: SignedDuration) -> String {
    let seconds = duration.abs().as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let Some(first) = units.iter().position(|(size, _)| seconds >= *size) else {
        return "0s".to_owned();
    };
    let part = |left: i64, (size, unit): (i64, &str)| match left / size {
        0 => String::new(),
        count => format!("{count}{unit}"),
    };
    let mut said = part(seconds, units[first]);
    // Weeks ahead nobody counts the hours.
    if seconds < 14 * 86_400
        && let Some(second) = units.get(first + 1)
    {
        said += &part(seconds % units[first].0, *second);
    }
    said
}

/// A duration as manifests have it: `720h`, `1h30m`, `90s` as `1m30s`.
#[must_use]
pub fn duration(duration: kube::core::Duration) -> String {
    let whole = std::time::Duration::from(duration);
    let (seconds, rest) = (whole.as_secs(), whole.subsec_millis());
    let parts = [(seconds / 3_600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let parts = parts.into_iter().chain([(u64::from(rest), "ms")]);
    let said: String = parts
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if said.is_empty() { "0s".to_owned() } else { said }
}

/// A time, and how far it is: `2026-11-25T22:00:00Z (in 3d4h)`.
#[must_use]
pub fn when(time: Timestamp, now: Timestamp) -> String {
    format!("{time} ({})", relative(time, now))
}

/// How far a time is: `in 3d4h`, `2m ago`, `now`.
#[must_use]
pub fn relative(time: Timestamp, now: Timestamp) -> String {
    let far = time.duration_since(now);
    match far.as_secs() {
        0 => "now".to_owned(),
        1.. => format!("in {}", span(far)),
        _ => format!("{} ago", span(far)),
    }
}

/// Lines of a name and a value, the values under each other.
#[derive(Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// One line more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.0.push((name.to_owned(), one_line(value.as_ref())));
        self
    }

    /// One line more, unless there is nothing to say.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<impl AsRef<str>>) -> Self {
        match value.filter(|value| !value.as_ref().is_empty()) {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The lines, each after `indent`.
    #[must_use]
    pub fn lines(&self, indent: &str) -> String {
        let width = self.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 1;
        let mut text = String::new();
        for (name, value) in &self.0 {
            let name = format!("{name}:");
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{indent}{name:width$}  {value}");
        }
        text
    }
}

/// Rows whose columns stand under each other, each row after `indent`; the last column is as wide
/// as it is.
#[must_use]
pub fn table(indent: &str, rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{indent}{}", line.trim_end());
    }
    text
}

/// `1 finding`, `2 findings`.
#[must_use]
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
    }

    #[test]
    fn how_far_a_time_is() {
        let cases = [
            (0, "now"),
            (59, "in 59s"),
            (60, "in 1m"),
            (90, "in 1m30s"),
            (-3_600, "1h ago"),
            (-93_600, "1d2h ago"),
            (86_400 * 30 + 7_200, "in 30d"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(relative(at(seconds), at(0)), expected);
        }
    }

    #[test]
    fn a_duration_is_written_as_manifests_have_it() {
        let cases = [
            ("720h", "720h"),
            ("5400s", "1h30m"),
            ("90s", "1m30s"),
            ("100ms", "100ms"),
            ("0s", "0s"),
        ];
        for (given, expected) in cases {
            assert_eq!(duration(given.parse().expect("a duration")), expected);
        }
    }

    #[test]
    fn what_others_wrote_stays_on_its_line_and_does_not_speak_to_the_terminal() {
        assert_eq!(one_line("a\nReady: True\u{1b}[31m\u{202e}x\r\n"), "a Ready: True [31m x");
        let fields = Fields::default().with("Name", "web\nb").maybe("Reason", Some("")).lines("  ");
        assert_eq!(fields, "  Name:  web b\n");
    }

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [vec!["a".to_owned(), "one".to_owned()], vec!["bbb".to_owned(), "x".to_owned()]];
        assert_eq!(table("  ", &rows), "  a    one\n  bbb  x\n");
    }
}
