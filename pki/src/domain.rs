//! Domains and what lies within them, as name constraints compare them. Case makes no difference.

/// Labels of letters, digits, hyphens and underscores, with dots between them.
pub(crate) fn is_domain(text: &str) -> bool {
    let character = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(character);
    text.len() <= 253 && text.split('.').all(label)
}

/// Why a DNS name of a certificate is that of no host, whatever verifies it.
pub(crate) fn matches_nothing(name: &str) -> Option<&'static str> {
    if name.len() > 1 && name.ends_with('.') {
        return Some("it ends with a dot, which verifiers do not take away");
    }
    let mut labels = name.split('.');
    if labels.any(|label| !(1..=63).contains(&label.len())) {
        return Some("a label between its dots is empty or longer than 63 bytes");
    }
    (name.len() > 253).then_some("it is longer than 253 bytes")
}

/// What may stand in front of the `@` without quotes (RFC 5321, 4.1.2).
pub(crate) fn is_local_part(text: &str) -> bool {
    let character =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    !text.is_empty() && text.bytes().all(character)
}

/// True if `name` is below `domain`.
pub(crate) fn is_below(name: &str, domain: &str) -> bool {
    let Some(cut) = name.len().checked_sub(domain.len()) else { return false };
    let (Some(front), Some(end)) = (name.get(..cut), name.get(cut..)) else { return false };
    front.len() > 1 && front.ends_with('.') && end.eq_ignore_ascii_case(domain)
}

/// True if `name` is within `subtree`: the domain or below it, or below only if the subtree begins
/// with a dot. An empty subtree holds all.
pub(crate) fn is_within(name: &str, subtree: &str) -> bool {
    match subtree.strip_prefix('.') {
        _ if subtree.is_empty() => true,
        Some(domain) => is_below(name, domain),
        None => name.eq_ignore_ascii_case(subtree) || is_below(name, subtree),
    }
}

/// The same for the hosts of URIs and of e-mail addresses: a subtree without a dot in front is that
/// host alone (RFC 5280, 4.2.1.10).
pub(crate) fn is_host_within(name: &str, subtree: &str) -> bool {
    match subtree.strip_prefix('.') {
        Some(domain) => is_below(name, domain),
        None => name.eq_ignore_ascii_case(subtree),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_holds_itself_and_what_is_below() {
        let cases = [
            ("example.com", "example.com", true, true),
            ("EXAMPLE.com", "example.COM", true, true),
            ("a.example.com", "example.com", true, false),
            ("badexample.com", "example.com", false, false),
            ("example.com", "a.example.com", false, false),
            ("example.com", ".example.com", false, false),
            ("a.b.example.com", ".example.com", true, true),
            (".example.com", "example.com", false, false),
            ("example.com", "", true, false),
        ];
        for (name, subtree, within, host) in cases {
            assert_eq!(is_within(name, subtree), within, "{name} {subtree}");
            assert_eq!(is_host_within(name, subtree), host, "{name} {subtree}");
        }
    }

    #[test]
    fn names_of_no_host_are_told_from_names_of_hosts() {
        for name in ["a", "*.a.b", "_x.a", "10.0.0.1", "a.".repeat(126).trim_end_matches('.')] {
            assert_eq!(matches_nothing(name), None, "{name}");
        }
        let long_label = format!("{}.b", "a".repeat(64));
        for name in ["a.", "*.a.", "a..b", ".a", ".", &long_label, &"a.b".repeat(90)] {
            assert!(matches_nothing(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_is_no_domain_is_told_apart() {
        for text in ["a", "a.b-c.d_e", "192.0.2.1"] {
            assert!(is_domain(text), "{text}");
        }
        for text in ["", ".", "a.", ".a", "a..b", "*.a", "a b", "ö", "a@b", &"a".repeat(64)] {
            assert!(!is_domain(text), "{text}");
        }
    }
}
