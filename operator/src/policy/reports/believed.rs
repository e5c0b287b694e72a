//! What is believed of a report: pods report refusals of their own by policies that they are under, and
//! nothing else; pure.

use std::collections::{BTreeMap, HashSet};

use countersign_contract::access::NamespaceDocument;
use countersign_contract::discovery::{Denial, Report};

/// So many refusals are taken from one report, and so many names of policies in all of them.
const MOST_DENIALS: usize = 256;
const MOST_NAMES: usize = 2048;

/// A refusal is counted so often at most: no port has more new connections between two reports.
const MOST_COUNTED: u64 = 1_000_000;

/// The part of a report that is believed: refusals by policies that exist and select a pod with these
/// labels, of peers whose names are names. Without labels, policies need only exist.
#[must_use]
pub fn believed(
    report: &Report,
    document: &NamespaceDocument,
    labels: Option<&BTreeMap<String, String>>,
) -> Report {
    let policies = document.policies.iter();
    let selecting =
        policies.filter(|policy| labels.is_none_or(|labels| policy.pod_selector.selects(labels)));
    let names: HashSet<&str> = selecting.map(|policy| policy.name.as_str()).collect();
    let mut left = MOST_NAMES;
    let denials = report.denials.iter().take(MOST_DENIALS).filter_map(|denial| {
        let named: Vec<_> = denial.policies.iter().take(left).collect();
        left -= named.len();
        let policies: Vec<_> =
            named.into_iter().filter(|name| names.contains(name.as_str())).cloned().collect();
        let is_told = is_name(&denial.peer) && !policies.is_empty();
        let (peer, count) = (denial.peer.clone(), denial.count.min(MOST_COUNTED));
        is_told.then_some(Denial { peer, policies, count, ..*denial })
    });
    Report { policy_revision: report.policy_revision.clone(), denials: denials.collect() }
}

/// Whether this can be how a sidecar names a peer: by its SPIFFE ID, a DNS name, its subject, or as one
/// without a certificate. A long name is cut, so that it need not be whole.
fn is_name(peer: &str) -> bool {
    let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(id) = peer.strip_prefix("spiffe://") {
        return !id.is_empty() && is_visible(id);
    }
    if let Some(name) = peer.strip_prefix("dns:") {
        let is_dns = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte);
        return !name.is_empty() && name.bytes().all(is_dns);
    }
    let is_subject = peer.contains('=') && !peer.chars().any(is_hidden);
    peer == "anonymous" || peer.is_empty() || is_subject
}

/// Whether a character changes how others are shown: control characters, and those that turn the
/// direction of text or take no space.
fn is_hidden(character: char) -> bool {
    let is_format = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    character.is_control() || is_format
}

#[cfg(test)]
mod tests {
    use countersign_contract::access::{PodPolicy, Selector};

    use super::*;

    fn document() -> NamespaceDocument {
        let policy = |name: &str, app: &str| {
            let match_labels = BTreeMap::from([("app".to_owned(), app.to_owned())]);
            let pod_selector = Selector { match_labels, ..Selector::default() };
            PodPolicy { name: name.to_owned(), pod_selector, ..PodPolicy::default() }
        };
        let policies = vec![policy("web", "web"), policy("ledger", "ledger")];
        NamespaceDocument { policies, ..NamespaceDocument::default() }
    }

    fn denial(peer: &str, policies: &[&str], count: u64) -> Denial {
        let policies = policies.iter().map(|name| (*name).to_owned()).collect();
        Denial { peer: peer.to_owned(), port: 80, policies, count, audited: false }
    }

    fn left(denials: Vec<Denial>, app: Option<&str>) -> Vec<Denial> {
        let labels = app.map(|app| BTreeMap::from([("app".to_owned(), app.to_owned())]));
        let report = Report { policy_revision: "1".to_owned(), denials };
        let believed = believed(&report, &document(), labels.as_ref());
        assert_eq!(believed.policy_revision, "1");
        believed.denials
    }

    #[test]
    fn a_pod_is_believed_about_policies_that_select_it_only() {
        let all = vec![denial("anonymous", &["web", "ledger", "none"], 1)];
        assert_eq!(left(all.clone(), Some("web"))[0].policies, ["web"]);
        assert_eq!(left(all.clone(), Some("ledger"))[0].policies, ["ledger"]);
        assert!(left(all.clone(), Some("other")).is_empty());
        assert_eq!(left(all, None)[0].policies, ["web", "ledger"]);
    }

    #[test]
    fn names_of_peers_are_names() {
        let cases = [
            ("spiffe://cluster.local/ns/shop/sa/web", true),
            ("spiffe://cluster.local/ns/sh\u{7}op", false),
            ("spiffe://cluster.local/\u{202e}", false),
            ("dns:web.shop.example", true),
            ("dns:web shop", false),
            ("CN=till-7, O=Bank", true),
            ("CN=Zürich", true),
            ("CN=\u{1b}[2J", false),
            ("CN=a\u{202e}b", false),
            ("anonymous", true),
            ("", true),
            ("call +1-900 for help", false),
        ];
        for (peer, is_believed) in cases {
            let denials = left(vec![denial(peer, &["web"], 1)], Some("web"));
            assert_eq!(!denials.is_empty(), is_believed, "{peer:?}");
        }
    }

    #[test]
    fn counts_and_numbers_of_refusals_are_bounded() {
        let many = (0..1000).map(|_| denial("anonymous", &["web"], 1 << 63)).collect();
        let denials = left(many, Some("web"));
        assert_eq!((denials.len(), denials[0].count), (MOST_DENIALS, MOST_COUNTED));
        let names = vec!["web"; 5000];
        let long = left(
            vec![denial("anonymous", &names, 1), denial("anonymous", &["web"], 1)],
            Some("web"),
        );
        assert_eq!((long.len(), long[0].policies.len()), (1, MOST_NAMES));
    }
}
