//! Signs a CertificateSigningRequest, and writes what became of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use serde_json::{Value, json};
use tracing::{info, instrument, warn};

use super::decide::{Decision, Order, PRIVATE_KEY_SECRET, decide};
use super::review::may_reference;
use super::signer::Signer;
use crate::context::{Context, FIELD_MANAGER};
use crate::issuer::{Job, Requester, SignError, Signed, load_requesters_key, sign, spec_of};
use crate::last_word::LastWords;
use crate::metrics::ReasonLabels;
use crate::pki::PrivateKey;
use crate::retry;
use crate::story::story;

/// The first interval at which a request is retried whose issuer cannot sign yet.
const RETRY: Duration = Duration::from_secs(5);

/// What reconciling needs.
pub(super) struct Signing {
    pub(super) context: Arc<Context>,
    pub(super) said: LastWords,
}

/// A CertificateSigningRequest could not be reconciled.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("asking whether the requester of {request} may reference its issuer")]
    Review {
        request: ObjectRef<CertificateSigningRequest>,
        #[source]
        source: kube::Error,
    },
    #[error("writing the status of {request}")]
    WriteStatus {
        request: ObjectRef<CertificateSigningRequest>,
        #[source]
        source: kube::Error,
    },
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// This is its certificate, and its intermediates.
    Issued(String),
    /// It will never have one.
    Failed { reason: &'static str, message: String },
    /// Not yet; trying again can help.
    Pending { reason: &'static str, message: String, longest: Duration },
}

/// Brings one CertificateSigningRequest to its end.
#[instrument(skip_all, fields(request = %ObjectRef::from_obj(&*request)))]
pub(super) async fn reconcile(
    request: Arc<CertificateSigningRequest>,
    signing: Arc<Signing>,
) -> Result<Action, Error> {
    let verdict = match decide(&request) {
        Decision::Leave => return Ok(Action::await_change()),
        Decision::Wait => {
            signing.tell_that_it_waits(&request);
            return Ok(Action::await_change());
        }
        Decision::Refuse(refusal) => {
            Verdict::Failed { reason: refusal.reason(), message: refusal.to_string() }
        }
        Decision::Sign(order) => signing.carry_out(&request, &order).await?,
    };
    signing.conclude(&request, verdict).await
}

impl Signing {
    async fn carry_out(
        &self,
        request: &CertificateSigningRequest,
        order: &Order,
    ) -> Result<Verdict, Error> {
        let may = may_reference(&self.context, &request.spec, &order.signer).await;
        let reference = || ObjectRef::from_obj(request);
        if !may.map_err(|source| Error::Review { request: reference(), source })? {
            return Ok(not_allowed(request, order));
        }
        let key = match self.own_key(request, order).await {
            Ok(key) => key,
            Err(error) => return Ok(outcome(Err(error))),
        };
        let job = Job {
            namespace: &order.signer.namespace,
            issuer: &order.signer.issuer,
            request: order.request.clone(),
            subject_der: Some(order.csr.subject_der.clone()),
            lifetime: order.lifetime,
            is_default_lifetime: order.is_default_lifetime,
            requester: Requester::User(request.spec.username.as_deref()),
            public_key: order.csr.public_key_spki.clone(),
            own_key: key.as_ref(),
            signature: None,
        };
        Ok(outcome(sign(&self.context, job).await))
    }

    /// The key of the CSR, where the issuer signs with that: it is beside the issuer, since the
    /// request itself stands in no namespace.
    async fn own_key(
        &self,
        request: &CertificateSigningRequest,
        order: &Order,
    ) -> Result<Option<PrivateKey>, SignError> {
        let Signer { issuer, namespace } = &order.signer;
        if spec_of(&self.context, issuer, namespace).await?.ca.is_some() {
            return Ok(None);
        }
        let home = &self.context.settings.cluster_resource_namespace;
        let namespace = if issuer.is_cluster_wide() { home } else { namespace };
        let (annotations, annotation) = (request.annotations(), PRIVATE_KEY_SECRET);
        let key =
            load_requesters_key(&self.context, namespace, annotations, annotation, &order.csr)
                .await;
        Ok(Some(key?))
    }

    async fn conclude(
        &self,
        request: &CertificateSigningRequest,
        verdict: Verdict,
    ) -> Result<Action, Error> {
        let uid = request.uid().unwrap_or_default();
        let context = &self.context;
        let (reason, message) = match verdict {
            Verdict::Pending { reason, message, longest } => {
                if self.said.is_news(&uid, &message) {
                    warn!(reason, message, "request not signed yet");
                    context.events.warning(request, reason, message);
                }
                let waited = waited(request, context.clock.now());
                return Ok(Action::requeue(retry::by_age(waited, RETRY, longest)));
            }
            Verdict::Issued(chain) => {
                let certificate = ByteString(chain.into_bytes());
                self.write(request, json!({ "certificate": certificate })).await?;
                info!("request signed");
                context.metrics.requests_signed.inc();
                let message = "Certificate signed by countersign.dev".to_owned();
                context.events.normal(request, "CertificateIssued", message);
                return Ok(Action::await_change());
            }
            Verdict::Failed { reason, message } => (reason, message),
        };
        let now = Time(context.clock.now());
        self.write(request, json!({ "conditions": failed(request, reason, &message, &now) }))
            .await?;
        warn!(reason, message, "request not signed");
        context.metrics.requests_refused.get_or_create(&ReasonLabels { reason }).inc();
        context.events.warning(request, reason, message);
        Ok(Action::await_change())
    }

    fn tell_that_it_waits(&self, request: &CertificateSigningRequest) {
        let message = "Waiting until somebody approves it: kubectl certificate approve";
        if self.said.is_news(&request.uid().unwrap_or_default(), message) {
            self.context.events.normal(request, "WaitingForApproval", message.to_owned());
        }
    }

    /// The version goes along: what somebody else wrote in between is never written over.
    async fn write(&self, request: &CertificateSigningRequest, status: Value) -> Result<(), Error> {
        let api: Api<CertificateSigningRequest> = Api::all(self.context.client.clone());
        let version = &request.metadata.resource_version;
        let patch = json!({ "metadata": { "resourceVersion": version }, "status": status });
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let name = request.name_any();
        let written = api.patch_status(&name, &parameters, &Patch::Merge(&patch)).await;
        let reference = || ObjectRef::from_obj(request);
        written.map_err(|source| Error::WriteStatus { request: reference(), source })?;
        self.said.forget(&request.uid().unwrap_or_default());
        Ok(())
    }
}

/// For how long it has waited since it was approved.
fn waited(request: &CertificateSigningRequest, now: Timestamp) -> SignedDuration {
    let conditions = request.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut approved = conditions.filter(|condition| condition.type_ == "Approved");
    let since = approved.find_map(|approved| approved.last_transition_time.as_ref());
    let since = since.or(request.metadata.creation_timestamp.as_ref());
    since.map(|since| now.duration_since(since.0)).unwrap_or_default()
}

fn not_allowed(request: &CertificateSigningRequest, order: &Order) -> Verdict {
    let (namespace, name) = (&order.signer.namespace, &order.signer.issuer.name);
    let user = request.spec.username.as_deref().unwrap_or_default();
    let message = format!(
        "{user:?} may not reference Issuer {namespace}/{name}: it needs the verb reference on signers.countersign.dev {name:?} in namespace {namespace}"
    );
    Verdict::Failed { reason: "DeniedReference", message }
}

fn outcome(signed: Result<Signed, SignError>) -> Verdict {
    let error = match signed {
        Ok(signed) => return Verdict::Issued(signed.chain),
        Err(error) => error,
    };
    let (reason, is_passing, longest) = (error.reason(), error.is_passing(), error.longest_wait());
    let message = story(&error);
    if is_passing {
        Verdict::Pending { reason, message, longest }
    } else {
        Verdict::Failed { reason, message }
    }
}

/// The conditions that it has, and that it failed.
fn failed(
    request: &CertificateSigningRequest,
    reason: &str,
    message: &str,
    now: &Time,
) -> Vec<CertificateSigningRequestCondition> {
    let before = request.status.as_ref().and_then(|status| status.conditions.clone());
    let mut conditions = before.unwrap_or_default();
    conditions.push(CertificateSigningRequestCondition {
        type_: "Failed".to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(now.clone()),
        last_transition_time: Some(now.clone()),
    });
    conditions
}

/// After an error of the API server's, a little later.
pub(super) fn error_policy(
    request: Arc<CertificateSigningRequest>,
    error: &Error,
    signing: Arc<Signing>,
) -> Action {
    let reason = match error {
        Error::Review { .. } => "AccessReviewError",
        Error::WriteStatus { .. } => "WriteStatusError",
    };
    let message = story(error);
    warn!(reason, error = message, "reconciliation failed");
    let uid = request.uid().unwrap_or_default();
    if retry::is_lasting(error) && signing.said.is_news(&uid, &message) {
        signing.context.events.warning(&*request, reason, message);
    }
    signing.context.metrics.reconcile_errors.get_or_create(&ReasonLabels { reason }).inc();
    Action::requeue(retry::after(error, Duration::from_secs(1)))
}

#[cfg(test)]
mod tests;
