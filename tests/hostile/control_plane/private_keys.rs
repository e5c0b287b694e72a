//! A holder of the right to create CertificateRequests, and of none to Secrets.

use std::sync::Arc;

use countersign_crds::{CertificateRequest, Issuer};
use countersign_operator::pki::{KeyAlgorithm, generate_key};
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::ListParams;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::private_keys;
use crate::self_signed::{ask, csr, data, named};
use crate::space::Space;
use crate::world::World;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        private_keys::{
            refusal_of_a_request_says_nothing_about_the_secret_it_names,
        }
    }
}

/// The conditions of a request without their times, and its Events.
async fn told(space: &Space, name: &str) -> (Vec<Value>, Vec<(String, String)>) {
    space.event(name, "says why", |told| told == "PrivateKeyNotUsable").await;
    let request: CertificateRequest = space.api().get(name).await.unwrap();
    let conditions = request.status.unwrap().conditions;
    let conditions = conditions.into_iter().map(|mut condition| {
        condition.last_transition_time = None;
        json!(condition)
    });
    let fields = ListParams::default().fields(&format!("involvedObject.name={name}"));
    let events = space.api::<Event>().list(&fields).await.unwrap();
    let said = |it: Event| (it.reason.unwrap_or_default(), it.message.unwrap_or_default());
    let mut events: Vec<_> = events.into_iter().map(said).collect();
    events.sort();
    events.retain(|(reason, _)| reason == "PrivateKeyNotUsable");
    (conditions.collect(), events)
}

pub(crate) async fn refusal_of_a_request_says_nothing_about_the_secret_it_names(space: Space) {
    space.make::<Issuer>("self", json!({ "spec": { "selfSigned": {} } })).await;
    let (_, csr) = csr(KeyAlgorithm::EcdsaP256, &named());
    let other = generate_key(KeyAlgorithm::EcdsaP256).unwrap();
    let unreadable = json!({ "stringData": { "tls.key": "no key" } });
    space.make::<Secret>("key-of-foreign", data(&other)).await;
    space.make::<Secret>("key-of-unreadable", unreadable).await;
    let keyless = json!({ "stringData": { "password": "x" } });
    space.make::<Secret>("key-of-keyless", keyless).await;
    let names = ["absent", "keyless", "unreadable", "foreign"];
    for name in names {
        ask(&space, name, &json!({ "name": "self" }), &csr).await;
    }
    let absent = told(&space, names[0]).await;
    assert!(absent.0.iter().any(|it| it["reason"] == "Pending"), "{absent:?}");
    assert_eq!(absent.1.len(), 1, "{absent:?}");
    for name in &names[1..] {
        assert_eq!(told(&space, name).await, absent, "{name}");
    }
}
