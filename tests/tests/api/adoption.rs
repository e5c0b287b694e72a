//! Secrets that cert-manager issued, and what becomes of them.

use std::process::{Command, Stdio};
use std::time::Duration;

use countersign_crds::{Certificate, Issuer};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};

use crate::issuance::folder;
use crate::space::{Space, facts, is_pair, leaf, make_in, text, when_in};
use crate::world::PLURALS;

/// A Secret as cert-manager leaves it: an RSA key and a certificate by openssl, under the authority
/// of the test, with cert-manager's labels and annotations.
async fn secret_of_cert_manager(space: &Space, name: &str) {
    let authority = space.secret("intermediate").await;
    let folder = folder(space);
    for key in ["tls.crt", "tls.key"] {
        std::fs::write(folder.join(key), text(&authority, key)).unwrap();
    }
    let extensions = format!(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n\
         authorityKeyIdentifier=keyid\nsubjectAltName=critical,DNS:{name}.test\n"
    );
    std::fs::write(folder.join("extensions"), extensions).unwrap();
    let script = "set -e
        openssl genrsa -traditional -out leaf.key 2048
        openssl req -new -key leaf.key -subj / -out leaf.csr
        openssl x509 -req -in leaf.csr -CA tls.crt -CAkey tls.key -days 90 -extfile extensions -out leaf.crt";
    let signed = Command::new("sh").args(["-c", script]).current_dir(&folder).output().unwrap();
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let annotation = |name: &str| format!("cert-manager.io/{name}");
    let annotations = json!({
        annotation("certificate-name"): name, annotation("issuer-name"): "ca",
        annotation("issuer-kind"): "Issuer", annotation("issuer-group"): "cert-manager.io",
        annotation("common-name"): "", annotation("alt-names"): format!("{name}.test"),
        annotation("ip-sans"): "", annotation("uri-sans"): "",
    });
    let metadata = json!({
        "labels": { "controller.cert-manager.io/fao": "true" }, "annotations": annotations,
    });
    let chain = read("leaf.crt") + std::str::from_utf8(text(&authority, "tls.crt")).unwrap();
    let data = json!({
        "tls.crt": chain, "tls.key": read("leaf.key"),
        "ca.crt": std::str::from_utf8(text(&authority, "ca.crt")).unwrap(),
    });
    let secret = json!({ "metadata": metadata, "type": "kubernetes.io/tls", "stringData": data });
    space.make::<Secret>(name, secret).await;
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A Certificate as its author wrote it for cert-manager, with only the group changed.
fn moved(name: &str, key: &Value) -> Value {
    json!({ "spec": leaf(name, json!({ "privateKey": key })) })
}

pub(crate) async fn a_secret_of_cert_managers_is_issued_again_as_it_is(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let cases = [
        ("always", json!({ "rotationPolicy": "Always" }), false),
        ("never", json!({ "rotationPolicy": "Never" }), true),
    ];
    for (name, key, keeps_key) in cases {
        secret_of_cert_manager(&space, name).await;
        let before = space.secret(name).await;
        assert!(is_pair(&before));
        space.make::<Certificate>(name, moved(name, &key)).await;
        space.ready(name).await;
        let after = space.secret(name).await;
        assert!(is_pair(&after));
        assert_ne!(facts(&before).serial, facts(&after).serial, "{name}");
        let same_key = facts(&before).public_key_spki == facts(&after).public_key_spki;
        assert_eq!(same_key, keeps_key, "{name}");
        for (annotation, value) in before.annotations() {
            assert_eq!(after.annotations().get(annotation), Some(value), "{name}: {annotation}");
        }
        assert_eq!(after.labels().get("controller.cert-manager.io/fao"), Some(&"true".to_owned()));
    }
}

/// The definition that cert-manager would have installed, as far as the script reads it.
async fn definition_of_cert_manager(space: &Space) -> Api<CustomResourceDefinition> {
    let api: Api<CustomResourceDefinition> = Api::all(space.client.clone());
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let version = json!({
        "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema },
    });
    let spec = json!({
        "group": "cert-manager.io", "scope": "Namespaced", "versions": [version],
        "names": { "plural": "certificates", "kind": "Certificate" },
    });
    make_in(&api, "certificates.cert-manager.io", json!({ "spec": spec })).await;
    when_in(
        &api,
        "certificates.cert-manager.io",
        "is served",
        |found: &CustomResourceDefinition| {
            let conditions =
                found.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|c| c.type_ == "Established" && c.status == "True")
        },
    )
    .await;
    api
}

/// Until kubectl does not find the group any more.
async fn remove_definition(space: &Space, definitions: &Api<CustomResourceDefinition>) {
    let name = "certificates.cert-manager.io";
    definitions.delete(name, &DeleteParams::default()).await.unwrap();
    while space.client.list_api_group_resources("cert-manager.io/v1").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The script of the docs that hands Secrets over.
fn script() -> String {
    let path = countersign_tests::cluster::repository().join("docs/coming-from-cert-manager.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("```sh\n").expect("a script");
    rest.split_once("```").expect("its end").0.to_owned()
}

pub(crate) async fn a_secret_that_is_handed_over_is_kept_as_it_is(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    secret_of_cert_manager(&space, "web").await;
    let plurals = PLURALS.write().await;
    let definitions = definition_of_cert_manager(&space).await;
    let theirs = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": { "name": "web", "namespace": space.namespace },
        "spec": { "secretName": "web", "issuerRef": { "name": "ca" } },
    });
    space.world.apply(&theirs.to_string()).expect("it is made");
    let mut shell = space.world.command("bash");
    shell.args(["-euo", "pipefail", "-c", &script()]).stdin(Stdio::null());
    let output = shell.output().expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    remove_definition(&space, &definitions).await;
    drop(plurals);
    let before = space.secret("web").await;
    let ours = |name: &str| before.annotations().get(&format!("countersign.dev/{name}")).cloned();
    assert_eq!(ours("issuer-group").as_deref(), Some("countersign.dev"));
    space.make::<Certificate>("web", moved("web", &json!({}))).await;
    space.ready("web").await;
    let tidy = |secret: &Secret| {
        secret.annotations().get("countersign.dev/alt-names") == Some(&"web.test".to_owned())
    };
    space.when("web", "says what is in it", tidy).await;
    let after = space.secret("web").await;
    assert_eq!(text(&before, "tls.crt"), text(&after, "tls.crt"));
    assert_eq!(text(&before, "tls.key"), text(&after, "tls.key"));
    // From then on it is a Secret like every other.
    space.change::<Certificate>("web", json!({ "spec": { "dnsNames": ["www.test"] } })).await;
    space.ready("web").await;
    assert_eq!(facts(&space.secret("web").await).says.dns_names, ["www.test"]);
}

pub(crate) async fn an_authority_that_is_handed_over_signs_as_before(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let authority = space.secret("intermediate").await;
    let data = authority.data.clone();
    let theirs = json!({ "data": data, "type": "kubernetes.io/tls" });
    space.make::<Secret>("moved-ca", theirs).await;
    let issuer = json!({ "spec": { "ca": { "secretName": "moved-ca" } } });
    space.make::<Issuer>("moved", issuer).await;
    space.certificate("web", json!({ "issuerRef": { "name": "moved" } })).await;
    let issuer = facts(&space.secret("web").await).issuer_text();
    assert!(issuer.contains("intermediate"), "{issuer}");
}
