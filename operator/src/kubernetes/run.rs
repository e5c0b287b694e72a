//! Follows CertificateSigningRequests, and looks at those that are for us.

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestSpec,
};
use kube::runtime::reflector::{Store, store};
use kube::{Api, ResourceExt};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::decide::{Decision, decide};
use super::reconcile::{Signing, error_policy, reconcile};
use super::signer::signer;
use crate::context::Context;
use crate::last_word::LastWords;
use crate::watch::{Change, Queue, Scope, follow};
use crate::worker::Worker;

/// So many are looked at at once.
const AT_ONCE: u16 = 8;

/// Runs until `stop` is cancelled.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let api: Api<CertificateSigningRequest> = Api::all(context.client.clone());
    let metrics = context.metrics.clone();
    let signing = Arc::new(Signing { context, said: LastWords::default() });
    let (requests, writer) = store();
    let (queue, waiting) = Queue::new(&metrics.work);
    let told = |change: Change<'_, CertificateSigningRequest>| match change {
        Change::There(request) if signer(&request.spec.signer_name).is_some() => queue.put(request),
        Change::There(_) => {}
        Change::Gone(request) => signing.said.forget(&request.uid().unwrap_or_default()),
    };
    let scope = Scope { slim: of_ours, ..Scope::default() };
    let following = follow(api, scope, writer, &metrics.watch_restarts, told);
    let reconciling = Worker::new(&requests, waiting, AT_ONCE, &stop).run(
        reconcile,
        error_policy,
        signing.clone(),
    );
    let waking = wake(&signing.context, &requests, &queue);
    // The first ends with `stop`, once what is under way is done.
    tokio::select! { () = reconciling => {} () = following => {} () = waking => {} }
}

/// Has the requests retried that wait for an issuer, whenever that changes, for as long as it is polled.
async fn wake(
    context: &Context,
    requests: &Store<CertificateSigningRequest>,
    queue: &Queue<CertificateSigningRequest>,
) {
    let mut changes = context.seen.signers.subscribe();
    loop {
        let changed = match changes.recv().await {
            Ok(name) => Some(name),
            // So many at once that some were missed.
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => std::future::pending().await,
        };
        for request in requests.state() {
            if waits_for(&request, changed.as_deref()) {
                queue.put(&request);
            }
        }
    }
}

/// Whether a request waits for a signer, or for any of ours.
fn waits_for(request: &CertificateSigningRequest, changed: Option<&str>) -> bool {
    let name = &request.spec.signer_name;
    let is_concerned = changed.map_or_else(|| signer(name).is_some(), |changed| changed == name);
    is_concerned && !matches!(decide(request), Decision::Leave | Decision::Wait)
}

/// Of the requests to signers of others only the name is kept.
fn of_ours(request: &mut CertificateSigningRequest) {
    if signer(&request.spec.signer_name).is_some() {
        return;
    }
    request.metadata.annotations = None;
    request.metadata.labels = None;
    request.status = None;
    request.spec = CertificateSigningRequestSpec {
        signer_name: std::mem::take(&mut request.spec.signer_name),
        ..CertificateSigningRequestSpec::default()
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_to_signers_of_others_are_kept_by_name_only() {
        let request = |signer: &str| -> CertificateSigningRequest {
            serde_json::from_value(json!({
                "metadata": { "name": "a", "annotations": { "note": "x" } },
                "spec": { "request": "eA==", "signerName": signer, "username": "u" },
                "status": { "certificate": "eA==" },
            }))
            .unwrap()
        };
        let mut others = request("kubernetes.io/kubelet-serving");
        of_ours(&mut others);
        assert!(others.spec.request.0.is_empty() && others.status.is_none());
        assert_eq!(others.spec.signer_name, "kubernetes.io/kubelet-serving");
        let mut ours = request("issuers.countersign.dev/shop.ca");
        let before = ours.clone();
        of_ours(&mut ours);
        assert_eq!(ours, before);
    }

    #[test]
    fn issuer_that_changes_wakes_the_requests_that_wait_for_it() {
        let request = |signer: &str, conditions: &[&str]| -> CertificateSigningRequest {
            let conditions = conditions.iter().map(|it| json!({ "type": it, "status": "True" }));
            let conditions: Vec<_> = conditions.collect();
            serde_json::from_value(json!({
                "metadata": { "name": "a" },
                "spec": { "request": "eA==", "signerName": signer, "username": "u" },
                "status": { "conditions": conditions },
            }))
            .unwrap()
        };
        let (ours, other) = ("issuers.countersign.dev/shop.ca", "issuers.countersign.dev/shop.db");
        let approved: &[&str] = &["Approved"];
        let cases = [
            (ours, approved, Some(ours), true),
            (ours, approved, Some(other), false),
            (ours, approved, None, true),
            ("example.org/ca", approved, None, false),
            (ours, &[], Some(ours), false),
            (ours, &["Approved", "Failed"], Some(ours), false),
        ];
        for (name, conditions, changed, expected) in cases {
            let found = waits_for(&request(name, conditions), changed);
            assert_eq!(found, expected, "{name} {conditions:?} {changed:?}");
        }
    }
}
