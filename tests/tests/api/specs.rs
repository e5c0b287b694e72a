//! What the API server itself refuses, whether or not the operator runs.

use countersign_crds::{Certificate, CertificateRequest, Issuer};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::authorities::approve;
use crate::requests::{openssl_csr, request};
use crate::space::{Space, condition, facts, leaf};

/// So many DNS names, each so long.
fn names(count: usize, length: usize) -> Vec<String> {
    (0..count).map(|number| format!("n{number:04}.{}", "x".repeat(length - 6))).collect()
}

/// An Issuer that signs nothing without a CertificateRequest that was approved.
async fn strict_issuer(space: &Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let ca = json!({ "secretName": "root", "policy": { "approval": "Required" } });
    space.make::<Issuer>("strict", json!({ "spec": { "ca": ca } })).await;
}

pub(crate) async fn a_thousand_names_fit_into_a_request(space: Space) {
    strict_issuer(&space).await;
    let spec = json!({ "dnsNames": names(1000, 60), "issuerRef": { "name": "strict" },
        "privateKey": { "algorithm": "RSA", "size": 4096 } });
    space.make::<Certificate>("web", json!({ "spec": leaf("web", spec) })).await;
    space.when("web-1", "is there", |_: &CertificateRequest| true).await;
    approve(&space, "web-1").await;
    space.ready("web").await;
    assert_eq!(facts(&space.secret("web").await).says.dns_names.len(), 1000);
}

/// Waits until a Certificate says why it is not issued.
async fn says(space: &Space, name: &str, words: &str) {
    let says = |one: &Certificate| {
        let message = condition(one, "Issuing").and_then(|issuing| issuing.message.as_ref());
        message.is_some_and(|text| text.contains(words))
    };
    space.certificate_when(name, &format!("says {words:?}"), says).await;
}

pub(crate) async fn names_that_fit_into_no_request_are_issued_without_one(space: Space) {
    strict_issuer(&space).await;
    let long = format!("x.{0}.{0}.{0}", "x".repeat(60));
    let many: Vec<_> = (0..1000).map(|number| format!("n{number:04}.{long}")).collect();
    let mut spec = json!({ "dnsNames": many });
    space.make::<Certificate>("direct", json!({ "spec": leaf("direct", spec.clone()) })).await;
    space.ready("direct").await;
    assert_eq!(facts(&space.secret("direct").await).says.dns_names.len(), 1000);
    spec["issuerRef"] = json!({ "name": "strict" });
    space.make::<Certificate>("asked", json!({ "spec": leaf("asked", spec) })).await;
    says(&space, "asked", "ask for fewer or shorter dnsNames").await;
    let spec = json!({ "dnsNames": ["x".repeat(64)], "issuerRef": { "name": "strict" } });
    space.make::<Certificate>("label", json!({ "spec": leaf("label", spec) })).await;
    says(&space, "label", "among dnsNames matches no host").await;
}

pub(crate) async fn a_bad_spec_is_refused_with_its_field_named(space: Space) {
    let cases = [
        (json!({ "duration": "1m" }), "spec.duration"),
        (json!({ "duration": "1h", "renewBefore": "2h" }), "spec.renewBefore"),
        (json!({ "renewBefore": "1s" }), "spec.renewBefore"),
        (json!({ "duration": "a day" }), "spec.duration"),
        (json!({ "duration": "87600000h" }), "spec.duration: Invalid value"),
        (json!({ "duration": "87600000h" }), "duration must be less than 1000000h"),
        (json!({ "renewBefore": "87600000h" }), "renewBefore must be less than 1000000h"),
        (
            json!({ "renewal": { "policy": "RenewBefore", "windows": [
                { "cron": "0 0 * * *", "windowDuration": "99999999999999999999999999h" }] } }),
            "windowDuration",
        ),
        (
            json!({ "secretTemplate": { "annotations": { "a": "x".repeat(40_000), "b": "x".repeat(40_000) } } }),
            "spec.secretTemplate",
        ),
        (json!({ "maxPathLength": 0 }), "maxPathLength is for authorities: set isCA to true"),
        (json!({ "isCA": true, "maxPathLength": -1 }), "spec.maxPathLength"),
        (json!({ "isCA": true, "maxPathLength": 256 }), "spec.maxPathLength"),
        (
            json!({ "secretTemplate": { "labels": { "x".repeat(318): "a" } } }),
            "names of secretTemplate.labels",
        ),
        (json!({ "secretTemplate": { "labels": { "": "a" } } }), "names of secretTemplate.labels"),
        (
            json!({ "secretTemplate": { "annotations": { "x".repeat(318): "a" } } }),
            "names of secretTemplate.annotations",
        ),
        (json!({ "dnsNames": [] }), "dnsNames"),
        (json!({ "dnsNames": "web" }), "spec.dnsNames"),
        (json!({ "ipAddresses": ["web"] }), "spec.ipAddresses"),
        (json!({ "commonName": "x".repeat(65) }), "spec.commonName"),
        (json!({ "usages": ["everything"] }), "spec.usages"),
        (json!({ "privateKey": { "algorithm": "DSA" } }), "spec.privateKey.algorithm"),
        (json!({ "privateKey": { "algorithm": "ECDSA", "size": 255 } }), "spec.privateKey"),
        (json!({ "privateKey": { "algorithm": "RSA", "size": 1024 } }), "spec.privateKey"),
        (json!({ "privateKey": { "rotationPolicy": "Maybe" } }), "spec.privateKey.rotationPolicy"),
        (json!({ "issuerRef": { "name": "ca", "kind": "Authority" } }), "spec.issuerRef"),
        (json!({ "issuerRef": { "kind": "Issuer" } }), "spec.issuerRef.name"),
        (json!({ "secretName": "" }), "spec.secretName"),
        (json!({ "revisionHistoryLimit": 0 }), "spec.revisionHistoryLimit"),
    ];
    for (spec, field) in cases {
        let object = json!({ "spec": leaf("bad", spec.clone()) });
        let refused = space.try_make::<Certificate>("bad", object).await;
        let message = refused.expect_err(&format!("{spec} was accepted")).to_string();
        assert!(message.contains(field), "{spec}: {message}");
    }
    let issuers = [json!({}), json!({ "selfSigned": {}, "ca": { "secretName": "a" } })];
    for spec in issuers {
        let refused = space.try_make::<Issuer>("bad", json!({ "spec": spec })).await;
        let message = refused.expect_err(&format!("{spec} was accepted")).to_string();
        assert!(message.contains("exactly one of ca or selfSigned"), "{message}");
    }
}

/// Policies, and the field that is wrong.
fn bad_policies() -> Vec<(Value, &'static str)> {
    let of_namespaces = |field: &str, value: Value| json!({ "namespaces": { field: value } });
    let expression = |operator: &str, values: Value| {
        let expression = json!({ "key": "team", "operator": operator, "values": values });
        of_namespaces("matchExpressions", json!([expression]))
    };
    vec![
        (json!({ "approval": "Sometimes" }), "policy.approval"),
        (json!({ "allow": [] }), "policy.allow"),
        (json!({ "allow": [{}] }), "policy.allow[0].name"),
        (json!({ "allow": [{ "name": "a" }, { "name": "a" }] }), "policy.allow[1]"),
        (json!({ "allow": [{ "name": "A rule" }] }), "policy.allow[0].name"),
        (rule("dnsNames", json!([])), "policy.allow[0].dnsNames"),
        (rule("dnsNames", json!(["w*.test"])), "policy.allow[0].dnsNames[0]"),
        (rule("dnsNames", json!(["a.test", "a..test"])), "policy.allow[0].dnsNames[1]"),
        (rule("dnsNames", json!(["$(name).test"])), "policy.allow[0].dnsNames[0]"),
        (rule("dnsNames", json!(["{{namespace}}.test"])), "policy.allow[0].dnsNames[0]"),
        (rule("uris", json!(["*"])), "policy.allow[0].uris[0]"),
        (rule("uris", json!(["urn:a b"])), "policy.allow[0].uris[0]"),
        (rule("uris", json!(["urn:$(serviceAccount)"])), "policy.allow[0].uris[0]"),
        (rule("ipAddresses", json!(["10.0.0.0/33"])), "policy.allow[0].ipAddresses"),
        (rule("ipAddresses", json!(["web.test"])), "policy.allow[0].ipAddresses"),
        (rule("emailAddresses", json!(["example.org"])), "policy.allow[0].emailAddresses[0]"),
        (rule("commonNames", json!(["$(namespaces)"])), "policy.allow[0].commonNames[0]"),
        (
            rule("subject", json!({ "organizations": ["$x"] })),
            "policy.allow[0].subject.organizations[0]",
        ),
        (rule("usages", json!(["everything"])), "policy.allow[0].usages[0]"),
        (rule("maxDuration", json!("a day")), "policy.allow[0].maxDuration"),
        (rule("maxDuration", json!("1m")), "policy.allow[0].maxDuration"),
        (rule("keys", json!([{ "algorithm": "DSA" }])), "policy.allow[0].keys[0].algorithm"),
        (
            rule("keys", json!([{ "algorithm": "RSA", "minSize": 4096, "maxSize": 2048 }])),
            "policy.allow[0].keys[0].minSize",
        ),
        (
            rule("keys", json!([{ "algorithm": "Ed25519", "minSize": 256 }])),
            "policy.allow[0].keys[0].algorithm",
        ),
        (of_namespaces("matchNames", json!(["Shop"])), "policy.namespaces.matchNames[0]"),
        (expression("Like", json!(["red"])), "policy.namespaces.matchExpressions[0].operator"),
        (expression("In", json!([])), "policy.namespaces.matchExpressions[0].values"),
        (expression("Exists", json!(["red"])), "policy.namespaces.matchExpressions[0].values"),
    ]
}

/// A rule with one field.
fn rule(field: &str, value: Value) -> Value {
    json!({ "allow": [{ "name": "web", field: value }] })
}

pub(crate) async fn a_bad_policy_is_refused_with_its_field_named(space: Space) {
    let refused = |ca: Value, field: &str| {
        let object = json!({
            "apiVersion": "countersign.dev/v1", "kind": "Issuer",
            "metadata": { "name": "bad", "namespace": space.namespace }, "spec": { "ca": ca },
        });
        let message = space.world.apply(&object.to_string()).expect_err(&object.to_string());
        assert!(message.contains(&format!("spec.ca.{field}")), "{ca}: {message}");
    };
    for (policy, field) in bad_policies() {
        refused(json!({ "secretName": "a", "policy": policy }), field);
    }
    // What is no field at all, kubectl refuses, too.
    refused(
        json!({ "secretName": "a", "policy": rule("dnsName", json!("a.test")) }),
        "policy.allow[0].dnsName",
    );
    for field in ["crlDistributionPoints", "ocspServers", "issuingCertificateURLs"] {
        for url in ["ca.test", "http://ca.test/a b", "http://ca.test/ä", ""] {
            refused(json!({ "secretName": "a", field: [url] }), &format!("{field}[0]"));
        }
        let many = vec!["http://ca.test"; 17];
        refused(json!({ "secretName": "a", field: many }), field);
    }
}

pub(crate) async fn a_request_cannot_be_changed(space: Space) {
    let csr = request(openssl_csr(&space, "laptop.test"));
    space.make::<CertificateRequest>("laptop", csr).await;
    let api: Api<CertificateRequest> = space.api();
    let patch: Value = json!({ "spec": { "isCA": true } });
    let changed = api.patch("laptop", &PatchParams::default(), &Patch::Merge(patch)).await;
    let message = changed.expect_err("it was changed").to_string();
    assert!(message.contains("spec is immutable"), "{message}");
    // One whose base64 holds a slash can still be written to; one that is no canonical base64 is none.
    let noted = [b"# till 7?\n".to_vec(), openssl_csr(&space, "till.test")].concat();
    let noted = request(noted);
    assert!(noted["spec"]["request"].as_str().unwrap().contains('/'));
    space.make::<CertificateRequest>("till", noted).await;
    let note = json!({ "metadata": { "annotations": { "note": "kept" } } });
    space.change::<CertificateRequest>("till", note).await;
    let signed = |one: &CertificateRequest| {
        one.status.as_ref().is_some_and(|status| status.certificate.is_some())
    };
    space.authority().await;
    space.when("till", "is signed", signed).await;
    for text in ["!", "YWI", "YWJ=", "YW\nJj"] {
        let bad = json!({ "spec": { "request": text, "issuerRef": { "name": "ca" } } });
        let refused = space.try_make::<CertificateRequest>("bad", bad).await;
        let message = refused.expect_err(text).to_string();
        assert!(message.contains("spec.request"), "{text}: {message}");
    }
}
