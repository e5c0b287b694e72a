use kube::runtime::reflector::store::{Writer, store};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::*;

/// What a watch would hold.
struct Seen {
    objects: Objects,
    certificates: Writer<Certificate>,
    issuers: Writer<Issuer>,
    cluster_issuers: Writer<ClusterIssuer>,
    access_policies: Writer<AccessPolicy>,
    namespaces: Writer<PartialObjectMeta<Namespace>>,
}

fn seen() -> Seen {
    let (certificates, to_certificates) = store();
    let (issuers, to_issuers) = store();
    let (cluster_issuers, to_cluster_issuers) = store();
    let (access_policies, to_access_policies) = store();
    let (namespaces, to_namespaces) = store();
    let default_issuer = "ClusterIssuer/house".parse().ok();
    Seen {
        objects: Objects {
            certificates,
            issuers,
            cluster_issuers,
            access_policies,
            namespaces,
            pods: Some(store().0),
            default_issuer,
        },
        certificates: to_certificates,
        issuers: to_issuers,
        cluster_issuers: to_cluster_issuers,
        access_policies: to_access_policies,
        namespaces: to_namespaces,
    }
}

impl Seen {
    fn text(&self) -> String {
        self.objects.pages().collect()
    }

    /// The lines about a name, without those that say 0.
    fn about(&self, name: &str) -> Vec<String> {
        let (text, name) = (self.text(), format!("{{name=\"{name}\","));
        let lines = text.lines().filter(|line| line.contains(&name) && !line.ends_with(" 0"));
        lines.map(str::to_owned).collect()
    }
}

fn certificate(name: &str, issuer: Value, status: Value) -> Certificate {
    let spec = json!({ "secretName": name, "issuerRef": issuer });
    let metadata = json!({ "name": name, "namespace": "shop" });
    let object = json!({ "metadata": metadata, "spec": spec, "status": status });
    serde_json::from_value(object).unwrap()
}

fn says(status: &str) -> Value {
    json!([{ "type": "Issuing", "status": "False" }, { "type": "Ready", "status": status }])
}

#[test]
fn a_certificate_is_told_with_its_dates_its_condition_and_its_issuer() {
    let mut seen = seen();
    let status = json!({
        "notBefore": "2026-05-05T12:00:00Z", "notAfter": "2026-05-06T12:00:00Z",
        "renewalTime": "2026-05-06T04:00:00Z", "conditions": says("True"),
    });
    let web = certificate("web", json!({ "name": "press" }), status);
    seen.certificates.apply_watcher_event(&Event::Apply(web.clone()));
    let labels = "name=\"web\",namespace=\"shop\",issuer_name=\"press\",issuer_kind=\"Issuer\",issuer_group=\"countersign.dev\"";
    let date = |which: &str, seconds: i64| {
        format!("countersign_certificate_{which}_timestamp_seconds{{{labels}}} {seconds}")
    };
    let expected = [
        date("expiration", 1_778_068_800),
        date("not_after", 1_778_068_800),
        date("not_before", 1_777_982_400),
        date("renewal", 1_778_040_000),
        format!("countersign_certificate_ready_status{{{labels},condition=\"True\"}} 1"),
    ];
    assert_eq!(seen.about("web"), expected);
    let not = format!("countersign_certificate_ready_status{{{labels},condition=\"False\"}} 0\n");
    assert!(seen.text().contains(&not));
    seen.certificates.apply_watcher_event(&Event::Delete(web));
    assert!(!seen.text().contains("web"));
}

#[test]
fn what_was_never_issued_has_no_dates_and_is_unknown() {
    let mut seen = seen();
    let issuer = json!({ "name": "x", "kind": "StepIssuer", "group": "certmanager.step.sm" });
    seen.certificates.apply_watcher_event(&Event::Apply(certificate("web", issuer, json!(null))));
    let labels = "name=\"web\",namespace=\"shop\",issuer_name=\"x\",issuer_kind=\"StepIssuer\",issuer_group=\"certmanager.step.sm\"";
    let expected =
        [format!("countersign_certificate_ready_status{{{labels},condition=\"Unknown\"}} 1")];
    assert_eq!(seen.about("web"), expected);
}

#[test]
fn who_names_no_issuer_is_told_with_the_default_one() {
    let mut seen = seen();
    let none = certificate("web", json!({ "name": "" }), json!({ "conditions": says("False") }));
    seen.certificates.apply_watcher_event(&Event::Apply(none));
    assert!(seen.text().contains("issuer_name=\"house\",issuer_kind=\"ClusterIssuer\""));
    let annotations = json!({ "countersign.dev/default-issuer": "Issuer/of-shop" });
    let namespace = json!({ "metadata": { "name": "shop", "annotations": annotations } });
    let namespace: PartialObjectMeta<Namespace> = serde_json::from_value(namespace).unwrap();
    seen.namespaces.apply_watcher_event(&Event::Apply(namespace));
    assert!(seen.text().contains("issuer_name=\"of-shop\",issuer_kind=\"Issuer\""));
}

#[test]
fn issuers_are_told_with_their_condition() {
    let mut seen = seen();
    let object = |namespace: Value, status: &str| {
        let metadata = json!({ "name": "press", "namespace": namespace });
        json!({ "metadata": metadata, "spec": { "selfSigned": {} },
                "status": { "conditions": says(status) } })
    };
    let issuer = serde_json::from_value(object("shop".into(), "False")).unwrap();
    seen.issuers.apply_watcher_event(&Event::Apply(issuer));
    let issuer = serde_json::from_value(object(Value::Null, "True")).unwrap();
    seen.cluster_issuers.apply_watcher_event(&Event::Apply(issuer));
    let expected = [
        "countersign_issuer_ready_status{name=\"press\",namespace=\"shop\",condition=\"False\"} 1",
        "countersign_clusterissuer_ready_status{name=\"press\",condition=\"True\"} 1",
    ];
    assert_eq!(seen.about("press"), expected);
}

#[test]
fn whatever_a_reference_holds_it_stays_one_label() {
    let cases =
        [("a\"} 1\nb{c=\"", "a\\\"} 1\\nb{c=\\\""), ("back\\slash", "back\\\\slash"), ("", "")];
    for (given, expected) in cases {
        let mut text = String::new();
        escape(&mut text, given);
        assert_eq!(text, expected);
    }
    let mut text = String::new();
    escape(&mut text, &"ü".repeat(1000));
    assert_eq!(text.len(), 254, "whole characters only");
}

/// One page is all that is in memory of a text of many.
#[test]
fn ten_thousand_certificates_are_told_in_small_pages() {
    let mut seen = seen();
    let status = json!({
        "notBefore": "2026-05-05T12:00:00Z", "notAfter": "2026-05-06T12:00:00Z",
        "renewalTime": "2026-05-06T04:00:00Z", "conditions": says("True"),
    });
    for number in 0..10_000 {
        let name = format!("a-certificate-with-a-usual-name-{number}");
        let issuer = json!({ "name": "countersign", "kind": "ClusterIssuer" });
        let object = certificate(&name, issuer, status.clone());
        seen.certificates.apply_watcher_event(&Event::Apply(object));
    }
    let pages: Vec<_> = seen.objects.pages().map(|page| page.len()).collect();
    let (largest, whole) = (pages.iter().max().unwrap(), pages.iter().sum::<usize>());
    assert!(*largest < 256 * 1024 && whole > 10 << 20, "{largest} of {whole} bytes");
}

#[test]
fn a_policy_is_told_with_the_pods_that_follow_it() {
    let mut seen = seen();
    let object = json!({
        "metadata": { "name": "web", "namespace": "shop" }, "spec": {},
        "status": { "selectedPods": 3, "inForcePods": 2, "conditions": says("True") },
    });
    let policy: AccessPolicy = serde_json::from_value(object).unwrap();
    seen.access_policies.apply_watcher_event(&Event::Apply(policy));
    let labels = r#"name="web",namespace="shop""#;
    let expected = [
        format!("countersign_accesspolicy_selected_pods{{{labels}}} 3"),
        format!("countersign_accesspolicy_in_force_pods{{{labels}}} 2"),
        format!("countersign_accesspolicy_ready_status{{{labels},condition=\"True\"}} 1"),
    ];
    assert_eq!(seen.about("web"), expected);
}
