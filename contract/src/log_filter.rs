//! Log filters as users write them.
//!
//! A filter may come from a pod's annotation, hence from any tenant. It is checked by its characters
//! before a parser reads it, and only levels and `target=level` are allowed: the richer syntax of some
//! parsers holds regular expressions, whose compilation takes memory without a bound.

/// The maximum length of a filter, in bytes.
pub const MAX_LENGTH: usize = 256;

/// The levels that a filter may name.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A log filter without its spaces: levels and `target=level`, comma separated. Nothing, if it is none.
#[must_use]
pub fn parse(text: &str) -> Option<String> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let filter: String = text.chars().filter(|c| *c != ' ').collect();
    filter.split(',').all(is_directive).then_some(filter)
}

fn is_directive(part: &str) -> bool {
    match part.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(part),
    }
}

fn is_level(text: &str) -> bool {
    LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text))
}

fn is_target(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
    !text.is_empty() && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_levels_and_targets_with_levels_only() {
        let valid = [
            ("info", "info"),
            ("WARN", "WARN"),
            ("off", "off"),
            ("info,countersign_sidecar=debug", "info,countersign_sidecar=debug"),
            (" info , hyper::proto = trace ", "info,hyper::proto=trace"),
            ("countersign_operator=debug", "countersign_operator=debug"),
        ];
        for (text, expected) in valid {
            assert_eq!(parse(text).as_deref(), Some(expected), "{text:?}");
        }
        let invalid = [
            "",
            "information",
            "info,",
            "=info",
            "hyper=",
            "hyper",
            "hyper=loud",
            "[{a=[01]*1[01]}]=info",
            "[span]=info",
            "a[{b}]=info",
            "a{b=1}=info",
            "a.b=info",
            "a=b=info",
            "é=info",
        ];
        for text in invalid {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse(&format!("info{}", ",info".repeat(60))), None, "too long");
    }
}
