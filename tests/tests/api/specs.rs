//! What the API server itself refuses, whether or not the operator runs.

use countersign_crds::{Certificate, CertificateRequest, Issuer};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::requests::{openssl_csr, request};
use crate::space::{Space, leaf};

pub(crate) async fn a_bad_spec_is_refused_with_its_field_named(space: Space) {
    let cases = [
        (json!({ "duration": "1m" }), "spec.duration"),
        (json!({ "duration": "1h", "renewBefore": "2h" }), "spec.renewBefore"),
        (json!({ "renewBefore": "1s" }), "spec.renewBefore"),
        (json!({ "duration": "a day" }), "spec.duration"),
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

pub(crate) async fn a_request_cannot_be_changed(space: Space) {
    let csr = request(openssl_csr(&space, "laptop.test"));
    space.make::<CertificateRequest>("laptop", csr).await;
    let api: Api<CertificateRequest> = space.api();
    let patch: Value = json!({ "spec": { "isCA": true } });
    let changed = api.patch("laptop", &PatchParams::default(), &Patch::Merge(patch)).await;
    let message = changed.expect_err("it was changed").to_string();
    assert!(message.contains("spec is immutable"), "{message}");
}
