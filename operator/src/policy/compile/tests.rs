use std::collections::BTreeMap;

use countersign_contract::access::{Caller, judge};
use serde_json::{Value, json};

use super::*;
use crate::policy::support::{policy, settings};

fn of(specs: &[(&str, Value)]) -> NamespaceDocument {
    let policies: Vec<_> = specs.iter().map(|(name, spec)| policy(name, spec.clone())).collect();
    compile(&policies, &settings())
}

fn allows(document: &NamespaceDocument, port: u16, id: &str) -> bool {
    let caller = Caller { spiffe_id: Some(id), ..Caller::default() };
    judge(document, &BTreeMap::new(), port, Some(&caller)).allowed
}

const OWN: &str = "spiffe://prod.example/ns/shop/sa/web";
const FEDERATED: &str = "spiffe://partner.example/ns/shop/sa/web";

#[test]
fn a_rule_means_our_own_trust_domain_unless_it_names_another() {
    let cases = [
        (json!([]), false, false),
        (json!([{}]), true, false),
        (json!([{ "namespaces": ["shop"] }]), true, false),
        (json!([{ "serviceAccounts": ["web"] }]), true, false),
        (json!([{ "namespaces": ["shop"], "serviceAccounts": ["api"] }]), false, false),
        (json!([{ "trustDomains": ["partner.example"] }]), false, true),
        (json!([{ "trustDomains": ["partner.example"], "namespaces": ["shop"] }]), false, true),
        (json!([{ "identities": ["spiffe://partner.example/*"] }]), false, true),
        (json!([{ "identities": [FEDERATED], "namespaces": ["shop"] }]), false, true),
        (json!([{ "dnsNames": ["web.example"] }]), false, false),
        (json!([{ "namespaces": ["bank"] }, { "namespaces": ["shop"] }]), true, false),
    ];
    for (allow, own, federated) in cases {
        for spec in [
            json!({ "allow": allow }),
            json!({ "allow": [{}], "ports": [{ "port": 80, "allow": allow }] }),
        ] {
            let document = of(&[("web", spec.clone())]);
            let found = (allows(&document, 80, OWN), allows(&document, 80, FEDERATED));
            assert_eq!(found, (own, federated), "{spec}");
        }
    }
}

#[test]
fn a_partners_certificate_needs_no_identity() {
    let document = of(&[("web", json!({ "allow": [{ "dnsNames": ["*.partner.example"] }] }))]);
    let names = ["api.partner.example".to_owned()];
    let partner = Caller { dns_names: &names, ..Caller::default() };
    assert!(judge(&document, &BTreeMap::new(), 80, Some(&partner)).allowed);
}

#[test]
fn who_may_reach_a_pod_without_a_policy_is_a_matter_of_the_default() {
    for (allow, own) in [(DefaultAccess::Mesh, true), (DefaultAccess::None, false)] {
        let access = Defaults { allow, unmeshed: Unmeshed::Deny };
        let document = compile(&[], &Settings { access, ..settings() });
        assert_eq!(allows(&document, 80, OWN), own);
        assert!(!allows(&document, 80, FEDERATED));
        assert_eq!(document.default_unmeshed, Unmeshed::Deny);
    }
    assert!(!allows(&closed(), 80, OWN));
}

#[test]
fn whatever_a_policy_says_stands_in_the_document() {
    let document = of(&[(
        "web",
        json!({
            "podSelector": {
                "matchLabels": { "app": "web" },
                "matchExpressions": [{ "key": "tier", "operator": "NotIn", "values": ["test"] }],
            },
            "enforcement": "Audit",
            "ports": [
                { "port": 8443, "mode": "server", "alpn": ["h2"], "minTLSVersion": "1.2" },
                { "port": 80, "mode": "permissive", "clientIdentity": "ProxyProtocolV2" },
                { "port": 81, "clientIdentity": "ForwardedClientCert", "allow": [] },
            ],
            "egress": { "unmeshed": "Deny" },
        }),
    )]);
    let expected = json!([{
        "name": "web",
        "podSelector": {
            "matchLabels": { "app": "web" },
            "matchExpressions": [{ "key": "tier", "operator": "NotIn", "values": ["test"] }],
        },
        "enforcement": "Audit",
        "allow": [],
        "ports": {
            "80": { "mode": "permissive", "proxyProtocol": "v2" },
            "81": { "allow": [], "forwardedClientCert": true },
            "8443": { "mode": "server", "alpn": ["h2"], "minVersion": "1.2" },
        },
        "unmeshed": "Deny",
    }]);
    assert_eq!(serde_json::to_value(&document).unwrap()["policies"], expected);
}

#[test]
fn a_revision_is_that_of_what_is_said_and_not_of_its_order() {
    let (web, api) = (("web", json!({ "allow": [{}] })), ("api", json!({})));
    let one = of(&[web.clone(), api.clone()]);
    assert_eq!(one, of(&[api.clone(), web.clone()]));
    assert_eq!(one.revision.len(), REVISION);
    let others = [
        of(std::slice::from_ref(&web)),
        of(&[api.clone(), ("web", json!({}))]),
        of(&[api, ("www", json!({ "allow": [{}] }))]),
    ];
    for other in others {
        assert_ne!(one.revision, other.revision);
    }
    let read: NamespaceDocument = serde_json::from_str(&text(&one)).unwrap();
    assert_eq!(read, one);
}
