//! How much a pod's sidecar would keep of its namespace's policies.

use std::collections::{BTreeMap, BTreeSet};

use super::document::NamespaceDocument;
use super::effect::Selecting;
use super::rule::Rule;

/// The most strings that the rules of a pod's ports may have together. Each port keeps its own rules, so that a
/// few policies with many ports would take far more memory than their text.
pub const MAX_ENTRIES: usize = 64 * 1024;

/// How many strings a pod with these labels keeps of these policies.
#[must_use]
pub fn entries(document: &NamespaceDocument, labels: &BTreeMap<String, String>) -> usize {
    let selecting = Selecting::of(document, labels);
    let stated: BTreeSet<u16> =
        selecting.all().flat_map(|policy| policy.ports.keys().copied()).collect();
    let ports = stated.into_iter().map(Some).chain([None]);
    let mut sum = 0_usize;
    for port in ports {
        let audited = selecting.audited(port).unwrap_or_default();
        let rules = selecting.allowed(port).into_iter().chain(audited);
        // A policy's name is kept, too.
        sum += selecting.all().count() + rules.map(|(_, rule)| of_rule(rule)).sum::<usize>();
        if sum > MAX_ENTRIES {
            break;
        }
    }
    sum
}

fn of_rule(rule: &Rule) -> usize {
    let Rule { identities, trust_domains, namespaces, service_accounts, dns_names, common_names } =
        rule;
    let lists = [identities, trust_domains, namespaces, service_accounts, dns_names, common_names];
    1 + lists.iter().map(|list| list.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// So many policies, each of which states so many ports of its own.
    fn policies(count: usize, ports: usize) -> NamespaceDocument {
        let policy = |place: usize| {
            let ports = (0..ports).map(|port| ((1 + place * ports + port).to_string(), json!({})));
            let ports: serde_json::Map<_, _> = ports.collect();
            let allow = json!([{ "namespaces": ["a"] }]);
            let name = format!("p{place}");
            json!({ "name": name, "podSelector": {}, "allow": allow, "ports": ports })
        };
        let policies: Vec<_> = (0..count).map(policy).collect();
        serde_json::from_value(json!({ "revision": "1", "defaultAllow": [], "policies": policies }))
            .unwrap()
    }

    #[test]
    fn entries_grow_with_ports_and_rules_and_are_bounded() {
        let labels = BTreeMap::new();
        // A name, and a rule with one namespace, of each port and of all others.
        assert_eq!(entries(&policies(1, 2), &labels), 9);
        assert_eq!(entries(&policies(2, 2), &labels), 30);
        assert!(entries(&policies(10, 64), &labels) < MAX_ENTRIES);
        assert!(entries(&policies(60, 64), &labels) > MAX_ENTRIES);
    }
}
