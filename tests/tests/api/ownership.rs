//! Whose Secret it is, and what in it is whose.

use countersign_crds::Certificate;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use crate::space::{Space, condition, facts, leaf, text};

pub(crate) async fn what_others_wrote_into_the_secret_survives(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let theirs = json!({
        "metadata": { "labels": { "team": "shop" }, "annotations": { "note": "kept" } },
        "data": { "keystore": "b3RoZXI=" },
    });
    space.change::<Secret>("web", theirs).await;
    let names = json!({ "spec": { "dnsNames": ["www.test"] } });
    space.change::<Certificate>("web", names).await;
    space.ready("web").await;
    let secret = space.secret("web").await;
    assert_eq!(facts(&secret).says.dns_names, ["www.test"]);
    assert_eq!(text(&secret, "keystore"), b"other");
    assert_eq!(secret.labels().get("team").map(String::as_str), Some("shop"));
    assert_eq!(secret.annotations().get("note").map(String::as_str), Some("kept"));
}

pub(crate) async fn a_template_is_followed_without_issuing_again(space: Space) {
    space.authority().await;
    let template = |labels, annotations| json!({ "secretTemplate": { "labels": labels, "annotations": annotations } });
    space.certificate("web", template(json!({ "a": "1" }), json!({ "b": "1" }))).await;
    let before = space.secret("web").await;
    assert_eq!(before.labels().get("a").map(String::as_str), Some("1"));
    let steps = [
        (json!({ "labels": { "a": "2" }, "annotations": { "b": "1" } }), Some("2"), Some("1")),
        (json!({ "labels": { "a": "2" }, "annotations": null }), Some("2"), None),
        (json!(null), None, None),
    ];
    for (template, label, annotation) in steps {
        let spec = json!({ "spec": { "secretTemplate": template } });
        space.change::<Certificate>("web", spec).await;
        let follows = |secret: &Secret| {
            secret.labels().get("a").map(String::as_str) == label
                && secret.annotations().get("b").map(String::as_str) == annotation
        };
        space.when("web", "follows the template", follows).await;
    }
    assert_eq!(facts(&before).serial, facts(&space.secret("web").await).serial);
}

pub(crate) async fn of_two_certificates_with_one_secret_one_owns_it_and_the_other_is_told(
    space: Space,
) {
    space.authority().await;
    space.certificate("first", json!({ "secretName": "shared" })).await;
    let before = space.secret("shared").await;
    let second = leaf("second", json!({ "secretName": "shared" }));
    space.make::<Certificate>("second", json!({ "spec": second })).await;
    let told = |certificate: &Certificate| {
        let message = condition(certificate, "Ready").and_then(|ready| ready.message.as_deref());
        message.is_some_and(|text| text.contains("first"))
    };
    space.certificate_when("second", "is told", told).await;
    space.event("second", "names the owner", |reason| reason == "DuplicateSecretName").await;
    assert_eq!(before.resource_version(), space.secret("shared").await.resource_version());
    // Once the owner is gone, the other has its turn.
    let certificates = space.api::<Certificate>();
    certificates.delete("first", &DeleteParams::default()).await.unwrap();
    space.ready("second").await;
    assert_eq!(facts(&space.secret("shared").await).says.dns_names, ["second.test"]);
}

pub(crate) async fn a_certificate_that_is_deleted_leaves_its_secret(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let before = space.secret("web").await;
    space.api::<Certificate>().delete("web", &DeleteParams::default()).await.unwrap();
    space.certificate("marker", json!({})).await;
    assert_eq!(before.resource_version(), space.secret("web").await.resource_version());
    assert!(before.metadata.owner_references.is_none());
}
