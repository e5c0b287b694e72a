//! CSRs of others.

use std::process::Command;

use countersign_crds::{Certificate, CertificateRequest, Condition, ConditionStatus, Issuer};
use countersign_operator::pki::CertificateFacts;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use serde_json::{Value, json};

use crate::issuance::folder;
use crate::space::{Space, condition, identity, leaf};

/// A CSR by openssl, whose key nobody else sees.
pub(crate) fn openssl_csr(space: &Space, name: &str) -> Vec<u8> {
    openssl_csr_with(space, &[&format!("subjectAltName=DNS:{name}")])
}

/// The same, with these extensions.
pub(crate) fn openssl_csr_with(space: &Space, extensions: &[&str]) -> Vec<u8> {
    let folder = folder(space);
    let arguments = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    let extensions = extensions.iter().flat_map(|extension| ["-addext", extension]);
    let output = Command::new("openssl")
        .args(arguments)
        .args(["-nodes", "-keyout", "key", "-subj", "/CN=laptop"])
        .args(extensions)
        .current_dir(&folder)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The spec of a request to Issuer `ca`.
pub(crate) fn request(csr: Vec<u8>) -> Value {
    let csr = serde_json::to_value(ByteString(csr)).unwrap();
    json!({ "spec": { "request": csr, "issuerRef": { "name": "ca" } } })
}

pub(crate) fn last_word<'a>(request: &'a CertificateRequest, type_: &str) -> Option<&'a Condition> {
    let conditions = &request.status.as_ref()?.conditions;
    conditions.iter().find(|condition| condition.type_ == type_)
}

pub(crate) async fn decided(space: &Space, name: &str) -> CertificateRequest {
    let is_decided = |request: &CertificateRequest| {
        last_word(request, "Ready").is_some_and(|ready| {
            let reason = ready.reason.as_deref().unwrap_or_default();
            ready.status == ConditionStatus::True || ["Failed", "Denied"].contains(&reason)
        })
    };
    space.when(name, "is decided", is_decided).await
}

pub(crate) async fn a_csr_made_by_openssl_is_signed(space: Space) {
    space.authority().await;
    let made = request(openssl_csr(&space, "laptop.test"));
    space.make::<CertificateRequest>("laptop", made).await;
    let done = decided(&space, "laptop").await;
    let status = done.status.as_ref().unwrap();
    assert_eq!(last_word(&done, "Approved").unwrap().status, ConditionStatus::True);
    let chain = CertificateFacts::all_from_pem(&status.certificate.as_ref().unwrap().0).unwrap();
    let root = CertificateFacts::from_pem(&status.ca.as_ref().unwrap().0).unwrap();
    let [leaf, intermediate] = chain.as_slice() else { panic!("{} in the chain", chain.len()) };
    assert!(leaf.verify_issued_by(intermediate) && intermediate.verify_issued_by(&root));
    assert_eq!(leaf.says.dns_names, ["laptop.test"]);
    let secrets: Api<Secret> = space.api();
    assert!(secrets.get_opt("laptop").await.unwrap().is_none());
}

pub(crate) async fn what_is_no_csr_is_refused_with_a_message(space: Space) {
    space.authority().await;
    let mut damaged = openssl_csr(&space, "laptop.test");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for (name, csr) in [("garbage", b"garbage".to_vec()), ("damaged", damaged)] {
        space.make::<CertificateRequest>(name, request(csr)).await;
        let done = decided(&space, name).await;
        let ready = last_word(&done, "Ready").unwrap();
        assert_eq!(ready.status, ConditionStatus::False);
        assert!(ready.message.as_ref().unwrap().contains("spec.request"), "{ready:?}");
        assert!(done.status.unwrap().certificate.is_none());
        space.event(name, "says why", |_| true).await;
    }
}

pub(crate) async fn a_request_waits_for_its_issuer_and_for_its_authority(space: Space) {
    let made = request(openssl_csr(&space, "laptop.test"));
    space.make::<CertificateRequest>("laptop", made).await;
    space.event("laptop", "says what is missing", |told| told == "IssuerNotFound").await;
    let issuer = json!({ "spec": { "ca": { "secretName": "late" } } });
    space.make::<Issuer>("ca", issuer).await;
    space.event("laptop", "says what is missing", |told| told == "SecretMissing").await;
    space.make::<Secret>("late", json!({ "data": { "tls.crt": "" } })).await;
    space.event("laptop", "says what is wrong", |told| told == "SecretInvalidData").await;
    let waiting: CertificateRequest = space.api().get("laptop").await.unwrap();
    assert_eq!(last_word(&waiting, "Ready").unwrap().reason.as_deref(), Some("Pending"));
    assert!(waiting.status.unwrap().failure_time.is_none());
    space.authority().await;
    let done = decided(&space, "laptop").await;
    assert_eq!(last_word(&done, "Ready").unwrap().reason.as_deref(), Some("Issued"));
    let approved = last_word(&done, "Approved").unwrap();
    assert_eq!(approved.reason.as_deref(), Some("countersign.dev"));
}

pub(crate) async fn a_csr_that_says_something_else_than_its_request_is_refused(space: Space) {
    space.authority().await;
    let names = "subjectAltName=DNS:laptop.test";
    let authority = openssl_csr_with(&space, &[names, "basicConstraints=critical,CA:TRUE"]);
    let client = openssl_csr_with(&space, &[names, "extendedKeyUsage=clientAuth"]);
    let cases = [
        ("authority", &authority, json!({}), Some("spec.isCA")),
        ("said-authority", &authority, json!({ "isCA": true }), None),
        ("client", &client, json!({}), Some("spec.usages")),
        ("server", &client, json!({ "usages": ["server auth"] }), Some("spec.usages")),
        ("said-client", &client, json!({ "usages": ["client auth"] }), None),
    ];
    for (name, csr, fields, refusal) in cases {
        let mut asked = request(csr.clone());
        asked["spec"].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        space.make::<CertificateRequest>(name, asked).await;
        let done = decided(&space, name).await;
        let ready = last_word(&done, "Ready").unwrap();
        let Some(field) = refusal else {
            assert_eq!(ready.reason.as_deref(), Some("Issued"), "{name}: {ready:?}");
            continue;
        };
        let invalid = last_word(&done, "InvalidRequest").expect("it says so");
        assert!(invalid.message.as_ref().unwrap().contains(field), "{name}: {invalid:?}");
        assert_eq!(ready.reason.as_deref(), Some("Failed"), "{name}");
        space.event(name, "says so", |reason| reason == "InvalidRequest").await;
    }
}

pub(crate) async fn a_request_to_the_issuer_of_others_is_left_alone(space: Space) {
    space.authority().await;
    let csr = openssl_csr(&space, "laptop.test");
    let mut foreign = request(csr.clone());
    foreign["spec"]["issuerRef"] =
        json!({ "name": "ca", "group": "example.org", "kind": "Issuer" });
    space.make::<CertificateRequest>("foreign", foreign).await;
    // Ours came later and is decided: theirs was looked at.
    space.make::<CertificateRequest>("ours", request(csr)).await;
    decided(&space, "ours").await;
    let foreign: CertificateRequest = space.api().get("foreign").await.unwrap();
    assert!(foreign.status.is_none_or(|status| status.conditions.is_empty()));
}

pub(crate) async fn the_issuer_of_identities_signs_nothing_of_another_namespace(space: Space) {
    let identities = json!({ "kind": "ClusterIssuer", "name": "countersign" });
    let own = format!("spiffe://cluster.local/ns/{}/sa/web", space.namespace);
    let cases = [
        ("uri", json!({ "uris": ["spiffe://cluster.local/ns/bank/sa/vault"] }), "uris"),
        ("service", json!({ "uris": [own], "dnsNames": ["vault.bank.svc"] }), "dnsNames"),
        ("authority", json!({ "isCA": true }), "isCA"),
    ];
    for (name, mut spec, field) in cases {
        spec["issuerRef"] = identities.clone();
        space.make::<Certificate>(name, json!({ "spec": leaf(name, spec) })).await;
        let said = |certificate: &Certificate| {
            let message = |type_| condition(certificate, type_)?.message.clone();
            let said = [message("Ready"), message("Issuing")];
            said.iter().flatten().any(|text| text.contains(field) && text.contains("sign"))
        };
        space.certificate_when(name, &format!("says {field}"), said).await;
        assert!(space.api::<Secret>().get_opt(name).await.unwrap().is_none(), "{name}");
    }
    let mut foreign = request(openssl_csr(&space, "vault.bank.svc.cluster.local"));
    foreign["spec"]["issuerRef"] = identities.clone();
    space.make::<CertificateRequest>("foreign", foreign).await;
    let denied = decided(&space, "foreign").await;
    assert_eq!(last_word(&denied, "Denied").unwrap().status, ConditionStatus::True);
    assert!(denied.status.unwrap().certificate.is_none());
    identity(&space, "web").await;
}
