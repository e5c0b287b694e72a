//! Follows CertificateSigningRequests, and looks at those that are for us.

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestSpec,
};
use kube::runtime::reflector::store;
use kube::{Api, ResourceExt};
use tokio_util::sync::CancellationToken;

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
    // The first ends with `stop`, once what is under way is done.
    tokio::select! { () = reconciling => {} () = following => {} }
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
}
