//! Malformed and hostile CSRs, PEM files and Secrets.

use std::sync::Arc;

use countersign_crds::{CertificateRequest, Condition, ConditionStatus, Issuer};
use countersign_operator::pki::{Authority, CertificateFacts};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::inputs;
use crate::approval::{install, refused};
use crate::requests::{openssl_csr, openssl_csr_with, request};
use crate::space::{Space, facts, make_in, text};
use crate::world::World;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    trials! { world, inputs::{
        issuer_with_glued_pem_keeps_its_root,
        issuer_that_would_lose_a_certificate_names_the_line,
        issuer_is_ready_whatever_an_unneeded_ca_crt_holds,
        issuer_with_cross_signed_root_gives_the_self_signed_one,
        csr_with_unknown_purpose_names_it,
        dns_name_with_a_dot_at_its_end_is_written_without_it,
        every_character_of_a_subject_is_signed,
        signing_request_cannot_become_a_ca_once_it_is_made,
    } }
}

/// The intermediate and the root of `space.authority()`, and the intermediate's key.
async fn bundle(space: &Space) -> [String; 3] {
    space.authority().await;
    space.ready("intermediate").await;
    let (own, root) = (space.secret("intermediate").await, space.secret("root").await);
    let of = |secret, key| String::from_utf8(text(secret, key).to_vec()).expect("PEM");
    [of(&own, "tls.crt"), of(&root, "tls.crt"), of(&own, "tls.key")]
}

/// An Issuer with a Secret of its own, both of this name.
async fn issuer(space: &Space, name: &str, crt: &str, key: &str, ca: Option<&[u8]>) {
    let encoded = |text: &[u8]| serde_json::to_value(ByteString(text.to_vec())).expect("JSON");
    let mut data =
        json!({ "tls.crt": encoded(crt.as_bytes()), "tls.key": encoded(key.as_bytes()) });
    if let Some(ca) = ca {
        data["ca.crt"] = encoded(ca);
    }
    space.make::<Secret>(name, json!({ "data": data })).await;
    space.make::<Issuer>(name, json!({ "spec": { "ca": { "secretName": name } } })).await;
}

/// Waits until an Issuer is ready, or is not, and returns what its condition says.
async fn says(space: &Space, name: &str, status: ConditionStatus) -> String {
    let is_it = |condition: &&Condition| condition.type_ == "Ready" && condition.status == status;
    let ready = |issuer: &Issuer| {
        let conditions = issuer.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().find(is_it).cloned()
    };
    let issuer = space.when(name, "says it", |issuer| ready(issuer).is_some()).await;
    ready(&issuer).and_then(|ready| ready.message).unwrap_or_default()
}

/// Has a leaf signed by an Issuer, and returns its Secret.
async fn signed_by(space: &Space, issuer: &str) -> Secret {
    let name = format!("{issuer}-leaf");
    space.certificate(&name, json!({ "issuerRef": { "name": issuer } })).await;
    space.secret(&name).await
}

pub(crate) async fn issuer_with_glued_pem_keeps_its_root(space: Space) {
    let [own, root, key] = bundle(&space).await;
    let glued = [
        ("glued", format!("{}{root}", own.trim_end())),
        ("blanks", format!("{own}  {root}")),
        ("marked", format!("\u{feff}{own}\u{feff}{root}")),
    ];
    for (name, crt) in glued {
        issuer(&space, name, &crt, &key, None).await;
        let secret = signed_by(&space, name).await;
        assert_eq!(text(&secret, "ca.crt"), root.as_bytes(), "{name}");
    }
}

pub(crate) async fn issuer_that_would_lose_a_certificate_names_the_line(space: Space) {
    let [own, root, key] = bundle(&space).await;
    let line = own.lines().count() + 1;
    let trusted = root.replace(" CERTIFICATE", " TRUSTED CERTIFICATE");
    let encrypted = key.replace(" EC PRIVATE", " ENCRYPTED PRIVATE");
    let cases = [
        ("trusted", format!("{own}{trusted}"), &key, format!("line {line}: section TRUSTED")),
        ("mark", format!("{own}# {root}"), &key, format!("line {line}: a BEGIN or END mark")),
        ("locked", own, &encrypted, "section ENCRYPTED PRIVATE KEY is encrypted".to_owned()),
    ];
    for (name, crt, key, wanted) in cases {
        issuer(&space, name, &crt, key, None).await;
        let said = says(&space, name, ConditionStatus::False).await;
        assert!(said.contains(&wanted), "{name}: {said}");
    }
}

pub(crate) async fn issuer_is_ready_whatever_an_unneeded_ca_crt_holds(space: Space) {
    let [own, root, key] = bundle(&space).await;
    let crt = format!("{own}{root}");
    for (name, ca) in [("newline", "\n"), ("words", "see the vault"), ("cut", &root[..200])] {
        issuer(&space, name, &crt, &key, Some(ca.as_bytes())).await;
        let said = says(&space, name, ConditionStatus::True).await;
        assert!(said.contains("ca.crt is not needed and not used"), "{name}: {said}");
    }
    assert_eq!(text(&signed_by(&space, "cut").await, "ca.crt"), root.as_bytes());
}

pub(crate) async fn issuer_with_cross_signed_root_gives_the_self_signed_one(space: Space) {
    let [own, root, key] = bundle(&space).await;
    let old = json!({ "spec": { "isCA": true, "commonName": "an older root", "secretName": "old",
        "privateKey": { "algorithm": "ECDSA" }, "issuerRef": { "name": "self" } } });
    space.make::<countersign_crds::Certificate>("old", old).await;
    space.ready("old").await;
    let old = space.secret("old").await;
    let old = Authority::from_pems(text(&old, "tls.crt"), text(&old, "tls.key"), None);
    let old = old.expect("an authority");
    let cross = cross_signed(&CertificateFacts::from_pem(root.as_bytes()).expect("a root"), &old);
    for (name, crt, ca) in [
        ("behind", format!("{own}{root}{cross}"), None),
        ("before", format!("{own}{cross}{root}"), None),
        ("apart", own, Some(format!("{cross}{root}"))),
    ] {
        issuer(&space, name, &crt, &key, ca.as_ref().map(String::as_bytes)).await;
        let secret = signed_by(&space, name).await;
        assert_eq!(text(&secret, "ca.crt"), root.as_bytes(), "{name}");
    }
}

/// The name and key of a root, signed by an older one.
fn cross_signed(root: &CertificateFacts, old: &Authority) -> String {
    use countersign_operator::pki::{Template, Validity, certificates_to_pem, sign};
    let not_after = root.validity.not_after.min(old.not_after());
    let validity = Validity { not_after, ..root.validity };
    let mut template = Template::new(root.says.clone(), validity).expect("a template");
    template.subject_der = Some(root.subject_der.clone());
    let signed = sign(&template, &root.public_key_spki, old).expect("a certificate");
    certificates_to_pem([&signed])
}

pub(crate) async fn csr_with_unknown_purpose_names_it(space: Space) {
    space.authority().await;
    let name = "subjectAltName=DNS:ann.test";
    for (request_name, extension, wanted) in [
        ("purpose", "extendedKeyUsage=clientAuth,1.3.6.1.4.1.311.20.2.2", "smart card logon"),
        ("critical", "1.2.3.4=critical,ASN1:NULL", "the critical extension 1.2.3.4"),
    ] {
        let csr = openssl_csr_with(&space, &[name, extension]);
        let mut object = request(csr);
        object["spec"]["usages"] = json!(["client auth"]);
        space.make::<CertificateRequest>(request_name, object).await;
        let failed = |request: &CertificateRequest| {
            let conditions = request.status.iter().flat_map(|status| &status.conditions);
            let failed = conditions.into_iter().find(|it| it.reason.as_deref() == Some("Failed"));
            failed.and_then(|failed| failed.message.clone())
        };
        let done = space.when(request_name, "has failed", |it| failed(it).is_some()).await;
        let message = failed(&done).unwrap_or_default();
        assert!(message.contains(wanted), "{message}");
    }
}

pub(crate) async fn dns_name_with_a_dot_at_its_end_is_written_without_it(space: Space) {
    space.authority().await;
    let names: Value = json!(["api.test.", "api.test", "*.api.test."]);
    space.certificate("dot", json!({ "dnsNames": names })).await;
    let leaf = facts(&space.secret("dot").await);
    assert_eq!(leaf.says.dns_names, ["api.test", "*.api.test"]);
}

pub(crate) async fn every_character_of_a_subject_is_signed(space: Space) {
    space.authority().await;
    let name = "who? \u{1f600} <a> * & \\ \"b\"";
    let spec = json!({ "commonName": name, "subject": { "organizations": ["?", "a?b"] } });
    space.certificate("odd", spec).await;
    let leaf = facts(&space.secret("odd").await);
    assert_eq!(leaf.says.common_name.as_deref(), Some(name));
    // It is still there, and signs for others.
    space.certificate("even", json!({})).await;
}

pub(crate) async fn signing_request_cannot_become_a_ca_once_it_is_made(space: Space) {
    install(&space).await;
    let requests: Api<CertificateSigningRequest> = Api::all(space.client.clone());
    let name = format!("{}-laptop", space.namespace);
    let csr = ByteString(openssl_csr(&space, "laptop.test"));
    let signer = format!("issuers.countersign.dev/{}.ca", space.namespace);
    let spec = json!({ "request": csr, "signerName": signer, "usages": ["digital signature"] });
    make_in(&requests, &name, json!({ "spec": spec })).await;
    let refusal = refused("an annotation that makes it a CA's", async |time| {
        let value = if time % 2 == 0 { "true" } else { "false" };
        let annotation = json!({ "experimental.countersign.dev/request-is-ca": value });
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotation } }));
        let patched = requests.patch(&name, &PatchParams::default(), &patch).await;
        patched.map_err(|error| error.to_string())
    })
    .await;
    assert!(refusal.contains("cannot change once"), "{refusal}");
    requests.delete(&name, &DeleteParams::default()).await.expect("it is deleted");
}
