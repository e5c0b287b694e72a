//! Who may pass: reads the policy document, and decides; pure once it is read.

use std::path::{Path, PathBuf};

use countersign_contract::policy::{PolicyDocument, PortPolicy};

use crate::file;
use crate::tls::Peer;

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("--policy {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not a policy document.
    #[error("--policy {path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// A pattern can match nobody.
    #[error("--policy {path}: {pattern:?} in allow is neither spiffe://... nor dns:NAME")]
    Pattern {
        /// The file.
        path: PathBuf,
        /// The pattern.
        pattern: String,
    },
}

/// Reads a policy document.
///
/// # Errors
/// Names the file, and what is wrong in it.
pub fn read(path: &Path) -> Result<PolicyDocument, Error> {
    let io = |source| Error::Read { path: path.to_owned(), source };
    let text = file::read(path).map_err(io)?;
    let document: PolicyDocument = serde_json::from_slice(&text)
        .map_err(|source| Error::Parse { path: path.to_owned(), source })?;
    match unmatchable(&document) {
        Some(pattern) => Err(Error::Pattern { path: path.to_owned(), pattern }),
        None => Ok(document),
    }
}

fn unmatchable(document: &PolicyDocument) -> Option<String> {
    let policies = document.ports.values().chain([&document.default]);
    let mut patterns = policies.filter_map(|policy| policy.allow.as_ref()).flatten();
    let is_known = |pattern: &str| pattern.starts_with("spiffe://") || pattern.starts_with("dns:");
    patterns.find(|pattern| !is_known(pattern)).cloned()
}

/// Whether a peer may pass. An absent list admits everybody whose chain verified.
#[must_use]
pub fn is_allowed(policy: &PortPolicy, peer: Option<&Peer>) -> bool {
    match (&policy.allow, peer) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(patterns), Some(peer)) => patterns.iter().any(|pattern| matches(pattern, peer)),
    }
}

fn matches(pattern: &str, peer: &Peer) -> bool {
    if let Some(name) = pattern.strip_prefix("dns:") {
        return peer.dns_names.iter().any(|dns| dns.eq_ignore_ascii_case(name));
    }
    let Some(id) = peer.spiffe_id() else { return false };
    match pattern.strip_suffix("/*") {
        Some(prefix) => id.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')),
        None => id == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uris: &[&str], dns_names: &[&str]) -> Peer {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Peer { uris: owned(uris), dns_names: owned(dns_names), subject: String::new() }
    }

    fn allow(patterns: &[&str]) -> PortPolicy {
        let allow = Some(patterns.iter().map(|pattern| (*pattern).to_owned()).collect());
        PortPolicy { allow, ..PortPolicy::default() }
    }

    #[test]
    fn a_peer_passes_only_if_a_pattern_names_it() {
        let web = peer(&["spiffe://d/ns/shop/sa/web"], &["web.shop.svc"]);
        let two = peer(&["spiffe://d/ns/shop/sa/web", "spiffe://d/ns/shop/sa/db"], &[]);
        let cases = [
            (allow(&["spiffe://d/ns/shop/sa/web"]), &web, true),
            (allow(&["spiffe://d/ns/shop/sa/*"]), &web, true),
            (allow(&["spiffe://d/*"]), &web, true),
            (allow(&["spiffe://d/ns/shop/sa/we"]), &web, false),
            (allow(&["spiffe://d/ns/sho/*"]), &web, false),
            (allow(&["dns:WEB.shop.svc"]), &web, true),
            (allow(&["dns:other"]), &web, false),
            (allow(&[]), &web, false),
            (PortPolicy::default(), &web, true),
            // Two identities are none (X.509-SVID, section 2).
            (allow(&["spiffe://d/ns/shop/sa/web"]), &two, false),
        ];
        for (policy, peer, allowed) in cases {
            assert_eq!(is_allowed(&policy, Some(peer)), allowed, "{policy:?}");
        }
        assert!(!is_allowed(&allow(&["spiffe://d/*"]), None));
    }
}
