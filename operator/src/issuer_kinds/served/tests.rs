use serde_json::{Value, json};

use super::*;

fn resource(plural: &str, kind: &str, scope: &str) -> Value {
    json!({ "resource": plural, "scope": scope, "verbs": ["get", "list"],
        "responseKind": { "group": "", "version": "v1", "kind": kind } })
}

fn group(name: &str, versions: &[Vec<Value>]) -> Value {
    let version = |resources| json!({ "version": "v1", "resources": resources });
    let versions: Vec<_> = versions.iter().map(version).collect();
    json!({ "metadata": { "name": name }, "versions": versions })
}

fn published(groups: &[Value]) -> Vec<(String, String)> {
    let list = serde_json::from_value(json!({ "items": groups })).unwrap();
    served(&list).data.into_iter().collect()
}

#[test]
fn kind_is_published_with_its_plural_and_scope() {
    let step = resource("stepissuers", "StepIssuer", "Namespaced");
    let odd = resource("oddities", "Oddity", "Cluster");
    let mixed = resource("awspcaissuers", "AWSPCAIssuer", "Namespaced");
    let mut foreign = resource("stepissuers", "Scale", "Namespaced");
    foreign["responseKind"]["group"] = "autoscaling".into();
    let mut status = odd.clone();
    status["subresources"] =
        json!([{ "subresource": "status", "responseKind": { "kind": "Status" } }]);
    let mut unreadable = odd.clone();
    unreadable["verbs"] = json!(["create"]);
    let no_kind = json!({ "resource": "things", "scope": "Cluster", "verbs": ["get"] });
    let cases: &[(&str, &str, Vec<Vec<Value>>, &[(&str, &str)])] = &[
        (
            "namespaced",
            "a.org",
            vec![vec![step.clone()]],
            &[("StepIssuer.a.org", "stepissuers/Namespaced")],
        ),
        ("odd plural", "a.org", vec![vec![odd.clone()]], &[("Oddity.a.org", "oddities/Cluster")]),
        (
            "capitals",
            "a.org",
            vec![vec![mixed]],
            &[("AWSPCAIssuer.a.org", "awspcaissuers/Namespaced")],
        ),
        (
            "in two versions",
            "a.org",
            vec![vec![odd.clone()], vec![odd.clone()]],
            &[("Oddity.a.org", "oddities/Cluster")],
        ),
        (
            "two plurals",
            "a.org",
            vec![vec![odd.clone(), resource("odds", "Oddity", "Cluster"), step.clone()]],
            &[("StepIssuer.a.org", "stepissuers/Namespaced")],
        ),
        (
            "two scopes",
            "a.org",
            vec![vec![odd.clone()], vec![resource("oddities", "Oddity", "Namespaced")]],
            &[],
        ),
        (
            "subresource beside it",
            "a.org",
            vec![vec![status]],
            &[("Oddity.a.org", "oddities/Cluster")],
        ),
        (
            "subresource as resource",
            "a.org",
            vec![vec![resource("oddities/status", "Oddity", "Cluster")]],
            &[],
        ),
        ("kind of another group", "a.org", vec![vec![foreign]], &[]),
        ("never read", "a.org", vec![vec![unreadable]], &[]),
        ("no kind", "a.org", vec![vec![no_kind]], &[]),
        ("no known scope", "a.org", vec![vec![resource("things", "Thing", "Global")]], &[]),
        ("Kubernetes' own", "certificates.k8s.io", vec![vec![odd.clone()]], &[]),
        ("Kubernetes' own, old", "apps", vec![vec![odd.clone()]], &[]),
        (
            "of a project of Kubernetes",
            "ca.x-k8s.io",
            vec![vec![odd]],
            &[("Oddity.ca.x-k8s.io", "oddities/Cluster")],
        ),
    ];
    for (what, name, versions, expected) in cases {
        let found = published(&[group(name, versions)]);
        let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(found, *expected, "{what}");
    }
}

#[test]
fn kinds_of_one_name_in_two_groups_are_told_apart() {
    let one = group("a.org", &[vec![resource("issuers", "Issuer", "Namespaced")]]);
    let other = group("b.org", &[vec![resource("issuerz", "Issuer", "Cluster")]]);
    let expected = [("Issuer.a.org", "issuers/Namespaced"), ("Issuer.b.org", "issuerz/Cluster")];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(published(&[one, other]), expected);
}

#[test]
fn issuers_come_first_where_not_all_fit() {
    let entry = |key: &str| (key.to_owned(), "x/Cluster".to_owned());
    let all = vec![entry("Bucket.a.org"), entry("Zone.a.org"), entry("ZeroIssuer.a.org")];
    let kinds = bounded(all.clone(), 2 * "Bucket.a.org".len() + 2 * "x/Cluster".len() + 4);
    let keys: Vec<_> = kinds.data.keys().map(String::as_str).collect();
    assert_eq!((keys, kinds.omitted), (vec!["Bucket.a.org", "ZeroIssuer.a.org"], 1));
    assert_eq!(bounded(all, MAX_BYTES).omitted, 0);
    let long = entry(&format!("Issuer.{}.org", "a".repeat(MAX_KEY)));
    assert_eq!(bounded(vec![long], MAX_BYTES).omitted, 1, "no key of a ConfigMap");
}
