//! Follows CertificateSigningRequests, and looks at those that are for us.

use std::sync::Arc;

use futures::channel::mpsc::unbounded;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::runtime::reflector::{ObjectRef, store};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::reconcile::{Signing, error_policy, reconcile};
use super::signer::signer;
use crate::context::Context;
use crate::last_word::LastWords;
use crate::run::{controller, drive};
use crate::watch::{Change, follow};

/// So many are looked at at once.
const AT_ONCE: u16 = 8;

/// Runs until `stop` is cancelled.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let api: Api<CertificateSigningRequest> = Api::all(context.client.clone());
    let signing = Arc::new(Signing { context, said: LastWords::default() });
    let (requests, writer) = store();
    let (queue, waiting) = unbounded();
    let following = follow(api, watcher::Config::default(), writer, |change| match change {
        Change::There(request) if signer(&request.spec.signer_name).is_some() => {
            // Nobody takes any more where the operator is about to end.
            let _ = queue.unbounded_send(ObjectRef::from_obj(request));
        }
        Change::There(_) => {}
        Change::Gone(request) => signing.said.forget(&request.uid().unwrap_or_default()),
    });
    let reconciling = drive(controller(&requests, waiting, AT_ONCE, &stop).run(
        reconcile,
        error_policy,
        signing.clone(),
    ));
    // The first ends with `stop`, once what is under way is done.
    tokio::select! { () = reconciling => {} () = following => {} }
}
