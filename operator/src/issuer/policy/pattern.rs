//! Patterns for names. Each kind has its own, since what parts a name differs.
//!
//! What is compared came from whoever asks: a value that is too long, or not what it is said to
//! be, is inside no pattern.

use std::net::IpAddr;

use ipnet::IpNet;

/// No name that is any good is longer (as in the schema of Certificate).
const LONGEST: usize = 2048;

/// What stands for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placeholders<'a> {
    pub(super) namespace: &'a str,
    pub(super) cluster_domain: &'a str,
    pub(super) trust_domain: &'a str,
}

impl Placeholders<'_> {
    /// A pattern with its placeholders filled in. What is filled in holds no `*`: a namespace and
    /// both domains are DNS names.
    pub(super) fn fill(&self, pattern: &str) -> String {
        pattern
            .replace("$(namespace)", self.namespace)
            .replace("$(clusterDomain)", self.cluster_domain)
            .replace("$(trustDomain)", self.trust_domain)
    }
}

/// `www.example.org` is that name, `*.example.org` every name below it at any depth, and `*` every
/// name. A wildcard is inside where every name that it covers is.
pub(super) fn dns_name(pattern: &str, name: &str) -> bool {
    let canonical = |text: &str| text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let (pattern, name) = (canonical(pattern), canonical(name));
    if !is_dns_name(&name) {
        return false;
    }
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(below) => below.starts_with('.') && name.ends_with(below),
        None => name == pattern,
    }
}

/// Labels of letters, digits, hyphens and underscores, the first of which may be `*`. Anything
/// else could end like an allowed name, and be read as another.
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=63).contains(&label.len()) && label.bytes().all(good)
    };
    let rest = name.strip_prefix("*.").unwrap_or(name);
    name.len() <= 253 && rest.split('.').all(is_label)
}

/// `*` stands for what is between the signs that part a URI, `**` for anything. Neither covers a
/// segment that leads elsewhere.
pub(super) fn uri(pattern: &str, value: &str) -> bool {
    let visible = value.bytes().all(|byte| byte.is_ascii_graphic());
    visible
        && (pattern == value || !leads_elsewhere(value))
        && glob(pattern, value, |character| !"/?#@:%[]\\*".contains(character))
}

/// Whether some reader of this URI would take away a segment, and end up at another.
fn leads_elsewhere(uri: &str) -> bool {
    let decoded = uri.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/");
    let decoded = decoded.replace("%5c", "\\");
    decoded.split(['/', '?', '#', '\\']).any(|segment| segment == "." || segment == "..")
}

/// `*` stands for anything but `@`. The case of the domain does not matter.
pub(super) fn email_address(pattern: &str, address: &str) -> bool {
    let lower = |text: &str| {
        let (user, domain) = text.rsplit_once('@')?;
        Some(format!("{user}@{}", domain.to_ascii_lowercase()))
    };
    let (Some(pattern), Some(address)) = (lower(pattern), lower(address)) else { return false };
    let visible = address.bytes().all(|byte| byte.is_ascii_graphic());
    visible && glob(&pattern, &address, |character| character != '@')
}

/// `*` stands for anything that can be seen.
pub(super) fn text(pattern: &str, value: &str) -> bool {
    glob(pattern, value, |character| !character.is_control())
}

/// One address, or a block.
pub(super) fn ip_address(pattern: &str, address: IpAddr) -> bool {
    let block = pattern.parse::<IpNet>().ok();
    let block = block.or_else(|| pattern.parse::<IpAddr>().ok().map(IpNet::from));
    block.is_some_and(|block| block.contains(&address))
}

/// Whether a pattern fits a whole text. `*` stands for one character or more of which `within` is
/// true, `**` for one or more of any.
///
/// Goes over the text once for each piece of the pattern: no pattern and no text makes it slow.
fn glob(pattern: &str, value: &str, within: impl Fn(char) -> bool) -> bool {
    if value.len() > LONGEST {
        return false;
    }
    // `reached[at]`: what was read of the pattern can end before byte `at` of the text.
    let mut reached = vec![false; value.len() + 1];
    reached[0] = true;
    for piece in pieces(pattern) {
        reached = match piece {
            "**" => run(value, &reached, |character| !character.is_control()),
            "*" => run(value, &reached, &within),
            literal => after(value, &reached, literal),
        };
    }
    reached[value.len()]
}

/// Stars, and the texts between them.
fn pieces(pattern: &str) -> impl Iterator<Item = &str> {
    let mut rest = pattern;
    std::iter::from_fn(move || {
        let end = if rest.starts_with("**") {
            2
        } else if rest.starts_with('*') {
            1
        } else {
            rest.find('*').unwrap_or(rest.len())
        };
        let (piece, left) = rest.split_at(end);
        rest = left;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Where one of these characters or more end, from any place that was reached.
fn run(value: &str, reached: &[bool], within: impl Fn(char) -> bool) -> Vec<bool> {
    let mut next = vec![false; reached.len()];
    let mut running = false;
    for (at, character) in value.char_indices() {
        running = (running || reached[at]) && within(character);
        next[at + character.len_utf8()] |= running;
    }
    next
}

/// Where a literal ends, from any place that was reached.
fn after(value: &str, reached: &[bool], literal: &str) -> Vec<bool> {
    let mut next = vec![false; reached.len()];
    let places = reached.iter().enumerate().filter(|(_, reached)| **reached);
    for (at, _) in places {
        if value.as_bytes()[at..].starts_with(literal.as_bytes()) {
            next[at + literal.len()] = true;
        }
    }
    next
}

#[cfg(test)]
mod tests;
