//! What is in a Secret beside the certificate, and what becomes of it.

use std::process::Command;

use countersign_crds::Certificate;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::json;

use crate::issuance::folder;
use crate::space::{Space, condition, facts, leaf, text};

pub(crate) async fn other_forms_come_and_go_without_issuing_again(space: Space) {
    space.authority().await;
    let formats =
        json!({ "additionalOutputFormats": [{ "type": "DER" }, { "type": "CombinedPEM" }] });
    space.certificate("web", formats).await;
    let before = space.secret("web").await;
    let combined = [text(&before, "tls.key"), b"\n", text(&before, "tls.crt")].concat();
    assert_eq!(text(&before, "tls-combined.pem"), combined);
    assert!(!text(&before, "key.der").is_empty());
    let fewer = json!({ "spec": { "additionalOutputFormats": [{ "type": "DER" }] } });
    space.change::<Certificate>("web", fewer).await;
    let gone = |secret: &Secret| text(secret, "tls-combined.pem").is_empty();
    let after = space.when("web", "has no combined text", gone).await;
    assert_eq!(text(&after, "key.der"), text(&before, "key.der"));
    assert_eq!(facts(&before).serial, facts(&after).serial);
    space.change::<Secret>("web", json!({ "data": { "key.der": "b3RoZXI=" } })).await;
    let right = |secret: &Secret| text(secret, "key.der") == text(&before, "key.der");
    space.when("web", "is put right", right).await;
}

pub(crate) async fn key_stores_open_with_their_passwords(space: Space) {
    space.authority().await;
    let stores = json!({ "keystores": {
        "jks": { "create": true, "passwordSecretRef": { "name": "passwords", "key": "jks" } },
        "pkcs12": { "create": true, "profile": "Modern2023", "password": "changeit" },
    } });
    space.make::<Certificate>("web", json!({ "spec": leaf("web", stores) })).await;
    let told = |certificate: &Certificate| {
        let message =
            condition(certificate, "Issuing").and_then(|issuing| issuing.message.as_ref());
        message.is_some_and(|text| text.contains("passwords") && text.contains("jks"))
    };
    space.certificate_when("web", "says that a password is missing", told).await;
    let password = json!({ "stringData": { "jks": "opensesame" } });
    space.make::<Secret>("passwords", password).await;
    space.ready("web").await;
    let secret = space.secret("web").await;
    let folder = folder(&space);
    for name in ["keystore.jks", "truststore.jks", "keystore.p12", "truststore.p12"] {
        std::fs::write(folder.join(name), text(&secret, name)).unwrap();
        let password = if name.ends_with("jks") { "opensesame" } else { "changeit" };
        let listed = Command::new("keytool")
            .args(["-list", "-keystore", name, "-storepass", password])
            .current_dir(&folder)
            .output()
            .expect("keytool runs: install a headless JRE");
        let said = String::from_utf8_lossy(&listed.stdout);
        assert!(listed.status.success(), "{name}: {said}");
        let kind = if name.starts_with("key") { "PrivateKeyEntry" } else { "trustedCertEntry" };
        assert!(said.contains(kind), "{name}: {said}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
    // Another profile is another file, of the same certificate.
    let spec = json!({ "spec": { "keystores": { "pkcs12": { "profile": "LegacyDES" } } } });
    space.change::<Certificate>("web", spec).await;
    let other = |now: &Secret| text(now, "keystore.p12") != text(&secret, "keystore.p12");
    let after = space.when("web", "has another key store", other).await;
    assert_eq!(facts(&after).serial, facts(&secret).serial);
    assert!(text(&after, "keystore.jks") == text(&secret, "keystore.jks"), "it was made again");
}

pub(crate) async fn a_secret_goes_with_its_certificate_where_the_spec_says_so(space: Space) {
    space.authority().await;
    space.certificate("web", json!({ "secretDeletionPolicy": "Delete" })).await;
    let secret = space.secret("web").await;
    let certificate: Certificate = space.api().get("web").await.unwrap();
    let [owner] = secret.owner_references() else { panic!("{:?}", secret.owner_references()) };
    assert_eq!(
        (owner.kind.as_str(), Some(&owner.uid)),
        ("Certificate", certificate.uid().as_ref())
    );
    let stays = json!({ "spec": { "secretDeletionPolicy": "Retain" } });
    space.change::<Certificate>("web", stays).await;
    let free = |secret: &Secret| secret.owner_references().is_empty();
    let after = space.when("web", "stays", free).await;
    assert_eq!(facts(&after).serial, facts(&secret).serial);
}

pub(crate) async fn a_certificate_without_issuer_is_the_default_issuers(space: Space) {
    space.authority().await;
    let spec = leaf("web", json!({ "issuerRef": {} }));
    let mut spec = spec;
    spec.as_object_mut().unwrap().remove("issuerRef");
    space.make::<Certificate>("web", json!({ "spec": spec })).await;
    let told = |certificate: &Certificate| {
        condition(certificate, "Ready").and_then(|ready| ready.reason.as_deref())
            == Some("NoIssuer")
    };
    space.certificate_when("web", "says that nobody is named", told).await;
    let patch =
        json!({ "metadata": { "annotations": { "countersign.dev/default-issuer": "ca" } } });
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> =
        kube::Api::all(space.client.clone());
    let parameters = kube::api::PatchParams::default();
    let patch = kube::api::Patch::Merge(patch);
    namespaces.patch(&space.namespace, &parameters, &patch).await.unwrap();
    space.ready("web").await;
    assert_eq!(space.secret("web").await.annotations()["countersign.dev/issuer-name"], "ca");
}
