//! CertificateRequests of clients that write null where others omit a field.

use countersign_crds::CertificateRequest;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use serde_json::{Value, json};

use crate::approval::{asking, installed, of};
use crate::space::Space;

/// Creates a CertificateRequest whose spec is sent as it is, nulls included.
pub(crate) async fn created(space: &Space, client: Client, name: &str, spec: &Value) {
    let resource = ApiResource::erase::<CertificateRequest>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client, &space.namespace, &resource);
    let object = DynamicObject::new(name, &resource).data(json!({ "spec": spec }));
    api.create(&PostParams::default(), &object).await.unwrap();
}

pub(crate) async fn requester_that_is_null_is_stamped_as_an_omitted_one(space: Space) {
    let user = installed(&space).await;
    for fields in [&["username"][..], &["uid"], &["username", "uid"]] {
        let name = fields.join("-");
        let mut spec = json!(asking(&space, &name, "Issuer").spec);
        for field in fields {
            spec[field] = Value::Null;
        }
        created(&space, space.world.client_of(&user), &name, &spec).await;
        let made = of(&space, space.client.clone()).get(&name).await.unwrap();
        assert_eq!(made.spec.username.as_ref(), Some(&user), "{name}");
        assert_eq!((made.spec.uid, made.spec.groups.len()), (None, 1), "{name}");
    }
}
