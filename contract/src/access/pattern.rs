//! Patterns of names; each star stands for one run of characters, and none is tried twice.

/// Whether a SPIFFE ID matches: `*` stands for any run of characters within one segment of the path,
/// and a last segment that is `*` for everything below.
pub(super) fn matches_id(pattern: &str, id: &str) -> bool {
    let (mut segments, mut found) = (pattern.split('/'), id.split('/'));
    loop {
        match (segments.next(), found.next()) {
            (None, None) => return true,
            (Some("*"), Some(first)) if segments.clone().next().is_none() => {
                return !first.is_empty();
            }
            (Some(segment), Some(found)) if matches_run(segment, found) => {}
            _ => return false,
        }
    }
}

/// Whether a DNS name matches: exactly, or `*.` in front for one label (RFC 9525, 6.3).
pub(super) fn matches_dns(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(rest) => name.split_once('.').is_some_and(|(label, above)| {
            !label.is_empty() && label != "*" && above.eq_ignore_ascii_case(rest)
        }),
        None => name.eq_ignore_ascii_case(pattern),
    }
}

/// Whether a text matches, in which `*` stands for any run of characters.
pub(super) fn matches_run(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_in_an_identity_ends_at_the_next_slash_unless_it_is_the_last() {
        let id = "spiffe://d.org/ns/shop/sa/web-1";
        let cases = [
            ("spiffe://d.org/ns/shop/sa/web-1", true),
            ("spiffe://d.org/ns/shop/sa/*", true),
            ("spiffe://d.org/ns/*/sa/web-1", true),
            ("spiffe://d.org/ns/*/sa/web-*", true),
            ("spiffe://d.org/ns/s*p/sa/*-*", true),
            ("spiffe://d.org/*", true),
            ("spiffe://*/ns/shop/sa/web-1", true),
            ("spiffe://d.org/ns/shop", false),
            ("spiffe://d.org/ns/*/web-1", false),
            ("spiffe://d.org/ns/sho/*", false),
            ("spiffe://d.org/ns/shop/sa/web", false),
            ("spiffe://d.org/ns/shop/sa/web-1/*", false),
            ("spiffe://d.or/*", false),
        ];
        for (pattern, expected) in cases {
            assert_eq!(matches_id(pattern, id), expected, "{pattern}");
        }
    }

    #[test]
    fn a_star_in_a_dns_name_stands_for_its_first_label() {
        let cases = [
            ("api.example.com", "API.example.com", true),
            ("*.example.com", "api.example.com", true),
            ("*.example.com", "a.api.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", "*.example.com", false),
            ("api.*.com", "api.example.com", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches_dns(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_run_may_be_empty_and_what_stands_between_comes_in_order() {
        let cases = [
            ("a*", "a", true),
            ("*a", "a", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*", "", true),
            ("", "a", false),
            ("*b*b", "ab", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches_run(pattern, text), expected, "{pattern} {text}");
        }
    }
}
