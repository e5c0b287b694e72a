//! Follows CertificateSigningRequests, and looks at those that are for us.

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
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
    let everything = Scope::default();
    let following = follow(api, everything, writer, &metrics.watch_restarts, told);
    let reconciling = Worker::new(&requests, waiting, AT_ONCE, &stop).run(
        reconcile,
        error_policy,
        signing.clone(),
    );
    // The first ends with `stop`, once what is under way is done.
    tokio::select! { () = reconciling => {} () = following => {} }
}
