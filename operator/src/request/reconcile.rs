//! Reads a CertificateRequest, signs it, and writes what became of it.

use std::sync::Arc;
use std::time::Duration;

use countersign_crds::{Certificate, CertificateRequest, Condition, ConditionStatus};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use serde_json::json;
use tracing::{info, instrument, warn};

use super::decide::{Decision, Order, decide};
use crate::certificate::names;
use crate::context::{Context, FIELD_MANAGER};
use crate::issuer::authority::AuthorityUnavailable;
use crate::issuer::{Job, Requester, SignError, Signed, load_requesters_key, sign, spec_of};
use crate::metrics::ReasonLabels;
use crate::pki::PrivateKey;
use crate::retry;
use crate::story::story;

/// The first interval at which a request is retried whose issuer cannot sign yet.
const RETRY: Duration = Duration::from_secs(5);

/// A CertificateRequest could not be reconciled.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum Error {
    #[error("writing the status of {request}")]
    WriteStatus {
        request: ObjectRef<CertificateRequest>,
        #[source]
        source: kube::Error,
    },
}

/// What became of it: the conditions to set, and what was signed.
struct Verdict {
    /// The reason of the Event that tells of it: finer than that of the condition Ready.
    event: &'static str,
    approved: bool,
    conditions: Vec<(&'static str, ConditionStatus, &'static str, String)>,
    signed: Option<Signed>,
    is_final: bool,
    /// The longest interval at which it is retried, where it is not final.
    longest: Duration,
}

/// Brings one CertificateRequest to its end.
///
/// # Errors
/// When the API server cannot be written.
#[instrument(skip_all, fields(request = %ObjectRef::from_obj(&*request)))]
pub async fn reconcile(
    request: Arc<CertificateRequest>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let verdict = match decide(&request, context.settings.approves) {
        Decision::Leave => return Ok(Action::await_change()),
        Decision::Wait => return Ok(tell_that_it_waits(&context, &request)),
        Decision::Deny(why) => denied(why),
        Decision::Refuse(why) => invalid(why),
        Decision::Sign(order) => {
            let namespace = request.namespace().unwrap_or_default();
            match awaits_approval(&context, &order, &namespace).await {
                Ok(true) => return Ok(tell_that_it_waits(&context, &request)),
                Ok(false) => outcome(signed(&context, &request, &order, &namespace).await),
                Err(error) => outcome(Err(error)),
            }
        }
    };
    let (is_final, longest) = (verdict.is_final, verdict.longest);
    let is_signed = verdict.signed.is_some();
    match write(&context, &request, verdict).await {
        // What was signed does not fit: to sign it again would change nothing.
        Err(error) if is_signed && retry::is_lasting(&error) => {
            write(&context, &request, failed(story(&error))).await?;
        }
        written => written?,
    }
    if is_final {
        return Ok(Action::await_change());
    }
    Ok(Action::requeue(retry::by_age(waited(&request, context.clock.now()), RETRY, longest)))
}

/// For how long its status has said that it is not signed.
fn waited(request: &CertificateRequest, now: Timestamp) -> SignedDuration {
    let mut conditions = request.status.iter().flat_map(|status| &status.conditions);
    let waits = conditions.find(|c| c.type_ == READY && c.status == ConditionStatus::False);
    let since = waits.and_then(|waits| waits.last_transition_time.as_ref());
    since.map(|since| now.duration_since(since.0)).unwrap_or_default()
}

/// Whether the issuer's policy wants somebody's approval that is not there.
async fn awaits_approval(
    context: &Context,
    order: &Order,
    namespace: &str,
) -> Result<bool, SignError> {
    Ok(!order.is_approved && spec_of(context, &order.issuer, namespace).await?.requires_approval())
}

fn tell_that_it_waits(context: &Context, request: &CertificateRequest) -> Action {
    let message = "Not signed before it is approved: kubectl countersign approve";
    context.events.normal(request, "WaitingForApproval", message.to_owned());
    Action::await_change()
}

async fn signed(
    context: &Context,
    request: &CertificateRequest,
    order: &Order,
    namespace: &str,
) -> Result<Signed, SignError> {
    let key = own_key(context, request, order, namespace).await?;
    let certificate = certificate_of(context, request, order, namespace);
    let requester = match &certificate {
        Some(certificate) => Requester::Certificate(certificate),
        None => Requester::User(request.spec.username.as_deref()),
    };
    sign(context, Job { own_key: key.as_deref(), ..job(order, namespace, requester) }).await
}

/// The Certificate that a request was made for by the operator: its key is one that the operator waits with,
/// or the API server recorded a service account of the operator's namespace. An annotation alone says nothing.
fn certificate_of(
    context: &Context,
    request: &CertificateRequest,
    order: &Order,
    namespace: &str,
) -> Option<Arc<Certificate>> {
    let name = request.annotations().get(names::CERTIFICATE_NAME)?;
    let pending = context.pending_keys.of(namespace, &request.name_any());
    let is_ours =
        pending.is_some_and(|pending| pending.key.public_key_spki() == order.csr.public_key_spki);
    let home = &context.settings.cluster_resource_namespace;
    let operator = format!("system:serviceaccount:{home}:");
    let user = request.spec.username.as_deref().unwrap_or_default();
    if !is_ours && !user.starts_with(&operator) {
        return None;
    }
    context.seen.certificates.get(&ObjectRef::new(name).within(namespace))
}

/// The key of the CSR, where the issuer signs with that: of a Certificate that waits for the answer,
/// or in the Secret that the request names.
async fn own_key(
    context: &Context,
    request: &CertificateRequest,
    order: &Order,
    namespace: &str,
) -> Result<Option<Arc<PrivateKey>>, SignError> {
    if spec_of(context, &order.issuer, namespace).await?.ca.is_some() {
        return Ok(None);
    }
    let is_its = |key: &Arc<PrivateKey>| key.public_key_spki() == order.csr.public_key_spki;
    let pending = context.pending_keys.of(namespace, &request.name_any());
    if let Some(key) = pending.map(|pending| pending.key).filter(is_its) {
        return Ok(Some(key));
    }
    let (annotations, annotation) = (request.annotations(), names::PRIVATE_KEY_SECRET);
    let key = load_requesters_key(context, namespace, annotations, annotation, &order.csr).await?;
    Ok(Some(Arc::new(key)))
}

fn job<'a>(order: &'a Order, namespace: &'a str, requester: Requester<'a>) -> Job<'a> {
    Job {
        namespace,
        issuer: &order.issuer,
        request: order.request.clone(),
        subject_der: Some(order.csr.subject_der.clone()),
        lifetime: order.lifetime,
        is_default_lifetime: order.is_default_lifetime,
        requester,
        public_key: order.csr.public_key_spki.clone(),
        own_key: None,
        signature: None,
    }
}

const READY: &str = "Ready";

/// Who approves where nobody else must, and what is said of it.
const APPROVER: &str = "countersign.dev";
const APPROVED: &str = "Certificate request has been approved by countersign.dev";

fn denied(why: String) -> Verdict {
    let message = format!("The CertificateRequest was denied: {why}");
    Verdict {
        event: "Denied",
        approved: false,
        conditions: vec![(READY, ConditionStatus::False, "Denied", message)],
        signed: None,
        is_final: true,
        longest: retry::LONGEST_WAIT,
    }
}

fn failed(why: String) -> Verdict {
    Verdict {
        event: "WriteStatusError",
        approved: true,
        conditions: vec![(READY, ConditionStatus::False, "Failed", why)],
        signed: None,
        is_final: true,
        longest: retry::LONGEST_WAIT,
    }
}

fn invalid(why: String) -> Verdict {
    Verdict {
        event: "InvalidRequest",
        approved: false,
        conditions: vec![
            ("InvalidRequest", ConditionStatus::True, "InvalidRequest", why.clone()),
            (READY, ConditionStatus::False, "Failed", why),
        ],
        signed: None,
        is_final: true,
        longest: retry::LONGEST_WAIT,
    }
}

fn outcome(signed: Result<Signed, SignError>) -> Verdict {
    let event = signed.as_ref().map_or_else(event, |_| "CertificateIssued");
    let longest = signed.as_ref().map_or_else(SignError::longest_wait, |_| retry::LONGEST_WAIT);
    let (conditions, signed, is_final) = match signed {
        Ok(signed) => {
            let message = "Certificate fetched from issuer successfully".to_owned();
            (vec![(READY, ConditionStatus::True, "Issued", message)], Some(signed), true)
        }
        Err(SignError::Denied(denied)) => {
            let message = denied.to_string();
            let conditions = vec![
                ("Denied", ConditionStatus::True, "countersign.dev", message.clone()),
                (READY, ConditionStatus::False, "Denied", message),
            ];
            let (approved, signed, is_final) = (false, None, true);
            return Verdict { event, approved, conditions, signed, is_final, longest };
        }
        Err(error) => {
            let reason = if error.is_passing() { "Pending" } else { "Failed" };
            let conditions = vec![(READY, ConditionStatus::False, reason, story(&error))];
            (conditions, None, !error.is_passing())
        }
    };
    Verdict { event, approved: true, conditions, signed, is_final, longest }
}

/// The reason of an Event about what kept a request from being signed, in cert-manager's words.
fn event(error: &SignError) -> &'static str {
    match error {
        SignError::Authority(AuthorityUnavailable::Missing { .. }) => "SecretMissing",
        SignError::Authority(AuthorityUnavailable::Read { .. }) => "SecretGetError",
        SignError::Authority(_) => "SecretInvalidData",
        error => error.reason(),
    }
}

async fn write(
    context: &Context,
    request: &CertificateRequest,
    verdict: Verdict,
) -> Result<(), Error> {
    let before = request.status.clone().unwrap_or_default();
    let mut after = before.clone();
    let now = Time(context.clock.now());
    if verdict.approved {
        let approval = ("Approved", ConditionStatus::True, APPROVER, APPROVED.to_owned());
        set(&mut after.conditions, approval, &now);
    }
    for condition in verdict.conditions.clone() {
        set(&mut after.conditions, condition, &now);
    }
    after.certificate = verdict.signed.as_ref().map(|s| ByteString(s.chain.clone().into_bytes()));
    after.ca = verdict.signed.and_then(|s| s.ca).map(|ca| ByteString(ca.into_bytes()));
    let failed = verdict.is_final && after.certificate.is_none();
    after.failure_time = failed.then_some(now);
    if after == before {
        return Ok(());
    }
    apply(context, request, &after).await?;
    let is_approved = |conditions: &[Condition]| conditions.iter().any(|c| c.type_ == "Approved");
    if is_approved(&after.conditions) && !is_approved(&before.conditions) {
        context.events.normal(request, APPROVER, APPROVED.to_owned());
    }
    for (type_, status, reason, message) in verdict.conditions {
        if type_ == READY {
            report(context, request, (status, reason, verdict.event), message);
        }
    }
    Ok(())
}

async fn apply(
    context: &Context,
    request: &CertificateRequest,
    status: &countersign_crds::CertificateRequestStatus,
) -> Result<(), Error> {
    let namespace = request.namespace().unwrap_or_default();
    let api: Api<CertificateRequest> = Api::namespaced(context.client.clone(), &namespace);
    // The version goes along: an approver's or a denier's word in between is never written over.
    let patch = json!({
        "metadata": { "resourceVersion": request.metadata.resource_version },
        "status": status,
    });
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch_status(&request.name_any(), &parameters, &Patch::Merge(&patch))
        .await
        .map(|_| ())
        .map_err(|source| Error::WriteStatus { request: ObjectRef::from_obj(request), source })
}

fn report(
    context: &Context,
    request: &CertificateRequest,
    (status, reason, event): (ConditionStatus, &'static str, &'static str),
    message: String,
) {
    if status == ConditionStatus::True {
        info!("request signed");
        context.metrics.requests_signed.inc();
        context.events.normal(request, event, message);
    } else {
        warn!(reason, event, message, "request not signed");
        context.metrics.requests_refused.get_or_create(&ReasonLabels { reason }).inc();
        context.events.warning(request, event, message);
    }
}

fn set(
    conditions: &mut Vec<Condition>,
    (type_, status, reason, message): (&str, ConditionStatus, &str, String),
    now: &Time,
) {
    let before = conditions.iter().find(|condition| condition.type_ == type_);
    let unchanged = before.is_some_and(|condition| {
        condition.status == status
            && condition.reason.as_deref() == Some(reason)
            && condition.message.as_deref() == Some(message.as_str())
    });
    // An approver's word stays, and nothing is both approved and denied: the policy of the chart
    // would refuse the whole status. What we do not sign says so on Ready.
    let is_approved = conditions.iter().any(|condition| condition.type_ == "Approved");
    if unchanged || (is_approved && ["Approved", "Denied"].contains(&type_)) {
        return;
    }
    let since = before
        .filter(|condition| condition.status == status)
        .and_then(|condition| condition.last_transition_time.clone())
        .unwrap_or_else(|| now.clone());
    conditions.retain(|condition| condition.type_ != type_);
    conditions.push(Condition {
        type_: type_.to_owned(),
        status,
        last_transition_time: Some(since),
        reason: Some(reason.to_owned()),
        message: Some(message),
        observed_generation: None,
    });
}

/// After an error of the API server's, a little later.
#[must_use]
pub fn error_policy(
    request: Arc<CertificateRequest>,
    error: &Error,
    context: Arc<Context>,
) -> Action {
    let (reason, message) = ("WriteStatusError", story(error));
    warn!(reason, error = message, "reconciliation failed");
    if retry::is_lasting(error) {
        context.events.warning(&*request, reason, message);
    }
    context.metrics.reconcile_errors.get_or_create(&ReasonLabels { reason }).inc();
    Action::requeue(retry::after(error, Duration::from_secs(1)))
}

#[cfg(test)]
mod tests;
