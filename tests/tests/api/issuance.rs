//! From a Certificate to its Secret.

use std::process::Command;

use countersign_crds::Certificate;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::history::versions_since;
use crate::space::{Space, condition, facts, is_pair, leaf, revision, text};

pub(crate) async fn a_certificate_becomes_a_secret_whose_chain_openssl_verifies(space: Space) {
    space.authority().await;
    let certificate = space.certificate("web", json!({})).await;
    let secret = space.secret("web").await;
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
    let keys: Vec<_> = secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["ca.crt", "tls.crt", "tls.key"]);
    assert!(is_pair(&secret));
    let status = certificate.status.as_ref().unwrap();
    assert_eq!(status.not_after.as_ref().unwrap().0, facts(&secret).validity.not_after);
    assert!(status.renewal_time.as_ref().unwrap().0 < status.not_after.as_ref().unwrap().0);
    assert_eq!(revision(&certificate), Some(1));
    space.event("web", "says Issuing", |reason| reason == "Issuing").await;
    let folder = folder(&space);
    for key in ["tls.crt", "ca.crt"] {
        std::fs::write(folder.join(key), text(&secret, key)).unwrap();
    }
    let arguments =
        ["verify", "-x509_strict", "-CAfile", "ca.crt", "-untrusted", "tls.crt", "tls.crt"];
    let output = Command::new("openssl").args(arguments).current_dir(&folder).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A folder of a test's own.
pub(crate) fn folder(space: &Space) -> std::path::PathBuf {
    let name = format!("countersign-{}-{}", std::process::id(), space.namespace);
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

pub(crate) async fn an_issuance_is_two_writes(space: Space) {
    space.authority().await;
    space.certificate("before", json!({})).await;
    let start = space
        .api::<Secret>()
        .list_metadata(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let done = space.certificate("web", json!({})).await;
    // Whatever else it would write comes before what it writes for a later change.
    space.change::<Certificate>("before", json!({ "spec": { "dnsNames": ["marker.test"] } })).await;
    space.ready("before").await;
    let secret = space.secret("web").await;
    let written: Vec<Secret> = versions_since(&space, "web", &start).await;
    let written: Vec<_> = written.iter().map(ResourceExt::resource_version).collect();
    assert_eq!(written, [secret.resource_version()], "writes of the Secret");
    let written: Vec<Certificate> = versions_since(&space, "web", &start).await;
    let [created, finished] = written.as_slice() else {
        panic!("writes of the Certificate: {written:?}");
    };
    assert!(created.status.is_none());
    assert_eq!(finished.resource_version(), done.resource_version());
}

pub(crate) async fn a_certificate_waits_for_its_issuer_and_says_so(space: Space) {
    space.make::<Certificate>("web", json!({ "spec": leaf("web", json!({})) })).await;
    let named = |certificate: &Certificate| {
        let ready = condition(certificate, "Ready");
        ready.and_then(|ready| ready.message.as_ref()).is_some()
    };
    let waiting = space.certificate_when("web", "says why", named).await;
    let conditions = waiting.status.unwrap().conditions;
    let said = conditions.iter().filter_map(|condition| condition.message.as_deref());
    assert!(said.clone().any(|text| text.contains("ca")), "{:?}", said.collect::<Vec<_>>());
    assert!(space.api::<Secret>().get_opt("web").await.unwrap().is_none());
    space.authority().await;
    space.ready("web").await;
}

/// What `cmctl renew` writes, and what people are used to.
async fn ask_for_renewal(space: &Space, name: &str) {
    let asked = json!({ "status": { "conditions": [
        { "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "now" },
    ] } });
    let parameters = PatchParams::default();
    let patch = Patch::Merge(&asked);
    space.api::<Certificate>().patch_status(name, &parameters, &patch).await.unwrap();
}

pub(crate) async fn a_renewal_that_is_asked_for_happens_once(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let before = facts(&space.secret("web").await);
    ask_for_renewal(&space, "web").await;
    let renewed = |certificate: &Certificate| revision(certificate) == Some(2);
    space.certificate_when("web", "was renewed", renewed).await;
    let after = facts(&space.secret("web").await);
    assert_ne!(before.serial, after.serial);
    assert_ne!(before.public_key_spki, after.public_key_spki);
    // A second answer to the first wish would make this the fourth.
    ask_for_renewal(&space, "web").await;
    let renewed = |certificate: &Certificate| revision(certificate) > Some(2);
    space.certificate_when("web", "was renewed again", renewed).await;
    assert_eq!(revision(&space.ready("web").await), Some(3));
    // The same by an annotation, which takes no right to the status: each value once.
    for (value, expected) in [("one", 4), ("two", 5)] {
        let asked = json!({ "metadata": { "annotations": { "countersign.dev/renew-requested-at": value } } });
        space.change::<Certificate>("web", asked).await;
        let renewed = |certificate: &Certificate| revision(certificate) == Some(expected);
        space.certificate_when("web", "was renewed by annotation", renewed).await;
        let status = space.ready("web").await.status.unwrap();
        assert_eq!(status.renew_requested_at.as_deref(), Some(value));
        assert_eq!(status.revision, Some(expected));
    }
}

pub(crate) async fn a_certificate_is_renewed_before_it_expires(space: Space) {
    space.authority().await;
    let spec = json!({ "duration": "5m", "renewBefore": "4m28s" });
    space.certificate("web", spec).await;
    let first = facts(&space.secret("web").await);
    let renewed = |certificate: &Certificate| revision(certificate) >= Some(2);
    space.certificate_when("web", "was renewed", renewed).await;
    let second = facts(&space.secret("web").await);
    assert!(second.validity.not_after > first.validity.not_after);
}

pub(crate) async fn an_authority_with_limits_signs_only_within_them(space: Space) {
    space.authority().await;
    let limits = json!({ "critical": true, "permitted": { "dnsDomains": ["bank.test"] } });
    let authority = json!({ "isCA": true, "commonName": "limited", "nameConstraints": limits,
        "issuerRef": { "name": "root" } });
    let mut spec = leaf("limited", authority);
    spec.as_object_mut().unwrap().remove("dnsNames");
    space.make::<Certificate>("limited", json!({ "spec": spec })).await;
    space.ready("limited").await;
    let issuer = json!({ "spec": { "ca": { "secretName": "limited" } } });
    space.make::<countersign_crds::Issuer>("limited", issuer).await;
    let of_limited =
        |names: &[&str]| json!({ "issuerRef": { "name": "limited" }, "dnsNames": names });
    space.certificate("inside", of_limited(&["web.bank.test"])).await;
    let outside = leaf("outside", of_limited(&["web.shop.test"]));
    space.make::<Certificate>("outside", json!({ "spec": outside })).await;
    let told = |certificate: &Certificate| {
        let issuing = condition(certificate, "Issuing").and_then(|one| one.message.as_ref());
        issuing.is_some_and(|text| text.contains("web.shop.test"))
    };
    space.certificate_when("outside", "says which name", told).await;
    assert!(space.api::<Secret>().get_opt("outside").await.unwrap().is_none());
}

pub(crate) async fn a_literal_subject_and_other_names_are_in_the_certificate(space: Space) {
    space.authority().await;
    let spec = json!({ "literalSubject": "CN=web,OU=shop,O=bank", "otherNames": [
        { "oid": "1.3.6.1.4.1.311.20.2.3", "utf8Value": "web@bank.test" },
    ] });
    let done = space.certificate("web", spec).await;
    let leaf = facts(&space.secret("web").await);
    assert_eq!(leaf.says.other_names[0].utf8_value, "web@bank.test");
    assert_eq!(leaf.says.common_name.as_deref(), Some("web"));
    assert_eq!(revision(&done), Some(1));
}
