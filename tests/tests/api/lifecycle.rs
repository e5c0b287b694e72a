//! What becomes of Certificates, their Secrets and their issuers over time.

use std::io::Write;
use std::process::Stdio;

use countersign_crds::{Certificate, CertificateRequest, Issuer};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::space::{Space, condition, facts, is_pair, leaf, revision, text};

fn foreign() -> Value {
    json!({ "name": "theirs", "kind": "StepIssuer", "group": "example.org" })
}

pub(crate) async fn a_certificate_that_is_being_deleted_makes_nothing_more(space: Space) {
    space.authority().await;
    space.certificate("ours", json!({})).await;
    let spec = leaf("theirs", json!({ "issuerRef": foreign() }));
    space.make::<Certificate>("theirs", json!({ "spec": spec })).await;
    space.when::<CertificateRequest>("theirs-1", "is made", |_| true).await;
    let (certificates, requests) = (space.api::<Certificate>(), space.api::<CertificateRequest>());
    // What owns something that is still there stays until that is gone.
    for name in ["ours", "theirs"] {
        certificates.delete(name, &DeleteParams::foreground()).await.unwrap();
        assert!(certificates.get(name).await.unwrap().metadata.deletion_timestamp.is_some());
    }
    space.api::<Secret>().delete("ours", &DeleteParams::default()).await.unwrap();
    requests.delete("theirs-1", &DeleteParams::default()).await.unwrap();
    // What comes later is done: those were looked at.
    space.certificate("marker", json!({})).await;
    assert!(space.api::<Secret>().get_opt("ours").await.unwrap().is_none());
    assert!(space.api::<Secret>().get_opt("theirs").await.unwrap().is_none());
    assert!(requests.list(&ListParams::default()).await.unwrap().items.is_empty());
}

pub(crate) async fn nothing_is_said_or_tried_in_a_namespace_that_ends(space: Space) {
    space.authority().await;
    let before = space.certificate("web", json!({})).await;
    let namespaces: Api<Namespace> = Api::all(space.client.clone());
    namespaces.delete(&space.namespace, &DeleteParams::default()).await.unwrap();
    space.api::<Secret>().delete("web", &DeleteParams::default()).await.unwrap();
    let elsewhere = Space::new(&space.world, "elsewhere").await;
    elsewhere.authority().await;
    elsewhere.certificate("marker", json!({})).await;
    let after: Certificate = space.api().get("web").await.unwrap();
    assert_eq!(before.resource_version(), after.resource_version());
    assert!(space.api::<Secret>().get_opt("web").await.unwrap().is_none());
}

pub(crate) async fn a_secret_that_somebody_else_made_is_taken_over_with_what_is_in_it(
    space: Space,
) {
    space.authority().await;
    let old = space.certificate("old", json!({})).await;
    let issued = space.secret("old").await;
    // As cert-manager left it, or somebody who writes Secrets by hand.
    let theirs = json!({
        "type": "Opaque",
        "metadata": {
            "labels": { "controller.cert-manager.io/fao": "true", "team": "shop" },
            "annotations": { "cert-manager.io/certificate-name": "web", "note": "kept" },
        },
        "data": { "tls.key": issued.data.as_ref().unwrap()["tls.key"], "more": "b3RoZXI=" },
    });
    for (name, policy) in [("always", "Always"), ("never", "Never")] {
        let before: Secret = space.make(name, theirs.clone()).await;
        let key = json!({ "algorithm": "ECDSA", "rotationPolicy": policy });
        let spec = leaf(name, json!({ "privateKey": key }));
        space.make::<Certificate>(name, json!({ "spec": spec })).await;
        // Nobody has handed it over.
        space.certificate_when(name, "is refused", is_not_adopted).await;
        let same = space.secret(name).await;
        assert_eq!(same.resource_version(), before.resource_version());
        let adopt = json!({ "metadata": { "annotations": { "countersign.dev/adopt": name } } });
        space.change::<Secret>(name, adopt).await;
        space.ready(name).await;
        let secret = space.secret(name).await;
        assert!(is_pair(&secret));
        assert_eq!(secret.type_.as_deref(), Some("Opaque"), "the type of a Secret never changes");
        assert_eq!(text(&secret, "more"), b"other");
        assert_eq!(secret.labels()["team"], "shop");
        assert_eq!(secret.annotations()["note"], "kept");
        assert_eq!(secret.annotations()["countersign.dev/certificate-name"], name);
        let is_the_same = text(&secret, "tls.key") == text(&issued, "tls.key");
        assert_eq!(is_the_same, policy == "Never", "{policy}");
        space.change::<Certificate>(name, json!({ "spec": { "dnsNames": ["www.test"] } })).await;
        let again = space.ready(name).await;
        assert_eq!(revision(&again), Some(2));
    }
    assert_eq!(revision(&old), Some(1));
}

/// Whether a Certificate says that its Secret is another's.
pub(crate) fn is_not_adopted(certificate: &Certificate) -> bool {
    let ready = condition(certificate, "Ready").and_then(|ready| ready.reason.as_deref());
    ready == Some("SecretNotAdopted")
}

pub(crate) async fn another_secret_name_is_another_secret_and_the_old_one_stays(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let old = space.secret("web").await;
    space.change::<Certificate>("web", json!({ "spec": { "secretName": "other" } })).await;
    let moved = space.ready("web").await;
    assert_eq!(revision(&moved), Some(2));
    let new = space.secret("other").await;
    assert!(is_pair(&new) && facts(&new).serial != facts(&old).serial);
    assert_eq!(old.resource_version(), space.secret("web").await.resource_version());
}

pub(crate) async fn certificates_that_named_one_secret_are_ready_once_each_names_its_own(
    space: Space,
) {
    space.authority().await;
    space.ready("intermediate").await;
    let names = ["one", "two", "three"];
    for (name, algorithm) in names.iter().zip(["ECDSA", "RSA", "ECDSA"]) {
        let key = json!({ "algorithm": algorithm });
        let spec = leaf(name, json!({ "secretName": "shared", "privateKey": key }));
        space.make::<Certificate>(name, json!({ "spec": spec })).await;
    }
    let says = |certificate: &Certificate| {
        condition(certificate, "Ready").and_then(|ready| ready.reason.clone()).unwrap_or_default()
    };
    let mut reasons = Vec::new();
    for name in names {
        let settled = |it: &Certificate| ["Ready", "DuplicateSecretName"].contains(&&*says(it));
        reasons.push(says(&space.certificate_when(name, "is settled", settled).await));
    }
    assert_eq!(reasons.iter().filter(|reason| *reason == "Ready").count(), 1, "{reasons:?}");
    assert_eq!(revision(&space.api().get("one").await.unwrap()), Some(1), "the first keeps it");
    for (place, name) in names.iter().enumerate() {
        let spec = json!({ "spec": { "secretName": format!("unique-{place}") } });
        space.change::<Certificate>(name, spec).await;
    }
    for name in names {
        space.ready(name).await;
    }
}

pub(crate) async fn an_issuer_that_comes_back_is_used_again(space: Space) {
    space.authority().await;
    let before = space.certificate("before", json!({})).await;
    space.api::<Issuer>().delete("ca", &DeleteParams::default()).await.unwrap();
    let waits = |certificate: &Certificate| {
        let message = condition(certificate, "Issuing").and_then(|it| it.message.as_deref());
        message.is_some_and(|text| text.contains("Issuer ca does not exist"))
    };
    // Of two watches one may be late: what is asked for just after the deletion may still be signed.
    let mut number = 0;
    let after = loop {
        number += 1;
        let name = format!("after-{number}");
        let spec = leaf(&name, json!({}));
        space.make::<Certificate>(&name, json!({ "spec": spec })).await;
        tokio::select! {
            _ = space.certificate_when(&name, "waits", waits) => break name,
            _ = space.ready(&name) => {}
        }
    };
    space.event(&after, "says why", |reason| reason == "IssuerNotFound").await;
    space.make::<Issuer>("ca", json!({ "spec": { "ca": { "secretName": "intermediate" } } })).await;
    space.ready(&after).await;
    let same = space.api::<Certificate>().get("before").await.unwrap();
    assert_eq!(revision(&same), revision(&before), "what is valid stays");
}

pub(crate) async fn what_an_approver_denies_is_told_in_their_words(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let policy = json!({ "approval": "Required" });
    let issuer = json!({ "spec": { "ca": { "secretName": "intermediate", "policy": policy } } });
    space.make::<Issuer>("strict", issuer).await;
    let spec = leaf("web", json!({ "issuerRef": { "name": "strict" } }));
    space.make::<Certificate>("web", json!({ "spec": spec })).await;
    space.when::<CertificateRequest>("web-1", "is made", |_| true).await;
    let denied = json!({ "type": "Denied", "status": "True", "reason": "NotOnMyWatch",
        "message": "no printers" });
    let patch = Patch::Merge(json!({ "status": { "conditions": [denied] } }));
    let requests = space.api::<CertificateRequest>();
    requests.patch_status("web-1", &PatchParams::default(), &patch).await.unwrap();
    let told = |certificate: &Certificate| {
        let issuing = condition(certificate, "Issuing");
        issuing.is_some_and(|it| {
            it.reason.as_deref() == Some("NotOnMyWatch")
                && it.message.as_deref().is_some_and(|text| text.contains("no printers"))
        })
    };
    let failed = space.certificate_when("web", "is told", told).await.status.unwrap();
    assert_eq!(failed.failed_issuance_attempts, Some(1));
    assert!(failed.last_failure_time.is_some());
    let says_denied = |request: &CertificateRequest| {
        let mut conditions = request.status.iter().flat_map(|status| &status.conditions);
        conditions.any(|it| it.type_ == "Ready" && it.reason.as_deref() == Some("Denied"))
    };
    let request = space.when("web-1", "says so, too", says_denied).await;
    assert!(request.status.unwrap().failure_time.is_some());
    // A spec that changed is asked for at once.
    space.change::<Certificate>("web", json!({ "spec": { "dnsNames": ["www.test"] } })).await;
    let asks_anew = |request: &CertificateRequest| {
        request.status.as_ref().is_none_or(|status| status.conditions.is_empty())
    };
    space.when::<CertificateRequest>("web-1", "is made anew", asks_anew).await;
}

/// As people have them, but for the group.
const MANIFESTS: &str = include_str!("../../manifests/cert-manager.yaml");

pub(crate) async fn manifests_of_cert_manager_work_with_another_group(space: Space) {
    let manifests = MANIFESTS.replace("cert-manager.io", "countersign.dev");
    let manifests = manifests.replace("NAMESPACE", &space.namespace);
    space.world.apply(&manifests).expect("they are accepted");
    for name in ["root", "web", "java", "limited", "short", "kept"] {
        space.ready(name).await;
    }
    let secret = space.secret("web-tls").await;
    let keys: Vec<_> = secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["ca.crt", "key.der", "tls-combined.pem", "tls.crt", "tls.key"]);
    let leaf = facts(&secret);
    assert_eq!(leaf.says.dns_names, ["web.example.com", "*.web.example.com"]);
    assert_eq!(leaf.says.subject.organizations, ["Example"]);
    assert_eq!(secret.annotations()["reloader.example.org/watch"], "true");
    assert_eq!(secret.labels()["team"], "web");
    assert_eq!(secret.annotations()["countersign.dev/issuer-kind"], "Issuer");
    let java = space.secret("java-tls").await;
    for key in ["keystore.jks", "truststore.jks", "keystore.p12", "truststore.p12"] {
        assert!(!text(&java, key).is_empty(), "{key}");
    }
    let limits = facts(&space.secret("limited-tls").await).says.name_constraints;
    assert_eq!(limits.expect("it has some").permitted.dns_domains, ["example.com"]);
}

pub(crate) async fn a_certificate_is_renewed_in_its_windows_or_not_at_all(space: Space) {
    space.authority().await;
    let windows = |zone: &str| {
        json!({ "renewal": { "policy": "RenewBefore", "windows": [
        { "cron": "0 2 * * *", "windowDuration": "1h", "timezone": zone },
    ] } })
    };
    let never = json!({ "renewal": { "policy": "Disabled" } });
    for (name, spec) in [("night", windows("Asia/Tokyo")), ("utc", windows("")), ("never", never)] {
        let certificate = space.certificate(name, spec).await;
        let renewal = certificate.status.unwrap().renewal_time;
        let Some(renewal) = renewal else {
            assert_eq!(name, "never");
            continue;
        };
        let hour = renewal.0.to_zoned(jiff::tz::TimeZone::UTC).hour();
        assert_eq!(hour, if name == "utc" { 2 } else { 17 }, "{name}");
    }
    let spec = leaf("nowhere", windows("Europe/Atlantis"));
    space.make::<Certificate>("nowhere", json!({ "spec": spec })).await;
    let told = |certificate: &Certificate| {
        let message = condition(certificate, "Ready").and_then(|ready| ready.message.as_deref());
        message.is_some_and(|text| text.contains("spec.renewal.windows.timezone"))
    };
    space.certificate_when("nowhere", "is told", told).await;
}

pub(crate) async fn a_leaf_never_outlives_its_authority_and_is_issued_once(space: Space) {
    space.authority().await;
    let brief = json!({ "isCA": true, "commonName": "brief", "duration": "1h",
        "dnsNames": [], "issuerRef": { "name": "root" } });
    space.certificate("brief", brief).await;
    space.make::<Issuer>("brief", json!({ "spec": { "ca": { "secretName": "brief" } } })).await;
    let of_brief = json!({ "issuerRef": { "name": "brief" }, "duration": "2160h" });
    let certificate = space.certificate("web", of_brief).await;
    let (leaf, authority) = (space.secret("web").await, space.secret("brief").await);
    let (leaf, authority) = (facts(&leaf).validity, facts(&authority).validity);
    assert!(authority.not_before <= leaf.not_before && leaf.not_after == authority.not_after);
    let made = certificate.creation_timestamp().unwrap().0;
    assert!(leaf.not_before < made, "clocks differ");
    space.certificate("marker", json!({})).await;
    assert_eq!(revision(&space.api().get("web").await.unwrap()), Some(1));
}

pub(crate) async fn a_manifest_is_applied_again_without_a_change(space: Space) {
    space.authority().await;
    let manifest = json!({ "apiVersion": "countersign.dev/v1", "kind": "Certificate",
        "metadata": { "name": "web", "namespace": space.namespace },
        "spec": leaf("web", json!({ "duration": "2160h0m0s", "subject": {} })) });
    let manifest = manifest.to_string();
    space.world.apply(&manifest).expect("it is accepted");
    let before = space.ready("web").await;
    let said = space.world.apply(&manifest).expect("it is accepted");
    assert!(said.contains("unchanged"), "{said}");
    let mut kubectl = space.world.command("kubectl");
    kubectl.args([
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=flux",
        "-f",
        "-",
    ]);
    let mut applying = kubectl.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    applying.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
    assert!(applying.wait().unwrap().success());
    space.certificate("marker", json!({})).await;
    let after: Certificate = space.api().get("web").await.unwrap();
    assert_eq!(revision(&after), Some(1));
    assert_eq!(after.metadata.generation, before.metadata.generation);
    assert_eq!(after.status, before.status);
}
