//! Authorities that cannot sign.

use countersign_crds::{Condition, ConditionStatus, Issuer};
use countersign_operator::pki::{KeyAlgorithm, KeyEncoding, generate_key};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use crate::space::{Space, text};

fn ready(issuer: &Issuer) -> Option<&Condition> {
    issuer.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == "Ready")
}

/// A Secret of a user's, and an Issuer that signs with it.
async fn issuer(space: &Space, name: &str, data: &Value) {
    if !data.is_null() {
        space.make::<Secret>(name, json!({ "data": data })).await;
    }
    space.make::<Issuer>(name, json!({ "spec": { "ca": { "secretName": name } } })).await;
}

pub(crate) async fn an_issuer_says_what_is_wrong_with_its_authority(space: Space) {
    space.authority().await;
    space.certificate("leaf", json!({})).await;
    let (authority, leaf) = (space.secret("intermediate").await, space.secret("leaf").await);
    let bytes = |bytes: &[u8]| serde_json::to_value(ByteString(bytes.to_vec())).unwrap();
    let pair = |secret: &Secret| json!({ "tls.crt": bytes(text(secret, "tls.crt")), "tls.key": bytes(text(secret, "tls.key")) });
    let mut mismatched = pair(&authority);
    let key = generate_key(KeyAlgorithm::EcdsaP256).unwrap().to_pem(KeyEncoding::Pkcs8).unwrap();
    mismatched["tls.key"] = bytes(key.expose().as_bytes());
    let mut keyless = pair(&authority);
    keyless.as_object_mut().unwrap().remove("tls.key");
    let cases = [
        ("missing", Value::Null, "does not exist"),
        ("keyless", keyless, "tls.key"),
        ("mismatched", mismatched, "key"),
        ("a-leaf", pair(&leaf), "CA"),
        ("garbage", json!({ "tls.crt": "Z2FyYmFnZQ==", "tls.key": "Z2FyYmFnZQ==" }), "garbage"),
    ];
    for (name, data, wanted) in &cases {
        issuer(&space, name, data).await;
        let not_ready =
            |issuer: &Issuer| ready(issuer).is_some_and(|c| c.status == ConditionStatus::False);
        let found = space.when::<Issuer>(name, "is not ready", not_ready).await;
        let message = ready(&found).unwrap().message.clone().unwrap();
        assert!(message.contains(&format!("{name}.{}", space.namespace)), "{message}");
        assert!(message.contains(wanted), "{name}: {message}");
        space.event(name, "says why", |_| true).await;
    }
    // Once it is put right, it is seen to be.
    space.change::<Secret>("mismatched", json!({ "data": pair(&authority) })).await;
    let is_ready =
        |issuer: &Issuer| ready(issuer).is_some_and(|c| c.status == ConditionStatus::True);
    space.when::<Issuer>("mismatched", "is ready", is_ready).await;
}
