//! What a CertificateRequest says to us by annotation: a policy of the chart.

use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::approval::{asking, has, install, of, refused};
use crate::space::Space;

pub(crate) async fn what_a_request_says_to_us_never_changes(space: Space) {
    install(&space).await;
    let api = of(&space, space.client.clone());
    let name = "countersign.dev/private-key-secret-name";
    let mut asked = asking(&space, "web", "Issuer");
    asked.metadata.annotations = Some([(name.to_owned(), "mine".to_owned())].into());
    api.create(&PostParams::default(), &asked).await.unwrap();
    let change = async |annotations: Value| {
        let patch = json!({ "metadata": { "annotations": annotations } });
        let said = api.patch("web", &PatchParams::default(), &Patch::Merge(patch)).await;
        said.map(|_| ()).map_err(|error| error.to_string())
    };
    let refusal = refused("another Secret", async |time| {
        change(json!({ (name): format!("another-{time}") })).await
    });
    has(&refusal.await, &["metadata.annotations", name, "cannot change"]);
    for annotations in [json!({ (name): null }), json!({ "countersign.dev/new": "a" })] {
        has(&change(annotations).await.unwrap_err(), &["cannot change"]);
    }
    change(json!({ "example.org/note": "a" })).await.expect("what is not ours may change");
}
