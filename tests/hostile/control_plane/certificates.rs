//! A holder of certificate rights and of none to Secrets, and a malicious external issuer.

use std::sync::Arc;

use countersign_crds::{Certificate, CertificateRequest, ConditionStatus, Issuer};
use countersign_operator::pki::{
    Authority, BACKDATE, Request, Template, clamp_lifetime, parse_csr, sign,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::approval;
use crate::cabundle::{FROM_CERTIFICATE, configuration, filled};
use crate::external::{foreign, jiff_now, request, say, saying, sign_as_external_issuer};
use crate::lifecycle::is_not_adopted;
use crate::requester;
use crate::requests::openssl_csr;
use crate::rights::{Right, may};
use crate::space::{Space, condition, identity_spec, is_pair, leaf, revision, text, until};
use crate::world::World;

use super::certificates;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        certificates::{
            certificate_does_not_overwrite_a_foreign_secret,
            certificate_deletion_leaves_a_foreign_secret,
            status_cannot_name_a_foreign_secret_as_next_key,
            next_key_does_not_overwrite_a_foreign_secret,
            answer_of_an_unapproved_request_is_not_stored,
            answer_with_another_name_is_refused,
            answer_that_is_a_ca_is_refused,
            answer_for_an_issuer_of_ours_must_be_of_its_ca,
            rsa_flood_leaves_identities_quick,
            rsa_key_above_the_limit_is_refused_with_field_and_flag,
            unreadable_kept_key_survives,
            request_name_squatting_does_not_block,
            request_that_goes_takes_its_key_along,
            only_signers_answer_requests_to_issuers_of_ours,
            successor_keeps_the_secret_of_a_renamed_certificate,
            changed_password_reaches_the_key_stores,
            deleted_identity_comes_back,
            ca_bundle_follows_a_changed_secret_name,
            format_that_another_client_wrote_first_stays,
        }
    }
}

/// A Secret that an application needs.
async fn password(space: &Space, name: &str) -> Secret {
    space.make::<Secret>(name, json!({ "stringData": { "password": "x" } })).await
}

async fn is_untouched(space: &Space, before: &Secret) {
    let after = space.secret(&before.name_any()).await;
    assert_eq!(after.resource_version(), before.resource_version());
    assert_eq!(after.data, before.data);
}

async fn self_signed(space: &Space) {
    space.make::<Issuer>("self", json!({ "spec": { "selfSigned": {} } })).await;
}

fn of_self(name: &str, mut spec: Value) -> Value {
    spec["issuerRef"] = json!({ "name": "self" });
    json!({ "spec": leaf(name, spec) })
}

pub(crate) async fn certificate_does_not_overwrite_a_foreign_secret(space: Space) {
    self_signed(&space).await;
    let tls = json!({ "type": "kubernetes.io/tls", "data": { "tls.crt": "", "tls.key": "" } });
    let victims = [password(&space, "db").await, space.make::<Secret>("tls", tls).await];
    let spare = password(&space, "spare").await;
    for victim in &victims {
        let name = victim.name_any();
        space.make::<Certificate>(&name, of_self(&name, json!({}))).await;
        space.certificate_when(&name, "is refused", is_not_adopted).await;
        space.event(&name, "says what to do", |reason| reason == "SecretNotAdopted").await;
        is_untouched(&space, victim).await;
    }
    // What a change of the Certificate asks for is refused, too; so is another Secret.
    let template = json!({ "spec": { "secretTemplate": { "labels": { "a": "b" } } } });
    space.change::<Certificate>("db", template).await;
    space.certificate("own", json!({ "issuerRef": { "name": "self" } })).await;
    space.change::<Certificate>("own", json!({ "spec": { "secretName": "spare" } })).await;
    space.certificate_when("own", "is refused", is_not_adopted).await;
    space.api::<Certificate>().delete("tls", &DeleteParams::default()).await.unwrap();
    space.certificate("marker", json!({ "issuerRef": { "name": "self" } })).await;
    for victim in victims.iter().chain([&spare]) {
        is_untouched(&space, victim).await;
    }
}

pub(crate) async fn certificate_deletion_leaves_a_foreign_secret(space: Space) {
    self_signed(&space).await;
    let victim = password(&space, "db").await;
    let delete = json!({ "secretDeletionPolicy": "Delete" });
    space.make::<Certificate>("db", of_self("db", delete.clone())).await;
    space.certificate_when("db", "is refused", is_not_adopted).await;
    space.api::<Certificate>().delete("db", &DeleteParams::default()).await.unwrap();
    is_untouched(&space, &victim).await;
    // One that was handed over is written to, and still goes with nothing.
    let adopted = json!({ "metadata": { "annotations": { "countersign.dev/adopt": "lent" } },
        "stringData": { "password": "x" } });
    space.make::<Secret>("lent", adopted).await;
    space.make::<Certificate>("lent", of_self("lent", delete.clone())).await;
    space.ready("lent").await;
    let lent = space.secret("lent").await;
    assert!(is_pair(&lent));
    assert_eq!((text(&lent, "password"), &lent.metadata.owner_references), (&b"x"[..], &None));
    // One that the operator made goes with its Certificate.
    space.make::<Certificate>("own", of_self("own", delete)).await;
    space.ready("own").await;
    assert_eq!(space.secret("own").await.owner_references().len(), 1);
}

/// What a Certificate would have asked for, as its attacker computes it.
fn digest(spec: &Value) -> String {
    let mut spec: countersign_crds::CertificateSpec = serde_json::from_value(spec.clone()).unwrap();
    spec.secret_name = String::new();
    countersign_operator::pki::sha256_hex(&serde_json::to_vec(&spec).unwrap())
}

pub(crate) async fn status_cannot_name_a_foreign_secret_as_next_key(space: Space) {
    let victim = password(&space, "db").await;
    let later = json!({ "name": "later", "kind": "Issuer", "group": "countersign.dev" });
    let spec = json!({ "commonName": "w", "secretName": "w", "issuerRef": later });
    let made = space.make::<Certificate>("w", json!({ "spec": spec })).await;
    let status = json!({ "status": { "nextPrivateKeySecretName": "db" } });
    let parameters = PatchParams::default();
    let certificates = space.api::<Certificate>();
    certificates.patch_status("w", &parameters, &Patch::Merge(&status)).await.unwrap();
    let owner = json!([{ "apiVersion": "countersign.dev/v1", "kind": "Certificate", "name": "w",
        "uid": made.uid() }]);
    let annotations = json!({ "countersign.dev/certificate-revision": "1",
        "countersign.dev/request-digest": digest(&spec) });
    let forged = json!({ "metadata": { "ownerReferences": owner, "annotations": annotations },
        "spec": { "request": "Z2FyYmFnZQ==", "issuerRef": later } });
    space.make::<CertificateRequest>("w-1", forged).await;
    let is_refused = |request: &CertificateRequest| {
        let conditions = request.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|c| c.reason.as_deref() == Some("Failed"))
    };
    space.when("w-1", "is refused", is_refused).await;
    let issuer = json!({ "spec": { "selfSigned": { "policy": { "approval": "Required" } } } });
    space.make::<Issuer>("later", issuer).await;
    let was_told = |one: &Certificate| {
        condition(one, "Issuing").is_some_and(|it| {
            !it.message.as_deref().unwrap_or_default().contains("does not exist; Issuer")
        })
    };
    space.certificate_when("w", "is decided about", was_told).await;
    is_untouched(&space, &victim).await;
}

pub(crate) async fn next_key_does_not_overwrite_a_foreign_secret(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let victim = password(&space, "web-1-next-private-key").await;
    space
        .make::<Certificate>(
            "web",
            json!({ "spec": leaf("web", json!({ "issuerRef": foreign() })) }),
        )
        .await;
    let asked = request(&space, "web-1").await;
    let waits = |one: &Certificate| condition(one, "Issuing").is_some();
    space.certificate_when("web", "waits", waits).await;
    is_untouched(&space, &victim).await;
    sign_as_external_issuer(&space, &asked).await;
    space.ready("web").await;
    is_untouched(&space, &victim).await;
}

/// An external issuer that signs something else than it was asked for, with the authority of the test.
async fn answer(space: &Space, name: &str, change: impl FnOnce(&mut Request)) -> Value {
    let asked = request(space, name).await;
    let secret = space.secret("intermediate").await;
    let (crt, key) = (text(&secret, "tls.crt"), text(&secret, "tls.key"));
    let authority = Authority::from_pems(crt, key, Some(text(&secret, "ca.crt"))).unwrap();
    let csr = parse_csr(&asked.spec.request.0).unwrap();
    let mut signs = csr.request;
    change(&mut signs);
    let hour = std::time::Duration::from_secs(3600);
    let validity = clamp_lifetime(jiff_now(space).await, hour, BACKDATE, None);
    let der =
        sign(&Template::new(signs, validity).unwrap(), &csr.public_key_spki, &authority).unwrap();
    let bytes = |text: String| ByteString(text.into_bytes());
    json!({ "certificate": bytes(authority.leaf_chain_pem(&der)), "ca": bytes(authority.ca_pem()) })
}

async fn asked_of_another(space: &Space, name: &str) {
    space.authority().await;
    space.ready("intermediate").await;
    let spec = leaf(name, json!({ "issuerRef": foreign() }));
    space.make::<Certificate>(name, json!({ "spec": spec })).await;
}

/// Writes an answer, and waits for a Certificate that says this about it.
async fn is_refused(space: &Space, name: &str, mut status: Value, why: &str) {
    status["conditions"] =
        json!([saying("Approved", "True", "Human"), saying("Ready", "True", "Issued")]);
    say(space, &format!("{name}-1"), status).await;
    let told = |one: &Certificate| {
        let message = condition(one, "Issuing").and_then(|it| it.message.as_deref());
        message.is_some_and(|text| text.contains(why))
    };
    let failed = space.certificate_when(name, "says why", told).await;
    assert_eq!(failed.status.unwrap().failed_issuance_attempts, Some(1));
    assert!(space.api::<Secret>().get_opt(name).await.unwrap().is_none());
}

pub(crate) async fn answer_of_an_unapproved_request_is_not_stored(space: Space) {
    asked_of_another(&space, "web").await;
    let mut status = answer(&space, "web-1", |_| {}).await;
    status["conditions"] = json!([saying("Ready", "True", "Issued")]);
    say(&space, "web-1", status).await;
    let waits = |one: &Certificate| {
        let message = condition(one, "Issuing").and_then(|it| it.message.as_deref());
        message.is_some_and(|text| text.contains("not approved"))
    };
    space.certificate_when("web", "waits for the approval", waits).await;
    assert!(space.api::<Secret>().get_opt("web").await.unwrap().is_none());
    let conditions = [saying("Approved", "True", "Human"), saying("Ready", "True", "Issued")];
    say(&space, "web-1", json!({ "conditions": conditions })).await;
    space.ready("web").await;
}

pub(crate) async fn answer_with_another_name_is_refused(space: Space) {
    asked_of_another(&space, "web").await;
    let more = answer(&space, "web-1", |it| it.dns_names.push("bank.test".to_owned())).await;
    is_refused(&space, "web", more, "differs from spec.dnsNames").await;
}

pub(crate) async fn answer_that_is_a_ca_is_refused(space: Space) {
    asked_of_another(&space, "web").await;
    let ca = answer(&space, "web-1", |it| it.is_ca = true).await;
    is_refused(&space, "web", ca, "differs from spec.isCA").await;
}

pub(crate) async fn answer_for_an_issuer_of_ours_must_be_of_its_ca(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let policy = json!({ "approval": "Required" });
    let ca = json!({ "secretName": "root", "policy": policy });
    space.make::<Issuer>("strict", json!({ "spec": { "ca": ca } })).await;
    let spec = leaf("web", json!({ "issuerRef": { "name": "strict" } }));
    space.make::<Certificate>("web", json!({ "spec": spec })).await;
    // The answer is of the intermediate, and not of the root that was asked. It comes with the approval,
    // so that the issuer itself has no time to answer.
    let another = answer(&space, "web-1", |_| {}).await;
    is_refused(&space, "web", another, "not signed by the CA of Issuer strict").await;
}

pub(crate) async fn rsa_flood_leaves_identities_quick(space: Space) {
    self_signed(&space).await;
    let elsewhere = Space::new(&space.world, "the rest of the cluster").await;
    self_signed(&elsewhere).await;
    let rsa = json!({ "privateKey": { "algorithm": "RSA", "size": 4096 } });
    let flood: Vec<_> = (0..80).map(|number| format!("flood-{number}")).collect();
    for name in &flood {
        space.make::<Certificate>(name, of_self(name, rsa.clone())).await;
    }
    // An identity as the operator makes it, and a Certificate of somebody else.
    let identity = json!({ "labels": { "countersign.dev/identity": "true" },
        "annotations": { "countersign.dev/service-account": "web" } });
    let object = json!({ "metadata": identity, "spec": identity_spec(&elsewhere, "web") });
    elsewhere.make::<Certificate>("countersign-web", object).await;
    elsewhere.ready("countersign-web").await;
    elsewhere.certificate("ecdsa", json!({ "issuerRef": { "name": "self" } })).await;
    // A key of another namespace is made after those under way, not after all.
    let one = json!({ "privateKey": { "algorithm": "RSA", "size": 2048 } });
    elsewhere.make::<Certificate>("rsa", of_self("rsa", one)).await;
    elsewhere.ready("rsa").await;
    let certificates = space.api::<Certificate>();
    let made = certificates.list(&ListParams::default()).await.unwrap();
    let done = made.iter().filter(|one| revision(one).is_some()).count();
    assert!(done < flood.len() / 2, "{done} of {} came first", flood.len());
    // What is not wanted any more is not made.
    let all = (DeleteParams::default(), ListParams::default());
    certificates.delete_collection(&all.0, &all.1).await.unwrap();
}

pub(crate) async fn rsa_key_above_the_limit_is_refused_with_field_and_flag(space: Space) {
    self_signed(&space).await;
    let rsa = json!({ "privateKey": { "algorithm": "RSA", "size": 8192 } });
    space.make::<Certificate>("large", of_self("large", rsa)).await;
    let words = ["spec.privateKey.size: 8192", "4096 bits at most", "--max-rsa-bits"];
    let told = |one: &Certificate| {
        let ready = condition(one, "Ready").filter(|ready| ready.status == ConditionStatus::False);
        let message = ready.and_then(|ready| ready.message.as_deref()).unwrap_or_default();
        words.iter().all(|word| message.contains(word))
    };
    space.certificate_when("large", "is refused", told).await;
    space.event("large", "says so", |word| word == "PrivateKeyTooLarge").await;
    assert!(space.api::<Secret>().get_opt("large").await.unwrap().is_none());
    let smaller = json!({ "spec": { "privateKey": { "size": 2048 } } });
    space.change::<Certificate>("large", smaller).await;
    space.ready("large").await;
}

pub(crate) async fn unreadable_kept_key_survives(space: Space) {
    self_signed(&space).await;
    let good = space.certificate("good", json!({ "issuerRef": { "name": "self" } })).await;
    let key = text(&space.secret(&good.spec.secret_name).await, "tls.key").to_vec();
    let with_mark = [b"\xef\xbb\xbf not a key ".as_slice(), &key[10..]].concat();
    let cases = [("garbage", b"garbage".to_vec()), ("marked", with_mark)];
    for (name, key) in cases {
        let annotations = json!({ "countersign.dev/adopt": name });
        let secret = json!({ "metadata": { "annotations": annotations },
            "data": { "tls.key": ByteString(key.clone()) } });
        space.make::<Secret>(name, secret).await;
        let kept = json!({ "privateKey": { "algorithm": "ECDSA", "rotationPolicy": "Never" } });
        space.make::<Certificate>(name, of_self(name, kept)).await;
        let told = |one: &Certificate| {
            let ready = condition(one, "Ready").and_then(|ready| ready.reason.as_deref());
            ready == Some("CannotRegenerateKey")
        };
        space.certificate_when(name, "is refused", told).await;
        assert_eq!(text(&space.secret(name).await, "tls.key"), key, "{name}");
    }
}

pub(crate) async fn request_name_squatting_does_not_block(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let csr = ByteString(openssl_csr(&space, "laptop.test"));
    let squatter = json!({ "spec": { "request": csr, "issuerRef": foreign() } });
    space.make::<CertificateRequest>("web-1", squatter).await;
    let spec = leaf("web", json!({ "issuerRef": foreign() }));
    space.make::<Certificate>("web", json!({ "spec": spec })).await;
    let requests: Api<CertificateRequest> = space.api();
    let waits = |one: &Certificate| condition(one, "Issuing").is_some();
    space.certificate_when("web", "waits for its request", waits).await;
    let all = requests.list(&ListParams::default()).await.unwrap();
    let its = all.iter().find(|one| one.name_any().starts_with("web-1-")).expect("a request");
    sign_as_external_issuer(&space, its).await;
    space.ready("web").await;
    assert!(is_pair(&space.secret("web").await));
    let same = requests.get("web-1").await.unwrap();
    assert!(same.status.is_none(), "{:?}", same.status);
    // Nothing was created under the name of the squatter.
    let again = requests.create(&PostParams::default(), &same).await;
    assert!(again.is_err());
}

pub(crate) async fn request_that_goes_takes_its_key_along(space: Space) {
    let spec = leaf("web", json!({ "issuerRef": foreign() }));
    space.make::<Certificate>("web", json!({ "spec": spec })).await;
    request(&space, "web-1").await;
    let has_key = || space.world.has_pending_key(&space.namespace, "web-1");
    until("the key is in memory", async || has_key()).await;
    space.api::<Certificate>().delete("web", &DeleteParams::default()).await.unwrap();
    // As the garbage collector does, which does not run here, with each that a late watch has made.
    let requests: Api<CertificateRequest> = space.api();
    let is_forgotten = async || {
        let deleted = requests.delete("web-1", &DeleteParams::default()).await;
        assert!(deleted.is_ok() || matches!(&deleted, Err(kube::Error::Api(it)) if it.code == 404));
        !has_key()
    };
    until("the key is forgotten", is_forgotten).await;
}

pub(crate) async fn only_signers_answer_requests_to_issuers_of_ours(space: Space) {
    let stranger = approval::installed(&space).await;
    self_signed(&space).await;
    // Nobody approves it, so that the operator leaves it alone.
    let policy = json!({ "approval": "Required" });
    let issuer = json!({ "spec": { "selfSigned": { "policy": policy } } });
    space.make::<Issuer>("strict", issuer).await;
    let csr = ByteString(openssl_csr(&space, "laptop.test"));
    let spec = json!({ "request": csr, "issuerRef": { "name": "strict" } });
    space.make::<CertificateRequest>("web", json!({ "spec": spec })).await;
    let api: Api<CertificateRequest> =
        Api::namespaced(space.world.client_of(&stranger), &space.namespace);
    // A group or kind of null is an omitted one, to the operator too.
    let reference = json!({ "name": "strict", "group": null, "kind": null });
    let spec = json!({ "request": csr, "issuerRef": reference });
    requester::created(&space, space.client.clone(), "null", &spec).await;
    let answers = [
        ("web", json!({ "conditions": [saying("Ready", "True", "Issued")] })),
        ("web", json!({ "certificate": ByteString(b"a chain".to_vec()) })),
        ("web", json!({ "ca": ByteString(b"a root".to_vec()) })),
        ("null", json!({ "certificate": ByteString(b"a chain".to_vec()) })),
    ];
    for (name, answer) in answers {
        let refused = approval::refused("an answer", async |_| {
            let patch = Patch::Merge(json!({ "status": answer }));
            let said = api.patch_status(name, &PatchParams::default(), &patch).await;
            said.map_err(|error| error.to_string())
        })
        .await;
        let signer = format!("issuers.countersign.dev/{}.strict", space.namespace);
        approval::has(&refused, &["verb sign", "signers.countersign.dev", &signer]);
    }
    // The answer to an issuer of others is that issuer's.
    let spec = json!({ "request": csr, "issuerRef": foreign() });
    space.make::<CertificateRequest>("theirs", json!({ "spec": spec })).await;
    let patch =
        Patch::Merge(json!({ "status": { "conditions": [saying("Ready", "True", "Issued")] } }));
    api.patch_status("theirs", &PatchParams::default(), &patch).await.unwrap();
    let name = "issuers.countersign.dev/*";
    let right =
        Right { verb: "sign", group: "countersign.dev", resource: "signers", namespace: "", name };
    assert!(may(&space.client, approval::OPERATOR, right).await);
}

pub(crate) async fn successor_keeps_the_secret_of_a_renamed_certificate(space: Space) {
    self_signed(&space).await;
    let spec = json!({ "secretName": "shared", "secretDeletionPolicy": "Delete",
        "privateKey": { "algorithm": "ECDSA", "rotationPolicy": "Never" } });
    space.make::<Certificate>("before", of_self("before", spec.clone())).await;
    let before = space.ready("before").await;
    let key = text(&space.secret("shared").await, "tls.key").to_vec();
    let after = space.make::<Certificate>("after", of_self("after", spec)).await;
    let holds = |secret: &Secret| {
        let owners: Vec<_> = secret.owner_references().iter().map(|it| it.uid.clone()).collect();
        [before.uid(), after.uid()].into_iter().flatten().all(|uid| owners.contains(&uid))
    };
    let held = space.when::<Secret>("shared", "is held by both", holds).await;
    let controllers = held.owner_references().iter().filter(|it| it.controller == Some(true));
    assert_eq!(controllers.count(), 1);
    space.api::<Certificate>().delete("before", &DeleteParams::default()).await.unwrap();
    space.ready("after").await;
    let owned = |secret: &Secret| {
        let owners = secret.owner_references();
        owners.len() == 1 && Some(&owners[0].uid) == after.metadata.uid.as_ref()
    };
    let same = space.when::<Secret>("shared", "is the successor's", owned).await;
    assert_eq!((same.uid(), text(&same, "tls.key")), (held.uid(), &key[..]));
}

pub(crate) async fn changed_password_reaches_the_key_stores(space: Space) {
    self_signed(&space).await;
    space.make::<Secret>("passwords", json!({ "stringData": { "password": "first-one" } })).await;
    let reference = json!({ "name": "passwords" });
    let stores = json!({ "pkcs12": { "create": true, "passwordSecretRef": reference } });
    space.make::<Certificate>("web", of_self("web", json!({ "keystores": stores }))).await;
    space.ready("web").await;
    let before = space.secret("web").await;
    let second = json!({ "stringData": { "password": "second-one" } });
    space.change::<Secret>("passwords", second).await;
    let is_new = |secret: &Secret| text(secret, "keystore.p12") != text(&before, "keystore.p12");
    let after = space.when::<Secret>("web", "follows its password", is_new).await;
    assert_eq!(text(&after, "tls.crt"), text(&before, "tls.crt"));
    space.api::<Secret>().delete("passwords", &DeleteParams::default()).await.unwrap();
    space.event("web", "says what is gone", |word| word == "KeystorePasswordSecretNotFound").await;
}

pub(crate) async fn deleted_identity_comes_back(space: Space) {
    // A pod with the sidecar has an identity; what deletes it takes it away for a moment only.
    let pod = json!({
        "metadata": { "labels": { "countersign.dev/injected": "true" } },
        "spec": { "serviceAccountName": "web", "containers": [{ "name": "a", "image": "a" }] },
    });
    space.make::<ServiceAccount>("web", json!({})).await;
    space.make::<Pod>("web", pod).await;
    let made = space.when::<Certificate>("countersign-web", "is made", |_| true).await;
    space.api::<Certificate>().delete("countersign-web", &DeleteParams::default()).await.unwrap();
    let another = |one: &Certificate| one.uid() != made.uid();
    let second = space.when("countersign-web", "is made anew", another).await;
    let accounts = space.api::<ServiceAccount>();
    accounts.delete("web", &DeleteParams::default()).await.unwrap();
    space.api::<Certificate>().delete("countersign-web", &DeleteParams::default()).await.unwrap();
    space.make::<ServiceAccount>("web", json!({})).await;
    let another = |one: &Certificate| one.uid() != second.uid();
    space.when("countersign-web", "is made for the new account", another).await;
}

pub(crate) async fn ca_bundle_follows_a_changed_secret_name(space: Space) {
    self_signed(&space).await;
    space.certificate("web", json!({ "issuerRef": { "name": "self" } })).await;
    let named = format!("{}/web", space.namespace);
    let hooks = configuration(&space, "moved", FROM_CERTIFICATE, &named).await;
    filled(&space, &hooks, text(&space.secret("web").await, "ca.crt")).await;
    let moved = json!({ "spec": { "secretName": "other" } });
    space.change::<Certificate>("web", moved).await;
    let other = space.when::<Secret>("other", "is issued", is_pair).await;
    filled(&space, &hooks, text(&other, "ca.crt")).await;
}

pub(crate) async fn format_that_another_client_wrote_first_stays(space: Space) {
    const COMBINED: &str = "tls-combined.pem";
    self_signed(&space).await;
    space.certificate("web", json!({ "issuerRef": { "name": "self" } })).await;
    let secret = space.secret("web").await;
    let combined = [text(&secret, "tls.key"), b"\n", text(&secret, "tls.crt")].concat();
    let theirs = json!({ "data": { COMBINED: ByteString(combined.clone()) } });
    space.make::<Secret>("web", theirs).await;
    let formats = json!({ "spec": { "additionalOutputFormats": [{ "type": "CombinedPEM" }] } });
    space.change::<Certificate>("web", formats).await;
    let is_ours = |secret: &Secret| {
        let mut entries = secret.managed_fields().iter();
        entries.any(|entry| {
            entry.manager.as_deref() == Some("countersign-operator")
                && entry
                    .fields_v1
                    .as_ref()
                    .is_some_and(|fields| fields.0["f:data"][format!("f:{COMBINED}")].is_object())
        })
    };
    space.when::<Secret>("web", "is ours, too", is_ours).await;
    // The other client lets go.
    space.make::<Secret>("web", json!({})).await;
    assert_eq!(text(&space.secret("web").await, COMBINED), combined);
}
