//! Durations that users write into annotations, where no schema has looked at them.

use std::time::Duration;

/// The longest number before a unit; what is longer overflows, and kube's parser panics at that.
const MOST_DIGITS: usize = 7;

/// The longest text.
const LONGEST: usize = 64;

/// A positive Go duration such as `1h30m`; `None` for anything else, and for a million hours and more.
#[must_use]
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let is_short = |number: &str| number.len() <= MOST_DIGITS;
    let is_bounded = text.len() <= LONGEST
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text.split(|c: char| !c.is_ascii_digit()).all(is_short);
    let parsed = is_bounded.then(|| text.parse::<kube::core::Duration>().ok()).flatten();
    parsed.map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_or_refused_and_never_panics() {
        let cases = [
            ("90m", Some(5400)),
            ("1h30m", Some(5400)),
            ("1.5h", Some(5400)),
            ("9999999h", Some(9_999_999 * 3600)),
            ("99999999999999999999999999999h", None),
            ("1e300h", None),
            ("-1h", None),
            ("1", None),
            ("a day", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected.map(Duration::from_secs), "{text}");
        }
    }
}
