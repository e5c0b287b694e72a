//! Authorities that are replaced, and what they signed.

use countersign_crds::{Certificate, CertificateRequest, ConditionStatus, Issuer};
use countersign_operator::pki::{
    CertificateFacts, KeyAlgorithm, KeyEncoding, Request, Template, Validity, certificates_to_pem,
    fingerprint_of, generate_key, parse_csr, self_sign,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::history::versions_since;
use crate::requests::{decided, openssl_csr_with, request};
use crate::space::{Space, condition, facts, is_pair, leaf, revision, text};

/// The data of a Secret with a new root of this name, as a user brings one.
fn root(name: &str) -> Value {
    root_above(name, None)
}

/// The same, below which so many authorities may follow.
fn root_above(name: &str, path_len: Option<u8>) -> Value {
    let key = generate_key(KeyAlgorithm::EcdsaP256).unwrap();
    let at = |text: &str| text.parse().unwrap();
    let validity =
        Validity { not_before: at("2024-01-01T00:00:00Z"), not_after: at("2124-01-01T00:00:00Z") };
    let common_name = Some(name.to_owned());
    let request = Request { common_name, is_ca: true, ..Request::default() };
    let mut template = Template::new(request, validity).unwrap();
    template.path_len = path_len;
    let der = self_sign(&template, &key).unwrap();
    let bytes = |text: &str| serde_json::to_value(ByteString(text.as_bytes().to_vec())).unwrap();
    let key = key.to_pem(KeyEncoding::Pkcs8).unwrap();
    json!({ "tls.crt": bytes(&certificates_to_pem([&der])), "tls.key": bytes(key.expose()) })
}

async fn press(space: &Space, data: &Value) {
    space.make::<Secret>("press", json!({ "data": data })).await;
    space.make::<Issuer>("press", json!({ "spec": { "ca": { "secretName": "press" } } })).await;
}

async fn signed_by_press(space: &Space, name: &str) -> Certificate {
    space.certificate(name, json!({ "issuerRef": { "name": "press" } })).await
}

fn is_ready(issuer: &Issuer) -> bool {
    let status = issuer.status.clone().unwrap_or_default();
    status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == ConditionStatus::True)
}

/// Whether the certificate in a Secret was signed by the last one in the `ca.crt` beside it.
fn chains(secret: &Secret) -> bool {
    let sent = CertificateFacts::all_from_pem(text(secret, "tls.crt")).unwrap();
    let root = CertificateFacts::from_pem(text(secret, "ca.crt")).unwrap();
    let path: Vec<_> = sent.iter().chain([&root]).collect();
    path.windows(2).all(|pair| pair[0] == pair[1] || pair[0].verify_issued_by(pair[1]))
}

fn signer_of(secret: &Secret) -> Option<String> {
    fingerprint_of(text(secret, "tls.crt"), Some(text(secret, "ca.crt")))
}

pub(crate) async fn what_a_replaced_authority_signed_is_issued_again_and_serves_meanwhile(
    space: Space,
) {
    press(&space, &root("the first")).await;
    let names = ["one", "two", "three", "four"];
    for name in names {
        signed_by_press(&space, name).await;
    }
    let before = space.secret("one").await;
    let start = before.metadata.resource_version.clone().unwrap();
    let first = space.when::<Issuer>("press", "is ready", is_ready).await.status.unwrap();
    assert_eq!(first.authority, signer_of(&before));
    assert!(first.not_after.is_some());
    space.change::<Secret>("press", json!({ "data": root("the second") })).await;
    let replaced = |issuer: &Issuer| {
        is_ready(issuer) && issuer.status.as_ref().unwrap().authority != first.authority
    };
    let second = space.when("press", "tells of the new authority", replaced).await.status.unwrap();
    space.event("press", "tells that it was replaced", |word| word == "AuthorityReplaced").await;
    for name in names {
        let signed = |one: &Certificate| one.status.as_ref().unwrap().authority == second.authority;
        let again = space.certificate_when(name, "was issued again", signed).await;
        assert_eq!(revision(&again), Some(2), "{name}");
        let secret = space.secret(name).await;
        assert_eq!(signer_of(&secret), second.authority, "{name}");
        assert_eq!(facts(&secret).issuer_text(), "CN=the second");
        assert!(chains(&secret), "{name}");
    }
    let written: Vec<Secret> = versions_since(&space, "one", &start).await;
    assert_eq!(written.len(), 1, "it was written once");
    assert!(written.iter().all(is_pair));
    for one in versions_since::<Certificate>(&space, "one", &start).await {
        let ready = condition(&one, "Ready").unwrap();
        assert_eq!(ready.status, ConditionStatus::True, "it is ready all the time");
    }
}

pub(crate) async fn a_renewed_hierarchy_is_issued_again_from_the_top_down(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let old = space.secret("web").await;
    let asked = json!({ "status": { "conditions": [
        { "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "a test" },
    ] } });
    let api = space.api::<Certificate>();
    let patch = Patch::Merge(asked);
    api.patch_status("root", &PatchParams::default(), &patch).await.unwrap();
    let new_root = |secret: &Secret| {
        text(secret, "ca.crt") != text(&old, "ca.crt") && chains(secret) && is_pair(secret)
    };
    let web = space.when("web", "chains to the new root", new_root).await;
    let (root, middle) = (space.secret("root").await, space.secret("intermediate").await);
    assert_eq!(text(&web, "ca.crt"), text(&root, "tls.crt"));
    assert_eq!(text(&middle, "ca.crt"), text(&root, "tls.crt"));
    // The same authorities as before would be told as the same: nothing is issued again for ever.
    let settled = space.ready("web").await;
    let issuer = space.when::<Issuer>("ca", "is ready", is_ready).await;
    assert_eq!(settled.status.unwrap().authority, issuer.status.unwrap().authority);
}

pub(crate) async fn an_issuer_that_can_sign_is_told_of_once(space: Space) {
    space.make::<Secret>("press", json!({ "data": root("the only one") })).await;
    let spec = json!({ "spec": { "ca": { "secretName": "press" } } });
    let made = space.make::<Issuer>("press", spec).await;
    signed_by_press(&space, "web").await;
    let start = made.metadata.resource_version.unwrap();
    let told: Vec<Issuer> = versions_since(&space, "press", &start).await;
    assert_eq!(told.len(), 1, "{told:?}");
}

pub(crate) async fn an_authority_below_which_none_may_follow_signs_leaves_only(space: Space) {
    press(&space, &root_above("the only one", Some(0))).await;
    signed_by_press(&space, "web").await;
    let authority =
        json!({ "issuerRef": { "name": "press" }, "isCA": true, "commonName": "below" });
    space.make::<Certificate>("below", json!({ "spec": leaf("below", authority) })).await;
    let told = |one: &Certificate| {
        let message = condition(one, "Issuing").and_then(|issuing| issuing.message.clone());
        message.is_some_and(|text| text.contains("path length allows no authority below it"))
    };
    let refused = space.certificate_when("below", "says why not", told).await;
    assert_eq!(refused.status.unwrap().failed_issuance_attempts, Some(1));
    assert!(space.api::<Secret>().get_opt("below").await.unwrap().is_none());
}

/// An authority of an Issuer, which may be an Issuer itself under its own name.
async fn ask_for_authority(space: &Space, name: &str, issuer: &str, length: Option<u8>) {
    let mut spec = json!({ "isCA": true, "commonName": name, "issuerRef": { "name": issuer } });
    if let Some(length) = length {
        spec["maxPathLength"] = json!(length);
    }
    space.make::<Certificate>(name, json!({ "spec": leaf(name, spec) })).await;
    let ca = json!({ "spec": { "ca": { "secretName": name } } });
    space.make::<Issuer>(name, ca).await;
}

/// Waits until a Certificate says that it was not signed, with these words.
async fn not_signed(space: &Space, name: &str, words: [&str; 2]) {
    let told = |one: &Certificate| {
        let message = condition(one, "Issuing").and_then(|issuing| issuing.message.clone());
        message.is_some_and(|text| words.iter().all(|word| text.contains(word)))
    };
    space.certificate_when(name, &format!("says {words:?}"), told).await;
    assert!(space.api::<Secret>().get_opt(name).await.unwrap().is_none(), "{name}");
}

pub(crate) async fn a_path_length_is_written_and_bounds_what_the_authority_signs(space: Space) {
    space.make::<Issuer>("self", json!({ "spec": { "selfSigned": {} } })).await;
    ask_for_authority(&space, "root", "self", Some(2)).await;
    // Without one of its own, it has what is left of its authority's.
    ask_for_authority(&space, "upper", "root", None).await;
    ask_for_authority(&space, "lower", "upper", Some(0)).await;
    for (name, length) in [("root", 2), ("upper", 1), ("lower", 0)] {
        space.ready(name).await;
        assert_eq!(facts(&space.secret(name).await).path_len, Some(length), "{name}");
    }
    ask_for_authority(&space, "below", "lower", None).await;
    let none = "path length allows no authority below it";
    not_signed(&space, "below", ["Issuer lower", none]).await;
    ask_for_authority(&space, "greedy", "root", Some(2)).await;
    let less = "a path length of 2 is asked for";
    not_signed(&space, "greedy", ["Issuer root", less]).await;
    space.certificate("web", json!({ "issuerRef": { "name": "lower" } })).await;
    let csr = |constraints: &str| {
        let csr = openssl_csr_with(&space, &[constraints, "keyUsage=critical,keyCertSign"]);
        let mut object = request(csr);
        object["spec"]["issuerRef"] = json!({ "name": "upper" });
        object["spec"]["isCA"] = json!(true);
        object["spec"]["usages"] = json!(["cert sign"]);
        object
    };
    let cases = [
        ("fits", "basicConstraints=critical,CA:TRUE,pathlen:0", Ok(Some(0))),
        ("says-nothing", "basicConstraints=critical,CA:TRUE", Ok(Some(0))),
        ("too-long", "basicConstraints=critical,CA:TRUE,pathlen:1", Err("path length of 1")),
        ("no-number", "basicConstraints=critical,CA:TRUE,pathlen:256", Err("path length of 256")),
    ];
    for (name, constraints, expected) in cases {
        space.make::<CertificateRequest>(name, csr(constraints)).await;
        let status = decided(&space, name).await.status.unwrap();
        let signed = status.certificate.map(|pem| CertificateFacts::from_pem(&pem.0).unwrap());
        match expected {
            Ok(length) => assert_eq!(signed.expect(name).path_len, length, "{name}"),
            Err(words) => {
                let said = format!("{:?}", status.conditions);
                assert!(signed.is_none() && said.contains(words), "{name}: {said}");
            }
        }
    }
}

pub(crate) async fn a_path_length_is_carried_by_the_request_and_one_that_goes_is_reissued(
    space: Space,
) {
    space.authority().await;
    space.ready("intermediate").await;
    let rule = json!({ "name": "all", "isCA": true, "commonNames": ["*"], "dnsNames": ["*"] });
    let policy = json!({ "approval": "Required", "allow": [rule] });
    let ca = json!({ "secretName": "root", "policy": policy });
    space.make::<Issuer>("strict", json!({ "spec": { "ca": ca } })).await;
    let spec = json!({ "isCA": true, "commonName": "asked", "maxPathLength": 1,
        "issuerRef": { "name": "strict" } });
    space.make::<Certificate>("asked", json!({ "spec": leaf("asked", spec) })).await;
    let is_asked = |_: &CertificateRequest| true;
    let asked = space.when("asked-1", "is there", is_asked).await;
    assert_eq!(parse_csr(&asked.spec.request.0).unwrap().request.path_len, Some(1));
    approve(&space, "asked-1").await;
    space.ready("asked").await;
    assert_eq!(facts(&space.secret("asked").await).path_len, Some(1));
    let none = json!({ "spec": { "maxPathLength": null } });
    space.change::<Certificate>("asked", none).await;
    space.when("asked-2", "is there", is_asked).await;
    approve(&space, "asked-2").await;
    space.ready("asked").await;
    assert_eq!(facts(&space.secret("asked").await).path_len, None);
}

pub(crate) async fn approve(space: &Space, name: &str) {
    let approved = json!({ "status": { "conditions": [{
        "type": "Approved", "status": "True", "reason": "Seen", "message": "by a test",
    }] } });
    let api = space.api::<CertificateRequest>();
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(approved)).await.unwrap();
}

/// As an upgrade of the chart does it.
pub(crate) async fn an_intermediate_that_gets_a_path_length_leaves_the_root_trusted(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let (root, old) = (space.secret("root").await, space.secret("web").await);
    assert_eq!(facts(&space.secret("intermediate").await).path_len, None);
    space.change::<Certificate>("intermediate", json!({ "spec": { "maxPathLength": 0 } })).await;
    let is_new = |secret: &Secret| signer_of(secret) != signer_of(&old) && is_pair(secret);
    let new = space.when("web", "is signed by the new intermediate", is_new).await;
    let intermediate = space.secret("intermediate").await;
    assert_eq!(facts(&intermediate).path_len, Some(0));
    assert_eq!(text(&space.secret("root").await, "tls.crt"), text(&root, "tls.crt"));
    // What is in use and what replaces it lead to the same root: peers trust both meanwhile.
    for secret in [&old, &new] {
        assert_eq!(text(secret, "ca.crt"), text(&root, "tls.crt"));
        assert!(chains(secret));
    }
    ask_for_authority(&space, "below", "ca", None).await;
    not_signed(&space, "below", ["Issuer ca", "path length allows no authority below it"]).await;
}

pub(crate) async fn an_authority_that_comes_back_as_it_was_changes_nothing(space: Space) {
    let data = root("the only one");
    press(&space, &data).await;
    signed_by_press(&space, "web").await;
    let serial = facts(&space.secret("web").await).serial;
    space.api::<Secret>().delete("press", &DeleteParams::default()).await.unwrap();
    space.when::<Issuer>("press", "is not ready", |issuer| !is_ready(issuer)).await;
    let late = json!({ "spec": leaf("late", json!({ "issuerRef": { "name": "press" } })) });
    space.make::<Certificate>("late", late).await;
    let waits = |one: &Certificate| condition(one, "Issuing").is_some();
    space.certificate_when("late", "waits", waits).await;
    space.make::<Secret>("press", json!({ "data": data })).await;
    space.when::<Issuer>("press", "is ready", is_ready).await;
    space.ready("late").await;
    assert_eq!(revision(&space.ready("web").await), Some(1));
    assert_eq!(facts(&space.secret("web").await).serial, serial);
}

pub(crate) async fn whoever_breaks_a_secret_again_and_again_is_told_and_keeps_nobody_busy(
    space: Space,
) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let garbage = json!({ "data": { "tls.key": "Z2FyYmFnZQ==" } });
    let contested = |one: &Certificate| {
        let issuing = condition(one, "Issuing");
        issuing.is_some_and(|c| c.reason.as_deref() == Some("SecretContested"))
    };
    // An operator that was started anew, as other tests do it, begins to count anew.
    let told = loop {
        space.change::<Secret>("web", garbage.clone()).await;
        tokio::select! {
            told = space.certificate_when("web", "is contested", contested) => break told,
            _ = space.when("web", "is put right", is_pair) => {}
        }
    };
    let message = condition(&told, "Issuing").unwrap().message.clone().unwrap();
    assert!(message.contains("changes Secret web again and again"), "{message}");
    assert_eq!(condition(&told, "Ready").unwrap().status, ConditionStatus::False);
    assert!(revision(&told) >= Some(11), "{:?}", revision(&told));
    space.event("web", "says so", |word| word == "SecretContested").await;
    // Who wants something new gets it at once.
    let names = json!({ "spec": { "dnsNames": ["www.test"] } });
    space.change::<Certificate>("web", names).await;
    space.ready("web").await;
    assert!(is_pair(&space.secret("web").await));
}
