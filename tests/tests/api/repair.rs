//! A Secret that is not what it should be.

use countersign_crds::Certificate;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::history::versions_since;
use crate::space::{Space, facts, is_pair, last_writer, revision};

/// Something that is done to a Secret, by its name.
async fn damage(space: &Space, how: &str, other: &Secret) {
    let data = |key: &str, value: Value| json!({ "data": { key: value } });
    let other_key = serde_json::to_value(&other.data.as_ref().unwrap()["tls.key"]).unwrap();
    let patch = match how {
        "it is deleted" => {
            space.api::<Secret>().delete("web", &DeleteParams::default()).await.unwrap();
            return;
        }
        "tls.crt is empty" => data("tls.crt", "".into()),
        "tls.crt is garbage" => data("tls.crt", "Z2FyYmFnZQ==".into()),
        "tls.key is garbage" => data("tls.key", "Z2FyYmFnZQ==".into()),
        "tls.key is gone" => json!({ "data": { "tls.key": "" } }),
        "tls.key is another's" => data("tls.key", other_key),
        "it says that another issuer signed it" => {
            json!({ "metadata": { "annotations": { "countersign.dev/issuer-name": "other" } } })
        }
        other => panic!("{other}"),
    };
    space.change::<Secret>("web", patch).await;
}

pub(crate) async fn whatever_is_wrong_with_a_secret_it_is_issued_again_and_never_mismatches(
    space: Space,
) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    space.certificate("other", json!({})).await;
    let other = space.secret("other").await;
    let start = space.secret("web").await.metadata.resource_version.unwrap();
    for how in [
        "it is deleted",
        "tls.crt is empty",
        "tls.crt is garbage",
        "tls.key is garbage",
        "tls.key is gone",
        "tls.key is another's",
        "it says that another issuer signed it",
    ] {
        let before = facts(&space.secret("web").await).serial;
        damage(&space, how, &other).await;
        let whole = |secret: &Secret| is_pair(secret) && facts(secret).serial != before;
        space.when("web", &format!("came back after {how}"), whole).await;
        space.ready("web").await;
    }
    let mut versions = 0;
    for secret in versions_since::<Secret>(&space, "web", &start).await {
        if last_writer(&secret).as_deref() == Some("countersign-operator") {
            assert!(is_pair(&secret), "a version of the operator's does not match");
            versions += 1;
        }
    }
    assert_eq!(versions, 7, "versions of the operator's");
}

pub(crate) async fn a_changed_spec_is_issued_again_while_the_old_secret_serves(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let start = space.secret("web").await.metadata.resource_version.unwrap();
    let changes = [
        json!({ "dnsNames": ["web.test", "www.test"] }),
        json!({ "privateKey": { "algorithm": "Ed25519" } }),
        json!({ "usages": ["client auth"] }),
        json!({ "subject": { "organizations": ["Example"] } }),
        json!({ "duration": "48h" }),
    ];
    for (place, spec) in changes.iter().enumerate() {
        space.change::<Certificate>("web", json!({ "spec": spec })).await;
        let ready = space.ready("web").await;
        assert_eq!(revision(&ready), Some(i64::try_from(place).unwrap() + 2), "{spec}");
    }
    let says = facts(&space.secret("web").await).says;
    assert_eq!(says.dns_names, ["web.test", "www.test"]);
    let written: Vec<Secret> = versions_since(&space, "web", &start).await;
    assert_eq!(written.len(), changes.len());
    assert!(written.iter().all(is_pair));
}

pub(crate) async fn another_issuer_signs_again(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let spec = json!({ "spec": { "issuerRef": { "name": "root" } } });
    space.change::<Certificate>("web", spec).await;
    space.ready("web").await;
    let issuer = facts(&space.secret("web").await).issuer_text();
    assert!(issuer.contains(&format!("{} root", space.namespace)), "{issuer}");
}

pub(crate) async fn rotation_policy_never_keeps_the_key(space: Space) {
    space.authority().await;
    let key = json!({ "privateKey": { "algorithm": "ECDSA", "rotationPolicy": "Never" } });
    space.certificate("web", key).await;
    let before = facts(&space.secret("web").await);
    let names = json!({ "spec": { "dnsNames": ["www.test"] } });
    space.change::<Certificate>("web", names).await;
    space.ready("web").await;
    let after = facts(&space.secret("web").await);
    assert_ne!(before.serial, after.serial);
    assert_eq!(before.public_key_spki, after.public_key_spki);
}
