//! CSRs that a selfSigned issuer signs, with the key of whoever asks.

use countersign_crds::{CertificateRequest, ConditionStatus, Issuer};
use countersign_operator::pki::{
    CertificateFacts, CsrOptions, KeyAlgorithm, KeyEncoding, PrivateKey, Request, generate_key,
    make_csr_with,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::conformance::issuers;
use crate::space::{Space, event_in, make_in, when_in};
use crate::world::HOME;

/// A key, and a CSR for it that says no more than who asks.
pub(crate) fn csr(algorithm: KeyAlgorithm, request: &Request) -> (PrivateKey, ByteString) {
    let key = generate_key(algorithm).unwrap();
    let options = CsrOptions { encode_usages: false, encode_is_ca: false, ..CsrOptions::default() };
    let csr = make_csr_with(request, &key, &options).unwrap();
    (key, ByteString(csr.into_bytes()))
}

pub(crate) fn named() -> Request {
    Request { common_name: Some("selfsigned-test".to_owned()), ..Request::default() }
}

pub(crate) fn data(key: &PrivateKey) -> Value {
    let pem = key.to_pem(KeyEncoding::Pkcs1).unwrap();
    json!({ "data": { "tls.key": ByteString(pem.expose().as_bytes().to_vec()) } })
}

/// A request whose key is in Secret `key-of-<name>`.
pub(crate) async fn ask(space: &Space, name: &str, issuer: &Value, csr: &ByteString) {
    let annotations =
        json!({ "countersign.dev/private-key-secret-name": format!("key-of-{name}") });
    let spec = json!({ "request": csr, "issuerRef": issuer, "isCA": true, "duration": "840h" });
    let object = json!({ "metadata": { "annotations": annotations }, "spec": spec });
    space.make::<CertificateRequest>(name, object).await;
}

/// What a request says on Ready: its status, its reason, and its message.
fn says(request: &CertificateRequest) -> Option<(ConditionStatus, &str, &str)> {
    let mut conditions = request.status.iter().flat_map(|status| &status.conditions);
    let ready = conditions.find(|condition| condition.type_ == "Ready")?;
    Some((ready.status, ready.reason.as_deref()?, ready.message.as_deref()?))
}

async fn when_it_says(space: &Space, name: &str, reason: &str) -> CertificateRequest {
    let is_it = |request: &CertificateRequest| says(request).is_some_and(|told| told.1 == reason);
    space.when(name, &format!("says {reason}"), is_it).await
}

fn is_signed_with(request: &CertificateRequest, key: &PrivateKey) {
    let status = request.status.as_ref().unwrap();
    assert_eq!(status.certificate, status.ca, "its own authority");
    let signed = &status.certificate.as_ref().unwrap().0;
    let [facts] = &CertificateFacts::all_from_pem(signed).unwrap()[..] else { panic!("one") };
    assert!(facts.is_self_signed() && facts.matches_key(key) && facts.says.is_ca);
    assert_eq!(facts.says.common_name.as_deref(), Some("selfsigned-test"));
    let lasts = facts.validity.not_after.duration_since(facts.validity.not_before);
    assert_eq!(lasts.as_secs(), 840 * 3600);
}

pub(crate) async fn a_request_is_signed_with_the_key_that_it_names_once_that_is_there(
    space: Space,
) {
    for (of, issuer) in issuers(&space).await.iter().filter(|(of, _)| of.ends_with("self")) {
        let rsa = KeyAlgorithm::Rsa { bits: 2048 };
        for (place, algorithm) in [rsa, KeyAlgorithm::EcdsaP256].into_iter().enumerate() {
            let (key, csr) = csr(algorithm, &named());
            let (late, empty) = (format!("{of}-late-{place}"), format!("{of}-empty-{place}"));
            space.make::<Secret>(&format!("key-of-{empty}"), json!({ "data": {} })).await;
            for name in [&late, &empty] {
                ask(&space, name, issuer, &csr).await;
                let waiting = when_it_says(&space, name, "Pending").await;
                let message = says(&waiting).unwrap().2.to_owned();
                assert!(message.contains("countersign.dev/private-key-secret-name"), "{message}");
                space.event(name, "says why", |told| told == "PrivateKeyNotUsable").await;
                space.make::<Secret>(&format!("key-of-{name}"), data(&key)).await;
                is_signed_with(&when_it_says(&space, name, "Issued").await, &key);
                let approved = |told: &str| told == "countersign.dev";
                space.event(name, "says who approved it", approved).await;
                space.event(name, "says so", |told| told == "CertificateIssued").await;
            }
        }
    }
}

pub(crate) async fn nothing_is_signed_with_a_key_that_is_not_the_requests(space: Space) {
    space.make::<Issuer>("self", json!({ "spec": { "selfSigned": {} } })).await;
    let issuer = json!({ "name": "self" });
    let (_, asked) = csr(KeyAlgorithm::EcdsaP256, &named());
    let other = generate_key(KeyAlgorithm::EcdsaP256).unwrap();
    space.make::<Secret>("key-of-stolen", data(&other)).await;
    ask(&space, "stolen", &issuer, &asked).await;
    let spec = json!({ "request": asked, "issuerRef": issuer });
    space.make::<CertificateRequest>("unnamed", json!({ "spec": spec })).await;
    let cases =
        [("stolen", "Pending", "PrivateKeyNotUsable"), ("unnamed", "Failed", "MissingAnnotation")];
    for (name, ready, reason) in cases {
        let failed = when_it_says(&space, name, ready).await;
        let status = failed.status.unwrap();
        assert!(status.certificate.is_none(), "{name}");
        assert_eq!(status.failure_time.is_some(), ready == "Failed", "{name}");
        space.event(name, &format!("says {reason}"), |told| told == reason).await;
    }
}

pub(crate) async fn a_self_signed_certificate_may_want_somebodys_approval(space: Space) {
    let policy = json!({ "approval": "Required", "allow": [{ "name": "roots", "isCA": true,
        "commonNames": ["root"] }] });
    let issuer = json!({ "spec": { "selfSigned": { "policy": policy } } });
    space.make::<Issuer>("self", issuer).await;
    let spec = json!({ "secretName": "root", "isCA": true, "commonName": "root",
        "privateKey": { "algorithm": "ECDSA" }, "issuerRef": { "name": "self" } });
    space.make::<countersign_crds::Certificate>("root", json!({ "spec": spec })).await;
    space.when::<CertificateRequest>("root-1", "is made", |_| true).await;
    space.event("root-1", "says that it waits", |told| told == "WaitingForApproval").await;
    let kept = |certificate: &countersign_crds::Certificate| {
        let status = certificate.status.as_ref();
        status.is_some_and(|status| status.next_private_key_secret_name.is_some())
    };
    space.certificate_when("root", "has its key kept", kept).await;
    // Whoever starts now finds the key where the request says.
    space.world.restart_operator().await;
    let approved =
        json!({ "type": "Approved", "status": "True", "reason": "Human", "message": "" });
    let patch = json!({ "status": { "conditions": [approved] } });
    let requests: Api<CertificateRequest> = space.api();
    let parameters = PatchParams::default();
    requests.patch_status("root-1", &parameters, &Patch::Merge(&patch)).await.unwrap();
    space.ready("root").await;
    let root = crate::space::facts(&space.secret("root").await);
    assert!(root.is_self_signed() && root.says.is_ca);
}

/// A request of Kubernetes', approved, with the key in a Secret.
async fn approved(space: &Space, name: &str, signer: &str, csr: &ByteString) {
    let annotations = json!({ "experimental.countersign.dev/private-key-secret-name": name });
    let object = json!({ "metadata": { "name": name, "annotations": annotations },
        "spec": { "request": csr, "signerName": signer,
            "usages": ["key encipherment", "digital signature"] } });
    let object = serde_json::from_value(object).unwrap();
    let api: Api<CertificateSigningRequest> = Api::all(space.client.clone());
    api.create(&PostParams::default(), &object).await.expect("it is accepted");
    let condition =
        json!({ "type": "Approved", "status": "True", "reason": "Test", "message": "" });
    let patch = json!({ "status": { "conditions": [condition] } });
    api.patch_approval(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

pub(crate) async fn a_csr_of_kubernetes_is_signed_with_the_key_beside_the_issuer(space: Space) {
    space.make::<Issuer>("self", json!({ "spec": { "selfSigned": {} } })).await;
    let cluster: Api<countersign_crds::ClusterIssuer> = Api::all(space.client.clone());
    let own = format!("{}-self", space.namespace);
    make_in(&cluster, &own, json!({ "spec": { "selfSigned": {} } })).await;
    let signers = [
        (format!("issuers.countersign.dev/{}.self", space.namespace), space.namespace.as_str()),
        (format!("clusterissuers.countersign.dev/{own}"), HOME),
    ];
    let api: Api<CertificateSigningRequest> = Api::all(space.client.clone());
    let events: Api<Event> = Api::namespaced(space.client.clone(), "default");
    let is_signed = |request: &CertificateSigningRequest| {
        request.status.as_ref().is_some_and(|status| status.certificate.is_some())
    };
    for (place, (signer, namespace)) in signers.iter().enumerate() {
        let secrets: Api<Secret> = Api::namespaced(space.client.clone(), namespace);
        let (key, csr) = csr(KeyAlgorithm::EcdsaP256, &named());
        for case in ["late", "empty"] {
            let name = format!("{}-{case}-{place}", space.namespace);
            if case == "empty" {
                make_in(&secrets, &name, json!({ "data": {} })).await;
            }
            approved(&space, &name, signer, &csr).await;
            event_in(&events, &name, "says why", |told| told == "PrivateKeyNotUsable").await;
            make_in(&secrets, &name, data(&key)).await;
            let done = when_in(&api, &name, "is signed", is_signed).await;
            let chain = done.status.unwrap().certificate.unwrap().0;
            let facts = CertificateFacts::from_pem(&chain).unwrap();
            assert!(facts.is_self_signed() && facts.matches_key(&key), "{name}");
            api.delete(&done.metadata.name.unwrap(), &DeleteParams::default()).await.unwrap();
        }
        let name = format!("{}-other-{place}", space.namespace);
        make_in(&secrets, &name, data(&generate_key(KeyAlgorithm::EcdsaP256).unwrap())).await;
        approved(&space, &name, signer, &csr).await;
        event_in(&events, &name, "says why", |told| told == "PrivateKeyNotUsable").await;
        let waiting = api.get(&name).await.unwrap();
        assert!(!is_signed(&waiting));
        api.delete(&name, &DeleteParams::default()).await.unwrap();
    }
}
