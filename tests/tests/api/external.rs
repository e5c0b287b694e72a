//! Issuers of others, and issuers of ours where somebody must approve.

use countersign_crds::{Certificate, CertificateRequest, ConditionStatus};
use countersign_operator::pki::{Authority, BACKDATE, Template, clamp_lifetime, parse_csr, sign};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::space::{Space, condition, facts, is_pair, leaf, revision, text};

pub(crate) fn foreign() -> Value {
    json!({ "name": "theirs", "kind": "StepIssuer", "group": "example.org" })
}

/// The request that a Certificate has for a revision.
pub(crate) async fn request(space: &Space, name: &str) -> CertificateRequest {
    space.when(name, "is made", |_: &CertificateRequest| true).await
}

pub(crate) async fn say(space: &Space, name: &str, status: Value) {
    let patch = Patch::Merge(json!({ "status": status }));
    let api = space.api::<CertificateRequest>();
    api.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

pub(crate) fn saying(type_: &str, status: &str, reason: &str) -> Value {
    json!({ "type": type_, "status": status, "reason": reason, "message": format!("{reason} it is") })
}

/// What an issuer of somebody else's does: here with the authority of the test.
pub(crate) async fn sign_as_external_issuer(space: &Space, request: &CertificateRequest) {
    let secret = space.secret("intermediate").await;
    let ca = text(&secret, "ca.crt");
    let (crt, key) = (text(&secret, "tls.crt"), text(&secret, "tls.key"));
    let authority = Authority::from_pems(crt, key, Some(ca)).unwrap();
    let csr = parse_csr(&request.spec.request.0).unwrap();
    let now = jiff_now(space).await;
    let lifetime = std::time::Duration::from_secs(3600);
    let validity = clamp_lifetime(now, lifetime, BACKDATE, Some(authority.validity()));
    let template = Template::new(csr.request, validity).unwrap();
    let der = sign(&template, &csr.public_key_spki, &authority).unwrap();
    let chain = ByteString(authority.leaf_chain_pem(&der).into_bytes());
    let ca = ByteString(authority.ca_pem().into_bytes());
    let status = json!({
        "conditions": [saying("Approved", "True", "Human"), saying("Ready", "True", "Issued")],
        "certificate": chain, "ca": ca,
    });
    say(space, &request.name_any(), status).await;
}

/// The time of the API server, from an object that it made last.
pub(crate) async fn jiff_now(space: &Space) -> jiff::Timestamp {
    let made: Secret =
        space.make("clock", json!({ "metadata": { "annotations": { "at": "now" } } })).await;
    made.managed_fields()[0].time.as_ref().unwrap().0
}

pub(crate) async fn an_issuer_of_others_signs_through_a_certificate_request(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let spec = leaf("web", json!({ "issuerRef": foreign(), "duration": "1h" }));
    let labels = json!({ "labels": { "team": "shop" }, "annotations": { "example.org/a": "b" } });
    space.make::<Certificate>("web", json!({ "metadata": labels, "spec": spec })).await;
    let asked = request(&space, "web-1").await;
    assert_eq!(asked.spec.issuer_ref.kind.as_deref(), Some("StepIssuer"));
    assert_eq!(asked.labels()["team"], "shop");
    assert_eq!(asked.annotations()["example.org/a"], "b");
    assert_eq!(asked.annotations()["countersign.dev/certificate-revision"], "1");
    sign_as_external_issuer(&space, &asked).await;
    let done = space.ready("web").await;
    assert_eq!(revision(&done), Some(1));
    let secret = space.secret("web").await;
    assert!(is_pair(&secret));
    assert_eq!(secret.annotations()["countersign.dev/issuer-group"], "example.org");
    // A renewal makes the next request, and takes the one before it away.
    space.change::<Certificate>("web", json!({ "spec": { "dnsNames": ["www.test"] } })).await;
    let asked = request(&space, "web-2").await;
    assert!(facts(&space.secret("web").await).says.dns_names.contains(&"web.test".to_owned()));
    sign_as_external_issuer(&space, &asked).await;
    space.certificate_when("web", "is renewed", |one| revision(one) == Some(2)).await;
    assert_eq!(facts(&space.secret("web").await).says.dns_names, ["www.test"]);
    let left = space.api::<CertificateRequest>().list(&ListParams::default()).await.unwrap();
    let left: Vec<_> = left.iter().map(ResourceExt::name_any).collect();
    assert_eq!(left, ["web-2"]);
}

pub(crate) async fn what_an_issuer_of_others_signs_wrongly_is_never_stored(space: Space) {
    space.authority().await;
    space.certificate("other", json!({})).await;
    let other = ByteString(text(&space.secret("other").await, "tls.crt").to_vec());
    let cases = [
        ("garbage", ByteString(b"garbage".to_vec()), "reading back what was signed"),
        ("anothers", other, "not for the key that was made"),
    ];
    for (name, signed, why) in cases {
        let spec = leaf(name, json!({ "issuerRef": foreign() }));
        space.make::<Certificate>(name, json!({ "spec": spec })).await;
        request(&space, &format!("{name}-1")).await;
        let conditions = [saying("Approved", "True", "Human"), saying("Ready", "True", "Issued")];
        let status = json!({ "conditions": conditions, "certificate": signed });
        say(&space, &format!("{name}-1"), status).await;
        let told = |certificate: &Certificate| {
            condition(certificate, "Issuing").is_some_and(|issuing| {
                issuing.reason.as_deref() == Some("InvalidCertificate")
                    && issuing.message.as_deref().is_some_and(|text| text.contains(why))
            })
        };
        let failed = space.certificate_when(name, "says why", told).await.status.unwrap();
        assert_eq!((failed.failed_issuance_attempts, failed.revision), (Some(1), None), "{name}");
        assert!(space.api::<Secret>().get_opt(name).await.unwrap().is_none(), "{name}");
        let made = space.api::<CertificateRequest>().list(&ListParams::default()).await.unwrap();
        let its = made.iter().filter(|one| one.name_any().starts_with(name)).count();
        assert_eq!(its, 1, "{name}: it is not asked again and again");
    }
}

pub(crate) async fn a_refused_request_is_told_and_leaves_the_valid_secret(space: Space) {
    space.authority().await;
    let before = space.certificate("web", json!({})).await;
    let old = space.secret("web").await;
    assert_eq!(revision(&before), Some(1));
    space.change::<Certificate>("web", json!({ "spec": { "issuerRef": foreign() } })).await;
    request(&space, "web-2").await;
    let refused = json!({ "conditions": [saying("Denied", "True", "NotOnMyWatch")] });
    say(&space, "web-2", refused).await;
    let told = |certificate: &Certificate| {
        condition(certificate, "Issuing").is_some_and(|issuing| {
            issuing.status == ConditionStatus::False
                && issuing.reason.as_deref() == Some("NotOnMyWatch")
        })
    };
    let failed = space.certificate_when("web", "says why", told).await;
    let status = failed.status.unwrap();
    assert_eq!(status.failed_issuance_attempts, Some(1));
    assert!(status.last_failure_time.is_some());
    assert_eq!(old.resource_version(), space.secret("web").await.resource_version());
    space.event("web", "says why", |reason| reason == "NotOnMyWatch").await;
}

pub(crate) async fn a_request_that_takes_its_time_survives_a_restart(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let spec = leaf("web", json!({ "issuerRef": foreign() }));
    space.make::<Certificate>("web", json!({ "spec": spec })).await;
    let asked = request(&space, "web-1").await;
    let kept = |certificate: &Certificate| {
        certificate.status.as_ref().is_some_and(|s| s.next_private_key_secret_name.is_some())
    };
    let waiting = space.certificate_when("web", "has its key kept", kept).await;
    let issuing = condition(&waiting, "Issuing").unwrap();
    assert!(issuing.message.as_ref().unwrap().contains("web-1"), "{issuing:?}");
    space.world.restart_operator().await;
    sign_as_external_issuer(&space, &asked).await;
    let done = space.ready("web").await;
    assert!(is_pair(&space.secret("web").await));
    assert_eq!(done.status.unwrap().next_private_key_secret_name, None);
    let name = waiting.status.unwrap().next_private_key_secret_name.unwrap();
    assert!(text(&space.secret(&name).await, "tls.key").is_empty(), "the key is kept once only");
    let same: CertificateRequest = space.api().get("web-1").await.unwrap();
    assert_eq!(same.uid(), asked.uid());
}

pub(crate) async fn a_temporary_certificate_holds_the_place_of_a_better_one(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let temporary = json!({ "annotations": {
        "countersign.dev/issue-temporary-certificate": "true",
    } });
    let spec = leaf("web", json!({ "issuerRef": foreign() }));
    space.make::<Certificate>("web", json!({ "metadata": temporary, "spec": spec })).await;
    let there = space.when::<Secret>("web", "is there", |_| true).await;
    assert!(is_pair(&there));
    assert!(!facts(&there).is_self_signed());
    assert_eq!(facts(&there).issuer_text(), "CN=countersign.local");
    let asked = request(&space, "web-1").await;
    let unready = |certificate: &Certificate| {
        condition(certificate, "Ready").and_then(|ready| ready.reason.as_deref())
            == Some("TemporaryCertificate")
    };
    space.certificate_when("web", "says that nobody trusts it", unready).await;
    sign_as_external_issuer(&space, &asked).await;
    space.ready("web").await;
    let better = space.secret("web").await;
    assert_ne!(facts(&better).issuer_text(), "CN=countersign.local");
    assert!(!better.annotations().contains_key("countersign.dev/temporary"));
}
