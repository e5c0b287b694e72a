//! What `press` signs for namespace `shop`, by what its policy says.

use serde_json::{Value, json};

use super::*;
use crate::pki::{OtherName, Subject, Usage};

/// The kind of name that Windows accounts have.
const UPN: &str = "1.3.6.1.4.1.311.20.2.3";

/// What is asked for, all but the policy.
#[derive(Clone)]
struct Asked {
    request: Request,
    subject: Option<NameParts>,
    lifetime: Duration,
    key: Option<KeyAlgorithm>,
    labels: BTreeMap<String, String>,
}

/// `www.shop.test` for an hour, with an ECDSA key.
fn asked(change: impl FnOnce(&mut Asked)) -> Asked {
    let dns_names = vec!["www.shop.test".to_owned()];
    let mut asked = Asked {
        request: Request { dns_names, ..Request::default() },
        subject: None,
        lifetime: Duration::from_secs(3600),
        key: Some(KeyAlgorithm::EcdsaP256),
        labels: BTreeMap::new(),
    };
    change(&mut asked);
    asked
}

fn verdict(policy: Value, asked: &Asked) -> Result<(), String> {
    let policy: SigningPolicy = serde_json::from_value(policy).unwrap();
    let said = NameParts {
        common_names: asked.request.common_name.iter().cloned().collect(),
        subject: asked.request.subject.clone(),
        ..NameParts::default()
    };
    let issuer = IssuerId {
        kind: "ClusterIssuer".to_owned(),
        group: "countersign.dev".to_owned(),
        name: "press".to_owned(),
    };
    let facts = Facts {
        issuer: &issuer,
        namespace: "shop",
        labels: &asked.labels,
        request: &asked.request,
        subject: asked.subject.as_ref().unwrap_or(&said),
        lifetime: asked.lifetime,
        key: asked.key,
        cluster_domain: "cluster.local",
        trust_domain: &"cluster.local".parse().unwrap(),
    };
    check(&policy, &facts).map_err(|denied| denied.to_string())
}

/// One rule `web`, which allows `*.shop.test` and what is said beside.
fn rule(beside: Value) -> Value {
    let mut rule = json!({ "name": "web", "dnsNames": ["*.shop.test"] });
    rule.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
    json!({ "allow": [rule] })
}

/// A request, the rule that allows it, one that does not, and what is then said.
type Case = (Asked, Value, Value, &'static str);

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

/// Each is denied without a word about it, too.
fn cases() -> Vec<Case> {
    vec![
        (
            asked(|_| {}),
            json!({}),
            json!({ "dnsNames": ["www.bank.test", "*.$(namespace).svc"] }),
            "dnsNames \"www.shop.test\" for namespace shop: rule web allows www.bank.test, \
             *.shop.svc",
        ),
        (
            asked(|asked| asked.request.uris = strings(&["urn:web"])),
            json!({ "uris": ["urn:*"] }),
            json!({ "uris": ["urn:bank"] }),
            "uris \"urn:web\" for namespace shop: rule web allows urn:bank",
        ),
        (
            asked(|asked| asked.request.ip_addresses = vec!["10.0.0.1".parse().unwrap()]),
            json!({ "ipAddresses": ["10.0.0.0/8"] }),
            json!({ "ipAddresses": ["192.0.2.0/24", "192.0.3.1"] }),
            "ipAddresses \"10.0.0.1\" for namespace shop: rule web allows 192.0.2.0/24, 192.0.3.1",
        ),
        (
            asked(|asked| {
                let utf8_value = "a@shop.test".to_owned();
                asked.request.other_names = vec![OtherName { oid: UPN.to_owned(), utf8_value }];
            }),
            json!({ "otherNames": [{ "oid": UPN, "values": ["*@$(namespace).test"] }] }),
            json!({ "otherNames": [{ "oid": "1.3.6.1.5.5.7.8.9", "values": ["*"] }] }),
            "otherNames \"1.3.6.1.4.1.311.20.2.3:a@shop.test\" for namespace shop: rule web allows \
             1.3.6.1.5.5.7.8.9:*",
        ),
        (
            asked(|asked| asked.request.email_addresses = strings(&["a@shop.test"])),
            json!({ "emailAddresses": ["*@shop.test"] }),
            json!({ "emailAddresses": ["b@shop.test"] }),
            "emailAddresses \"a@shop.test\" for namespace shop: rule web allows b@shop.test",
        ),
    ]
}

/// The subject, and what it may be used for.
fn cases_beside_names() -> Vec<Case> {
    let part = |change: fn(&mut Subject)| asked(|asked| change(&mut asked.request.subject));
    vec![
        (
            asked(|asked| asked.request.common_name = Some("shop".to_owned())),
            json!({ "commonNames": ["$(namespace)"] }),
            json!({ "commonNames": ["bank"] }),
            "commonName \"shop\" for namespace shop: rule web allows bank",
        ),
        (
            part(|subject| subject.organizations = strings(&["Shop", "system:masters"])),
            json!({ "subject": { "organizations": ["Shop", "system:*"] } }),
            json!({ "subject": { "organizations": ["Shop"] } }),
            "subject.organizations \"system:masters\" for namespace shop: rule web allows Shop",
        ),
        (
            part(|subject| subject.serial_number = Some("42".to_owned())),
            json!({ "subject": { "serialNumbers": ["4*"] } }),
            json!({ "subject": { "serialNumbers": ["5*"] } }),
            "subject.serialNumber \"42\" for namespace shop: rule web allows 5*",
        ),
        (
            asked(|asked| asked.request.usages = vec![Usage::Signing, Usage::CodeSigning]),
            json!({ "usages": ["digital signature", "code signing"] }),
            json!({ "usages": ["signing", "server auth"] }),
            "usages \"code signing\" for namespace shop: rule web allows digital signature, \
             server auth",
        ),
        (
            asked(|asked| asked.request.is_ca = true),
            json!({ "isCA": true }),
            json!({ "isCA": false, "usages": ["digital signature", "key encipherment", "cert sign"] }),
            "isCA \"true\" for namespace shop: rule web allows no authority",
        ),
    ]
}

#[test]
fn what_a_rule_allows_is_signed_and_what_it_does_not_name_is_not() {
    for (asked, allows, other, told) in cases().into_iter().chain(cases_beside_names()) {
        assert_eq!(verdict(rule(allows.clone()), &asked), Ok(()), "{allows}");
        let denied = verdict(rule(other.clone()), &asked).unwrap_err();
        assert_eq!(denied, format!("ClusterIssuer press does not sign {told}"), "{other}");
        // Without a word about it, it is not allowed either.
        if allows != json!({}) {
            assert!(verdict(rule(json!({})), &asked).is_err(), "{allows}");
        }
    }
}

#[test]
fn a_part_of_the_subject_has_patterns_of_its_own() {
    type Part = (&'static str, fn(&mut Subject) -> &mut Vec<String>);
    let parts: [Part; 7] = [
        ("organizations", |subject| &mut subject.organizations),
        ("countries", |subject| &mut subject.countries),
        ("organizationalUnits", |subject| &mut subject.organizational_units),
        ("localities", |subject| &mut subject.localities),
        ("provinces", |subject| &mut subject.provinces),
        ("streetAddresses", |subject| &mut subject.street_addresses),
        ("postalCodes", |subject| &mut subject.postal_codes),
    ];
    for (field, part) in parts {
        let request = asked(|asked| part(&mut asked.request.subject).push("X".to_owned()));
        let allows = |field: &str| rule(json!({ "subject": { field: ["X"] } }));
        assert_eq!(verdict(allows(field), &request), Ok(()), "{field}");
        for (other, _) in parts.iter().filter(|(other, _)| *other != field) {
            let denied = verdict(allows(other), &request).unwrap_err();
            assert!(denied.contains(&format!("subject.{field} \"X\"")), "{denied}");
        }
    }
}

#[test]
fn a_subject_is_judged_as_it_will_be_signed() {
    let everything = json!({ "commonNames": ["*"], "subject": { "organizations": ["Shop"] } });
    let subject = |organization: &str, others: &[&str]| NameParts {
        common_names: strings(&["a", "b"]),
        subject: Subject { organizations: strings(&[organization]), ..Subject::default() },
        others: strings(others),
        ..NameParts::default()
    };
    let cases = [
        (subject("Shop", &[]), None),
        (subject("Bank", &[]), Some("subject.organizations \"Bank\"")),
        (subject("Shop", &["0.9.2342.19200300.100.1.1"]), Some("subject \"0.9.2342")),
    ];
    for (subject, told) in cases {
        let verdict = verdict(rule(everything.clone()), &asked(|a| a.subject = Some(subject)));
        match told {
            None => assert_eq!(verdict, Ok(())),
            Some(told) => assert!(verdict.as_ref().unwrap_err().contains(told), "{verdict:?}"),
        }
    }
}

#[test]
fn a_lifetime_is_judged_as_it_is_asked_for() {
    let cases = [
        (3600, None, true),
        (3600, Some("1h"), true),
        (3601, Some("1h"), false),
        (90 * 86_400, Some("2160h"), true),
        (u64::MAX, None, true),
    ];
    for (seconds, longest, allowed) in cases {
        let rule = rule(json!({ "maxDuration": longest }));
        let asked = asked(|asked| asked.lifetime = Duration::from_secs(seconds));
        assert_eq!(verdict(rule, &asked).is_ok(), allowed, "{seconds} of {longest:?}");
    }
    let long = asked(|asked| asked.lifetime = Duration::from_secs(90 * 86_400));
    assert_eq!(
        verdict(rule(json!({ "maxDuration": "36h30m10s" })), &long).unwrap_err(),
        "ClusterIssuer press does not sign duration \"2160h\" for namespace shop: rule web allows \
         36h30m10s at most"
    );
}

#[test]
fn a_key_is_of_one_of_the_kinds() {
    let rsa = |bits| Some(KeyAlgorithm::Rsa { bits });
    let from_3072 = json!({ "algorithm": "RSA", "minSize": 3072 });
    let curves = json!({ "algorithm": "ECDSA", "minSize": 256, "maxSize": 384 });
    let both = json!([from_3072, curves]);
    let cases = [
        (json!([]), rsa(2048), true),
        (json!([]), None, true),
        (json!([{ "algorithm": "RSA" }]), rsa(2048), true),
        (json!([{ "algorithm": "RSA" }]), Some(KeyAlgorithm::EcdsaP256), false),
        (json!([{ "algorithm": "Ed25519" }]), Some(KeyAlgorithm::Ed25519), true),
        (json!([{ "algorithm": "ECDSA" }]), Some(KeyAlgorithm::Ed25519), false),
        (json!([{ "algorithm": "RSA", "maxSize": 4096 }]), rsa(8192), false),
        (both.clone(), rsa(3072), true),
        (both.clone(), rsa(2048), false),
        (both.clone(), Some(KeyAlgorithm::EcdsaP256), true),
        (both.clone(), Some(KeyAlgorithm::EcdsaP384), true),
        (both.clone(), Some(KeyAlgorithm::EcdsaP521), false),
        (both.clone(), None, false),
    ];
    for (keys, key, allowed) in cases {
        let verdict = verdict(rule(json!({ "keys": keys })), &asked(|asked| asked.key = key));
        assert_eq!(verdict.is_ok(), allowed, "{key:?} of {keys}: {verdict:?}");
    }
    let weak = asked(|asked| asked.key = rsa(2048));
    assert_eq!(
        verdict(rule(json!({ "keys": both })), &weak).unwrap_err(),
        "ClusterIssuer press does not sign privateKey \"RSA 2048\" for namespace shop: rule web \
         allows RSA of 3072 bits or more, ECDSA of 256 to 384 bits"
    );
}

#[test]
fn usages_are_those_of_tls_unless_a_rule_names_others() {
    let cases = [
        (json!({}), vec![], false, true),
        (json!({}), vec![Usage::ServerAuth, Usage::ClientAuth], false, true),
        (json!({}), vec![Usage::Any], false, false),
        (json!({}), vec![Usage::CertSign], false, false),
        (json!({ "usages": ["server auth"] }), vec![], false, false),
        (json!({ "usages": ["server auth"] }), vec![Usage::ServerAuth], false, true),
        (json!({ "usages": ["s/mime"] }), vec![Usage::EmailProtection], false, true),
        (json!({ "isCA": true }), vec![], false, true),
        (json!({ "isCA": true }), vec![Usage::CertSign], false, false),
        (json!({ "isCA": true }), vec![Usage::CertSign, Usage::CrlSign], true, true),
        (json!({ "isCA": true }), vec![Usage::CodeSigning], true, false),
    ];
    for (beside, usages, is_ca, allowed) in cases {
        let asked = asked(|asked| {
            asked.request.usages.clone_from(&usages);
            asked.request.is_ca = is_ca;
        });
        let verdict = verdict(rule(beside.clone()), &asked);
        assert_eq!(verdict.is_ok(), allowed, "{usages:?} by {beside}: {verdict:?}");
    }
}

#[test]
fn a_common_name_goes_with_the_dns_name_that_it_is() {
    let named = |name: &str| asked(|asked| asked.request.common_name = Some(name.to_owned()));
    assert_eq!(verdict(rule(json!({})), &named("www.shop.test")), Ok(()));
    assert!(verdict(rule(json!({})), &named("api.shop.test")).is_err());
}

#[test]
fn one_rule_must_allow_the_whole_request_and_the_nearest_is_told() {
    let rules = json!({ "allow": [
        { "name": "none" },
        { "name": "names", "dnsNames": ["*.shop.test"] },
        { "name": "uris", "uris": ["**"] },
    ] });
    let name = asked(|_| {});
    assert_eq!(verdict(rules.clone(), &name), Ok(()));
    let both = asked(|asked| asked.request.uris = strings(&["urn:web"]));
    assert_eq!(
        verdict(rules.clone(), &both).unwrap_err(),
        "ClusterIssuer press does not sign uris \"urn:web\" for namespace shop: of 3 rules, names \
         is the nearest, and allows none"
    );
    let third = asked(|asked| asked.request.dns_names = strings(&["a.test", "b.test"]));
    assert_eq!(
        verdict(rules, &third).unwrap_err(),
        "ClusterIssuer press does not sign dnsNames \"a.test\" for namespace shop: of 3 rules, \
         none is the nearest, and allows none (1 more of what is asked for is outside it)"
    );
}

#[test]
fn without_rules_every_leaf_is_signed_and_with_an_empty_list_nothing() {
    let leaf = asked(|asked| asked.request.uris = strings(&["urn:web"]));
    let authority = asked(|asked| asked.request.is_ca = true);
    assert_eq!(verdict(json!({}), &leaf), Ok(()));
    let denied = verdict(json!({}), &authority).unwrap_err();
    assert!(denied.ends_with("its policy has no rule with isCA: true"), "{denied}");
    for asked in [&leaf, &authority] {
        assert!(verdict(json!({ "allow": [] }), asked).is_err());
    }
}

#[test]
fn a_request_of_more_than_anybody_needs_is_denied() {
    let many = asked(|asked| asked.request.dns_names = vec!["www.shop.test".to_owned(); 251]);
    let denied = verdict(rule(json!({})), &many).unwrap_err();
    assert!(denied.contains("dnsNames \"251 values\""), "{denied}");
    assert!(denied.ends_with("rule web allows 250 at most"), "{denied}");
    let long = asked(|asked| asked.request.uris = vec!["x".repeat(100_000)]);
    let denied = verdict(rule(json!({ "uris": ["**"] })), &long).unwrap_err();
    assert!(denied.len() < 400, "{}", denied.len());
}

#[test]
fn a_selector_says_which_namespaces_may_ask() {
    let expression = |operator: &str, values: &[&str]| json!({ "matchExpressions": [{ "key": "team", "operator": operator, "values": values }] });
    let cases = [
        (json!({}), None, true),
        (json!({ "matchNames": ["bank", "shop"] }), None, true),
        (json!({ "matchNames": ["bank"] }), None, false),
        (json!({ "matchLabels": { "team": "red" } }), Some("red"), true),
        (json!({ "matchLabels": { "team": "red" } }), Some("blue"), false),
        (json!({ "matchLabels": { "team": "red" } }), None, false),
        (expression("In", &["red", "blue"]), Some("blue"), true),
        (expression("In", &["red"]), None, false),
        (expression("NotIn", &["red"]), Some("blue"), true),
        (expression("NotIn", &["red"]), Some("red"), false),
        (expression("NotIn", &["red"]), None, true),
        (expression("Exists", &[]), Some("red"), true),
        (expression("Exists", &[]), None, false),
        (expression("DoesNotExist", &[]), None, true),
        (expression("DoesNotExist", &[]), Some("red"), false),
        (json!({ "matchNames": ["shop"], "matchLabels": { "team": "red" } }), None, false),
        (json!({ "matchNames": ["bank"], "matchLabels": { "team": "red" } }), Some("red"), false),
        (json!({ "matchNames": ["shop"], "matchLabels": { "team": "red" } }), Some("red"), true),
    ];
    for (selector, team, allowed) in cases {
        let asked = asked(|asked| {
            asked.labels.extend(team.map(|team| ("team".to_owned(), team.to_owned())));
        });
        let policy = json!({ "namespaces": selector });
        assert_eq!(verdict(policy, &asked).is_ok(), allowed, "{team:?} by {selector}");
    }
}

#[test]
fn a_namespace_that_may_not_ask_is_told_which_may() {
    let names = json!({ "matchNames": ["bank"] });
    let labels = json!({ "matchLabels": { "team": "red" } });
    let both = json!({ "matchNames": ["bank"], "matchLabels": { "team": "red" } });
    let cases = [
        (names, "namespaces bank"),
        (labels, "namespaces with labels team=red"),
        (both, "namespaces bank with labels team=red"),
    ];
    for (selector, told) in cases {
        let denied = verdict(json!({ "namespaces": selector }), &asked(|_| {})).unwrap_err();
        let wanted = "ClusterIssuer press does not sign anything for namespace shop: its policy is";
        assert_eq!(denied, format!("{wanted} for {told}"));
    }
}
