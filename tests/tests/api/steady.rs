//! Nothing is written when nothing has to change.

use countersign_crds::{Certificate, CertificateRequest, Issuer};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;

use crate::requests::{openssl_csr, request};
use crate::space::{Object, Space};

/// The versions of all objects of a kind that are older than the restart.
async fn versions<K: Object>(space: &Space) -> Vec<(String, Option<String>)> {
    let found = space.api::<K>().list_metadata(&ListParams::default()).await.unwrap();
    let version =
        |object: &kube::core::PartialObjectMeta<K>| (object.name_any(), object.resource_version());
    found.iter().filter(|object| object.name_any() != "marker").map(version).collect()
}

async fn all_versions(space: &Space) -> Vec<(String, Option<String>)> {
    let mut all = versions::<Secret>(space).await;
    all.extend(versions::<Certificate>(space).await);
    all.extend(versions::<Issuer>(space).await);
    all.extend(versions::<CertificateRequest>(space).await);
    all
}

pub(crate) async fn a_restart_writes_nothing(space: Space) {
    space.authority().await;
    for name in ["one", "two", "three"] {
        space.certificate(name, json!({})).await;
    }
    let csr = request(openssl_csr(&space, "laptop.test"));
    space.make::<CertificateRequest>("laptop", csr.clone()).await;
    let signed = |request: &CertificateRequest| {
        request.status.as_ref().is_some_and(|status| status.certificate.is_some())
    };
    space.when("laptop", "is signed", signed).await;
    let before = all_versions(&space).await;
    assert_eq!(before.len(), 5 + 5 + 3 + 1);
    space.world.restart_operator().await;
    // What is new comes after what was there when it started.
    space.make::<CertificateRequest>("marker", csr).await;
    space.when("marker", "is signed", signed).await;
    space.certificate("marker", json!({})).await;
    assert_eq!(before, all_versions(&space).await);
}
