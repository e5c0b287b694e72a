//! What is settled stays as it is: an operator that knows nothing, and sees every namespace that was
//! ever made here, writes in none of them.

use countersign_crds::CertificateRequest;
use serde_json::json;

use crate::proxy::Step;
use crate::requests::csr;
use crate::space::Space;
use crate::world::World;

pub(crate) async fn a_restart_writes_nothing(world: &World) {
    let space = Space::new(world, "a restart", false).await;
    space.seat.start().await;
    // What is made now comes after all that was there when it started.
    space.issuer().await;
    space.issued_web(json!({})).await;
    let request = json!({ "spec": { "request": csr(), "issuerRef": { "name": "ca" } } });
    space.make::<CertificateRequest>("laptop", request).await;
    let is_signed = |request: CertificateRequest| request.status?.certificate;
    space.history.until(|seen| seen.requests.named("laptop").and_then(is_signed).is_some()).await;
    let its = format!("/namespaces/{}/", space.name);
    let steps = space.seat.proxy.steps().into_iter();
    let others: Vec<Step> =
        steps.filter(|step| step.writes() && !step.path.contains(&its)).collect();
    assert!(others.is_empty(), "a restart writes: {others:?} ({})", space.seat.log.display());
    space.seat.proxy.stop();
}
