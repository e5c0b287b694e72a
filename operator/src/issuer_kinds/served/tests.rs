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

/// What a group serves in each version, and what is published of it.
type Case<'a> = (&'a str, &'a str, Vec<Vec<Value>>, &'a [(&'a str, &'a str)]);

fn step() -> Value {
    resource("stepissuers", "StepIssuer", "Namespaced")
}

fn odd() -> Value {
    resource("oddities", "Oddity", "Cluster")
}

/// The resource with a field changed.
fn with(mut resource: Value, field: &str, value: Value) -> Value {
    resource[field] = value;
    resource
}

fn assert_published(cases: &[Case<'_>]) {
    for (what, name, versions, expected) in cases {
        let found = published(&[group(name, versions)]);
        let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(found, *expected, "{what}");
    }
}

const ODDITY: &[(&str, &str)] = &[("Oddity.a.org", "oddities/Cluster")];
const STEP: &[(&str, &str)] = &[("StepIssuer.a.org", "stepissuers/Namespaced")];

#[test]
fn kind_is_published_with_its_plural_and_scope() {
    let mixed = resource("awspcaissuers", "AWSPCAIssuer", "Namespaced");
    let aws = &[("AWSPCAIssuer.a.org", "awspcaissuers/Namespaced")];
    let status = json!([{ "subresource": "status", "responseKind": { "kind": "Status" } }]);
    let status = with(odd(), "subresources", status);
    let other_plural = resource("odds", "Oddity", "Cluster");
    let other_scope = resource("oddities", "Oddity", "Namespaced");
    assert_published(&[
        ("namespaced", "a.org", vec![vec![step()]], STEP),
        ("odd plural", "a.org", vec![vec![odd()]], ODDITY),
        ("capitals", "a.org", vec![vec![mixed]], aws),
        ("in two versions", "a.org", vec![vec![odd()], vec![odd()]], ODDITY),
        ("two plurals", "a.org", vec![vec![odd(), other_plural, step()]], STEP),
        ("two scopes", "a.org", vec![vec![odd()], vec![other_scope]], &[]),
        ("subresource beside it", "a.org", vec![vec![status]], ODDITY),
    ]);
}

#[test]
fn what_is_no_kind_of_others_is_not_published() {
    let foreign = json!({ "group": "autoscaling", "version": "v1", "kind": "Scale" });
    let foreign = with(step(), "responseKind", foreign);
    let unreadable = with(odd(), "verbs", json!(["create"]));
    let no_kind = json!({ "resource": "things", "scope": "Cluster", "verbs": ["get"] });
    let subresource = resource("oddities/status", "Oddity", "Cluster");
    let of_project = &[("Oddity.ca.x-k8s.io", "oddities/Cluster")];
    assert_published(&[
        ("subresource as resource", "a.org", vec![vec![subresource]], &[]),
        ("kind of another group", "a.org", vec![vec![foreign]], &[]),
        ("never read", "a.org", vec![vec![unreadable]], &[]),
        ("no kind", "a.org", vec![vec![no_kind]], &[]),
        ("no known scope", "a.org", vec![vec![resource("things", "Thing", "Global")]], &[]),
        ("Kubernetes' own", "certificates.k8s.io", vec![vec![odd()]], &[]),
        ("Kubernetes' own, old", "apps", vec![vec![odd()]], &[]),
        ("of a project of Kubernetes", "ca.x-k8s.io", vec![vec![odd()]], of_project),
    ]);
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
