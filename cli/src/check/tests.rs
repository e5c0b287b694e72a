//! What is found in an installation, case by case, and how it is told.

use countersign_crds::Certificate;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use super::gather::{AnyIssuer, Listed, Marked, Webhook};
use super::*;
use crate::cluster::Found;
use crate::sidecars::Versions;
use crate::support::{World, now};

fn definition(wanted: &CustomResourceDefinition) -> CustomResourceDefinition {
    let mut there = serde_json::to_value(wanted).expect("JSON");
    there["spec"]["conversion"] = json!({ "strategy": "None" });
    there["status"] = json!({ "conditions": [{ "type": "Established", "status": "True",
        "reason": "", "message": "", "lastTransitionTime": null }] });
    serde_json::from_value(there).expect("a definition")
}

fn deployment(available: i32) -> Deployment {
    serde_json::from_value(json!({
        "metadata": { "name": "countersign-operator", "namespace": "countersign-system",
            "labels": { "app.kubernetes.io/version": "0.1.0" } },
        "spec": { "replicas": 2, "selector": {}, "template": {} },
        "status": { "availableReplicas": available, "conditions": [
            { "type": "Available", "status": if available == 2 { "True" } else { "False" },
              "message": "Deployment does not have minimum availability." } ] },
    }))
    .expect("a Deployment")
}

fn webhook(bundle: Option<Vec<u8>>, ready: Option<bool>) -> Webhook {
    let service = json!({ "name": "countersign-webhook", "namespace": "countersign-system" });
    let configuration = json!({
        "metadata": { "name": "countersign" },
        "webhooks": [{ "name": "pod.inject.countersign.dev", "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "clientConfig": { "service": service, "caBundle": bundle.map(ByteString) } }],
    });
    let slice = json!({ "metadata": {}, "addressType": "IPv4",
        "endpoints": [{ "addresses": ["10.0.0.1"], "conditions": { "ready": ready } }] });
    Webhook {
        configuration: serde_json::from_value(configuration).expect("a configuration"),
        endpoints: vec![Found::There(vec![serde_json::from_value(slice).expect("a slice")])],
    }
}

fn bundle() -> Option<Vec<u8>> {
    World::new().bundle("2026-06-05T12:00:00Z").roots
}

fn issuer(status: &str, message: &str) -> AnyIssuer {
    let ready = json!([{ "type": "Ready", "status": status, "message": message }]);
    AnyIssuer {
        object: "ClusterIssuer countersign".to_owned(),
        conditions: serde_json::from_value(ready).expect("conditions"),
    }
}

fn certificate(status: Value) -> Certificate {
    serde_json::from_value(json!({
        "apiVersion": "countersign.dev/v1", "kind": "Certificate",
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": { "secretName": "web" }, "status": status,
    }))
    .expect("a Certificate")
}

/// One whose life is of a month, until the fifth of June.
fn lives(renewal: Value) -> Certificate {
    certificate(json!({
        "conditions": [{ "type": "Ready", "status": "True" }], "renewalTime": renewal,
        "notBefore": "2026-05-05T11:00:00Z", "notAfter": "2026-06-05T12:00:00Z",
    }))
}

fn marked(inject: &str) -> Marked {
    Marked {
        object: "Namespace shop".to_owned(),
        labels: [("countersign.dev/inject".to_owned(), inject.to_owned())].into(),
        annotations: Default::default(),
    }
}

fn healthy() -> Seen {
    let definitions = countersign_crds::all().into_iter();
    Seen {
        definitions: definitions.map(|it| (it.clone(), Found::There(definition(&it)))).collect(),
        deployments: Ok(vec![deployment(2)]),
        webhooks: Ok(vec![webhook(bundle(), None)]),
        issuers: Ok(vec![issuer("True", "Signing CA verified")]),
        certificates: Ok(vec![lives("2026-05-25T12:00:00Z".into())]),
        sidecars: Ok(Versions::of(std::iter::once(Some("0.0.9".to_owned())))),
        marked: Ok(vec![marked("enabled")]),
        called: Ok(Vec::new()),
    }
}

fn codes(seen: &Seen) -> Vec<&'static str> {
    let report = judge(seen, now());
    report.parts.iter().flat_map(|part| &part.findings).map(|finding| finding.code).collect()
}

#[test]
fn a_healthy_installation_is_told_in_nine_lines() {
    let report = judge(&healthy(), now());
    let expected = "\
✓ definitions: 5 of 5 established, as version 0.1.0 knows them
✓ operator: countersign-system/countersign-operator 0.1.0, 2 of 2 available
✓ webhook: 1 webhook with a caBundle and endpoints
✓ issuers: 1 of 1 ready
✓ certificates: 1 of 1 in order
✓ sidecars: 1 of 0.0.9; 1 pod not of the operator's version 0.1.0, until made anew
✓ labels: all of ours are known
✓ called by the API server: 0 Services, none behind a mutual port

healthy
";
    assert_eq!(text(&report), expected);
    assert!(report.healthy);
}

#[test]
fn missing_deployment_of_one_role_is_a_finding() {
    let of = |role: &str| {
        let mut deployment = deployment(2);
        let label = ("app.kubernetes.io/component".to_owned(), role.to_owned());
        deployment.metadata.labels.get_or_insert_default().extend([label]);
        deployment
    };
    let cases = [
        (vec!["controller", "front"], None),
        (vec!["front"], Some("Deployment countersign-controller")),
        (vec!["controller"], Some("Deployment countersign-operator")),
        // One process that is both, made by hand.
        (vec!["all"], None),
    ];
    for (roles, expected) in cases {
        let deployments = roles.iter().map(|role| of(role)).collect();
        let report = judge(&Seen { deployments: Ok(deployments), ..healthy() }, now());
        let findings: Vec<_> = report.parts.iter().flat_map(|part| &part.findings).collect();
        let objects: Vec<_> = findings.iter().map(|finding| finding.object.as_str()).collect();
        assert_eq!(objects, Vec::from_iter(expected), "{roles:?}");
    }
}

#[test]
fn whatever_may_not_be_read_is_not_called_healthy() {
    fn no<T>() -> Listed<T> {
        Err("you may not".to_owned())
    }
    let definitions = healthy().definitions.into_iter();
    let blind = Seen {
        definitions: definitions.map(|(it, _)| (it, Found::Unknown("no".to_owned()))).collect(),
        deployments: no(),
        webhooks: no(),
        issuers: no(),
        certificates: no(),
        sidecars: Err("you may not".to_owned()),
        marked: no(),
        called: no(),
    };
    assert_eq!(codes(&blind), ["unread"; 12]);
}

#[test]
fn each_fault_of_a_definition_has_its_name() {
    let with = |found: Found<CustomResourceDefinition>| {
        let mut seen = healthy();
        seen.definitions[0].1 = found;
        codes(&seen)
    };
    let wanted = countersign_crds::all().remove(0);
    let mut waiting = definition(&wanted);
    waiting.status = None;
    let mut older = definition(&wanted);
    older.spec.versions[0].additional_printer_columns = None;
    assert_eq!(with(Found::Missing), ["definitionMissing"]);
    assert_eq!(with(Found::There(waiting)), ["notEstablished"]);
    assert_eq!(with(Found::There(older)), ["otherVersion"]);
}

#[test]
fn each_fault_of_the_operator_and_its_webhook_has_its_name() {
    let deployed = |all: Vec<Deployment>| codes(&Seen { deployments: Ok(all), ..healthy() });
    let mut stopped = deployment(0);
    stopped.spec.replicas = Some(0);
    assert_eq!(deployed(vec![]), ["operatorMissing"]);
    assert_eq!(deployed(vec![stopped]), ["operatorStopped"]);
    assert_eq!(deployed(vec![deployment(1)]), ["operatorUnavailable"]);
    let hooked = |all: Vec<Webhook>| codes(&Seen { webhooks: Ok(all), ..healthy() });
    let root = bundle();
    let dead = Webhook { endpoints: vec![Found::Missing], ..webhook(root.clone(), None) };
    assert_eq!(hooked(vec![]), ["webhookMissing"]);
    assert_eq!(hooked(vec![webhook(None, None)]), ["caBundleMissing"]);
    assert_eq!(hooked(vec![webhook(Some(b"x".to_vec()), None)]), ["caBundleUnreadable"]);
    assert_eq!(hooked(vec![webhook(root.clone(), Some(false))]), ["webhookUnanswered"]);
    assert_eq!(hooked(vec![dead]), ["webhookUnanswered"]);
    let late = judge(
        &Seen { webhooks: Ok(vec![webhook(root, None)]), ..healthy() },
        crate::support::at("2036-01-01T00:00:00Z"),
    );
    let codes: Vec<_> = late.parts[2].findings.iter().map(|it| it.code).collect();
    assert_eq!(codes, ["caBundleExpired"]);
}

#[test]
fn each_fault_of_issuers_and_certificates_has_its_name() {
    let issued = |it: AnyIssuer| codes(&Seen { issuers: Ok(vec![it]), ..healthy() });
    let silent = AnyIssuer { conditions: Vec::new(), ..issuer("True", "") };
    assert_eq!(issued(issuer("False", "no Secret")), ["issuerNotReady"]);
    assert_eq!(issued(silent), ["issuerNotReady"]);
    let ends = |end: &str| certificate(json!({ "notAfter": end }));
    let cases: [(Certificate, &[&str]); 8] = [
        (certificate(Value::Null), &["notReady"]),
        (ends("2026-05-05T12:00:00Z"), &["expired"]),
        (ends("2026-05-05T12:00:01Z"), &["notReady"]),
        (lives("2026-06-05T12:00:00Z".into()), &["expiresBeforeRenewal"]),
        // A tenth of what was left is nearly over, and over.
        (lives("2026-05-02T06:00:00Z".into()), &[]),
        (lives("2026-05-01T00:00:00Z".into()), &["renewalLate"]),
        (lives(Value::Null), &[]),
        (
            certificate(json!({ "conditions": [{ "type": "Ready", "status": "True" }],
                "notBefore": "2026-04-05T12:00:00Z", "notAfter": "2026-05-06T12:00:00Z" })),
            &["notRenewed"],
        ),
    ];
    for (certificate, expected) in cases {
        let told = format!("{:?}", certificate.status);
        let seen = Seen { certificates: Ok(vec![certificate]), ..healthy() };
        assert_eq!(codes(&seen), expected, "{told}");
    }
}

#[test]
fn a_label_of_ours_that_says_nothing_is_found() {
    let seen = Seen { marked: Ok(vec![marked("true")]), ..healthy() };
    let report = judge(&seen, now());
    let findings: Vec<_> = report.parts.iter().flat_map(|part| &part.findings).collect();
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((finding.code, finding.object.as_str()), ("labelWithoutEffect", "Namespace shop"));
    assert!(finding.message.contains("enabled or disabled"), "{}", finding.message);
    let annotated = Marked {
        labels: Default::default(),
        annotations: [("countersign.dev/inject".to_owned(), "enabled".to_owned())].into(),
        ..marked("")
    };
    let seen = Seen { marked: Ok(vec![annotated]), ..healthy() };
    assert_eq!(codes(&seen), ["labelWithoutEffect"]);
}

#[test]
fn a_finding_names_its_object_and_what_to_do() {
    let many = vec![certificate(Value::Null); MOST_TOLD + 2];
    let seen = Seen {
        issuers: Ok(vec![issuer("False", "Secret root\ndoes not exist")]),
        certificates: Ok(many),
        ..healthy()
    };
    let report = judge(&seen, now());
    let told = text(&report);
    let expected = "\
✗ issuers: 0 of 1 ready
    ClusterIssuer countersign: is not ready: Secret root does not exist
      put right what it names: it is looked at again within seconds
✗ certificates: 0 of 22 in order
    Certificate shop/web: is not ready: the operator has said nothing about it
      kubectl countersign status certificate web -n shop
";
    assert!(told.contains(expected), "{told}");
    assert!(told.contains("    and 2 more: -o json has them all\n"), "{told}");
    assert!(told.ends_with("\n\n23 findings\n"), "{told}");
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["healthy"], false);
    assert_eq!(json["parts"][4]["findings"].as_array().map(Vec::len), Some(22));
    assert_eq!(json["parts"][3]["findings"][0]["code"], "issuerNotReady");
}
