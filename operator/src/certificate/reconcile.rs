//! The short shell around the decision.

use std::sync::Arc;
use std::time::Duration;

use countersign_contract::names::{IDENTITY_LABEL, SERVICE_ACCOUNT_ANNOTATION, identity_name};
use countersign_crds::{Certificate, CertificateStatus};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use tracing::{info, instrument, warn};

use super::checks::{self, Finding};
use super::decide::{CONTESTED, Decision, NO_PASSWORD, decide, is_repair};
use super::error::Error;
use super::keys::NotYet;
use super::observe::{Look, Observed, Stored};
use super::reference::default_issuer;
use super::settled;
use super::signer::Signer;
use super::status::{self, Outcome};
use super::wanted::Wanted;
use super::{act, ask, ending, names, request, successor, unfinished};
use crate::context::Context;
use crate::metrics::ReasonLabels;
use crate::pki::PrivateKey;
use crate::retry;
use crate::watch::Key;

/// A Certificate is looked at this often even when nothing happens.
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3600);

/// How often a Certificate is looked at that reads a Secret of which no change is told.
const RECHECK_UNFOLLOWED: Duration = Duration::from_secs(60);

/// How long after a failed write, or while an issuer cannot sign, a Certificate is looked at again.
const RETRY: Duration = Duration::from_secs(10);

/// How long until the next look at a CertificateRequest that was just made or taken away.
const SOON: Duration = Duration::from_secs(2);

/// So many keys are made so soon that nothing need be said of it.
const FEW: usize = 16;

/// A Certificate that was refused is looked at this often: what it needs may change elsewhere, for
/// example when the other one that names its Secret goes.
const RECHECK_REFUSED: Duration = Duration::from_secs(180);

/// Brings one Certificate to what it should be, unless it is an identity.
///
/// # Errors
/// When the API server cannot be read or written; the reconciliation is tried again.
#[instrument(skip_all, fields(certificate = %ObjectRef::from_obj(&*certificate)))]
pub async fn reconcile(
    certificate: Arc<Certificate>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    if is_identity(&certificate) {
        Ok(Action::await_change())
    } else {
        bring(certificate, context).await
    }
}

/// Brings one identity to what it should be.
///
/// # Errors
/// When the API server cannot be read or written; the reconciliation is tried again.
#[instrument(skip_all, fields(certificate = %ObjectRef::from_obj(&*certificate)))]
pub async fn reconcile_identity(
    certificate: Arc<Certificate>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    if is_identity(&certificate) {
        bring(certificate, context).await
    } else {
        Ok(Action::await_change())
    }
}

/// Whether a Certificate is the identity of a service account, as the operator makes them. Those have
/// a queue of their own.
#[must_use]
pub fn is_identity(certificate: &Certificate) -> bool {
    let account = certificate.annotations().get(SERVICE_ACCOUNT_ANNOTATION);
    let is_named = |account: &String| {
        let name = identity_name(account);
        certificate.name_any() == name && certificate.spec.secret_name == name
    };
    certificate.labels().contains_key(IDENTITY_LABEL) && account.is_some_and(is_named)
}

async fn bring(certificate: Arc<Certificate>, context: Arc<Context>) -> Result<Action, Error> {
    let certificate = with_default_issuer(&context, context.seen.own_writes.newest(certificate));
    let key = (certificate.namespace().unwrap_or_default(), certificate.name_any());
    let changes = context.seen.inputs.changes(&key);
    let action = match attempt(&context, certificate.clone(), Look::IfKnown).await {
        Err(Error::Occupied { .. }) => attempt(&context, certificate, Look::Always).await,
        ended => ended,
    }?;
    context.seen.inputs.reconciled(&key, changes);
    Ok(action)
}

/// Whether every change of what a Certificate reads is told.
fn follows_inputs(context: &Context, key: &Key) -> bool {
    context.seen.inputs.of(key).iter().all(|secret| context.seen.follows(secret))
}

async fn attempt(
    context: &Context,
    certificate: Arc<Certificate>,
    look: Look,
) -> Result<Action, Error> {
    let now = context.clock.now();
    if ending::is_in_an_ending_namespace(context, &certificate) {
        return Ok(Action::await_change());
    }
    let signer = Signer::of(context, &certificate);
    if let Some(status) = settled(context, &certificate, signer.as_ref(), now) {
        let reissues_at = reissues_at(signer.as_ref(), &certificate, status);
        let wait = wait(&Decision::Keep, &Outcome::Unchanged, status, reissues_at, now);
        return Ok(Action::requeue(wait));
    }
    let wanted = Wanted::by(&certificate);
    let seen = Observed::of(context, certificate, look).await?;
    let mut decision = decide(&seen, &wanted, now);
    if decision == Decision::Leave {
        return Ok(Action::await_change());
    }
    let wanted = wanted.ok();
    if let Some(wanted) = &wanted {
        decision = decision.within_key_limit(context.settings.max_rsa_bits, &seen, wanted);
    }
    let repaired = is_repair(&seen, &decision).then(|| seen.certificate.uid()).flatten();
    let key = match key_step(context, &seen, &decision, wanted.as_ref()).await? {
        Ok(key) => key,
        Err(not_yet) if not_yet.waiting <= FEW => return Ok(Action::requeue(LONGEST_WAIT)),
        Err(not_yet) => {
            decision = decision.waiting_for_key(not_yet);
            None
        }
    };
    let step = request_step(context, &seen, &decision, wanted.as_ref(), &key).await;
    let (seen, outcome) = match step {
        Ok(Some(soon)) => {
            repaired.iter().for_each(|uid| context.repairs.note(uid, now));
            return Ok(soon);
        }
        Ok(None) => carry_out(context, seen, &decision, wanted.as_ref(), &key).await?,
        // What is asked for is more than a request may hold, for example.
        Err(error) if error.is_of_the_csr() || retry::is_lasting(&error) => {
            (seen, failure(context, &error))
        }
        Err(error) => return Err(error),
    };
    if !matches!(outcome, Outcome::Failed { .. }) {
        repaired.iter().for_each(|uid| context.repairs.note(uid, now));
    }
    let outcome = found(context, &seen, outcome).await?;
    let status = status::next(&seen, wanted.as_ref(), &decision, &outcome, now);
    act::write_status(context, &seen.certificate, &status).await?;
    report(context, &seen.certificate, &decision, &outcome);
    let reissues_at = reissues_at(seen.signer.as_ref(), &seen.certificate, &status);
    let rests_until = checks::rests_until(&seen, Some(&status));
    let due = reissues_at.into_iter().chain(rests_until).min();
    let wait = wait(&decision, &outcome, &status, due, now);
    let name = (seen.certificate.namespace().unwrap_or_default(), seen.certificate.name_any());
    let longest = if follows_inputs(context, &name) { LONGEST_WAIT } else { RECHECK_UNFOLLOWED };
    Ok(Action::requeue(wait.min(longest)))
}

fn reissues_at(
    signer: Option<&Signer>,
    certificate: &Certificate,
    status: &CertificateStatus,
) -> Option<Timestamp> {
    signer.and_then(|signer| signer.reissues_at(certificate, status.authority.as_deref()))
}

/// Nothing changed that a decision could rest on, and nothing is due.
fn settled<'a>(
    context: &Context,
    certificate: &'a Certificate,
    signer: Option<&Signer>,
    now: Timestamp,
) -> Option<&'a CertificateStatus> {
    let name = (certificate.namespace()?, certificate.name_any());
    if context.seen.inputs.changes(&name) > 0 || !follows_inputs(context, &name) {
        return None;
    }
    let key = (certificate.namespace()?, certificate.spec.secret_name.clone());
    let version = certificate.status.as_ref()?.secret_resource_version.as_deref();
    let same_secret = context.seen.secrets.is_unchanged(&key, version);
    settled::settled(certificate, signer, now).filter(|_| same_secret)
}

/// A Certificate that names no issuer is one of the default issuer's.
fn with_default_issuer(context: &Context, certificate: Arc<Certificate>) -> Arc<Certificate> {
    if !certificate.spec.issuer_ref.is_absent() {
        return certificate;
    }
    let namespace = certificate.namespace().unwrap_or_default();
    let namespace = context.seen.namespaces.get(&ObjectRef::new(&namespace));
    let issuer = default_issuer(namespace.as_deref(), context.settings.default_issuer.as_ref());
    let Some(issuer) = issuer else { return certificate };
    let mut certificate = Arc::unwrap_or_clone(certificate);
    certificate.spec.issuer_ref = issuer.into();
    Arc::new(certificate)
}

/// The key that carrying out a decision takes, if it takes one; how many wait, where it is not made yet.
async fn key_step(
    context: &Context,
    seen: &Observed,
    decision: &Decision,
    wanted: Option<&Wanted>,
) -> Result<Result<Option<Arc<PrivateKey>>, NotYet>, Error> {
    let takes_one = match decision {
        Decision::Issue(_) | Decision::Ask(_) => true,
        Decision::Wait { .. } => wants_temporary(seen),
        _ => false,
    };
    match wanted.filter(|_| takes_one) {
        Some(wanted) => Ok(act::key_for(context, seen, wanted).await?.map(Some)),
        None => {
            context.keys.forget(seen.certificate.metadata.uid.as_deref().unwrap_or_default());
            Ok(Ok(None))
        }
    }
}

/// The steps with a CertificateRequest of which nothing is said on the status.
async fn request_step(
    context: &Context,
    seen: &Observed,
    decision: &Decision,
    wanted: Option<&Wanted>,
    key: &Option<Arc<PrivateKey>>,
) -> Result<Option<Action>, Error> {
    match (decision, wanted.zip(key.as_ref())) {
        (Decision::Ask(finding), Some((wanted, key))) => {
            let request = ask::ask(context, seen, wanted, key).await?;
            let name = request.name_any();
            info!(reason = finding.reason.as_str(), request = name, "asked for a certificate");
            let note = format!("{}; asked for by CertificateRequest {name}", finding.message);
            context.events.normal(&*seen.certificate, "Requested", note);
        }
        (Decision::Discard { request, why }, _) => {
            info!(request, why, "taking a CertificateRequest away");
            ask::discard(context, &seen.certificate, request).await?;
        }
        (Decision::Hold, _) => {}
        _ => return Ok(None),
    }
    Ok(Some(Action::requeue(SOON)))
}

async fn carry_out(
    context: &Context,
    seen: Observed,
    decision: &Decision,
    wanted: Option<&Wanted>,
    key: &Option<Arc<PrivateKey>>,
) -> Result<(Observed, Outcome), Error> {
    if let (Decision::Issue(finding), Some((wanted, key))) = (decision, wanted.zip(key.as_ref())) {
        info!(reason = finding.reason.as_str(), message = finding.message, "issuing");
        let started = std::time::Instant::now();
        let issued = act::issue(context, &seen, wanted, key).await;
        context.metrics.issuance_duration.observe(started.elapsed().as_secs_f64());
        return ended(context, seen, finding, issued);
    }
    match (decision, wanted) {
        (Decision::Store { wanted: finding, answer }, Some(wanted)) => {
            let stored = act::store_answer(context, &seen, wanted, answer).await;
            if stored.is_ok() {
                forget_key(context, &seen).await?;
                let revision = request::next_revision(&seen.certificate);
                ask::prune(context, &seen.certificate, revision).await?;
            }
            ended(context, seen, finding, stored)
        }
        (Decision::Fail { reason, message, .. }, _) => {
            forget_key(context, &seen).await?;
            let (reason, message) = (reason.clone(), message.clone());
            warn!(reason, message, "the CertificateRequest was refused");
            let labels = ReasonLabels { reason: "RequestRefused" };
            context.metrics.failures.get_or_create(&labels).inc();
            Ok((seen, Outcome::Failed { reason, message }))
        }
        (Decision::Wait { .. }, Some(wanted)) => waiting(context, seen, wanted, key).await,
        (Decision::Refuse { .. }, _) if successor::should_join(&seen) => {
            successor::join(context, &seen).await?;
            Ok((seen, Outcome::Unchanged))
        }
        (Decision::Tidy, _) => {
            leave_if_joined(context, &seen).await?;
            let secret = act::tidy(context, &seen).await?.or_else(|| seen.secret.clone());
            Ok((Observed { secret, ..seen }, Outcome::Unchanged))
        }
        _ => Ok((seen, Outcome::Unchanged)),
    }
}

async fn forget_key(context: &Context, seen: &Observed) -> Result<(), Error> {
    match &seen.asked {
        Some(asked) => ask::forget_key(context, &asked.request).await,
        None => Ok(()),
    }
}

/// The Secret is this Certificate's by now, and was written as such before.
async fn leave_if_joined(context: &Context, seen: &Observed) -> Result<(), Error> {
    let stored = seen.secret.as_ref();
    let is_its = |stored: &&Stored| {
        let owner = stored.annotations.get(names::CERTIFICATE_NAME);
        owner == Some(&seen.certificate.name_any())
            && successor::is_joined(&seen.certificate, stored)
    };
    match stored.filter(is_its) {
        Some(_) => successor::leave(context, seen).await,
        None => Ok(()),
    }
}

/// What was stored before the work broke off, the status tells now.
async fn found(context: &Context, seen: &Observed, outcome: Outcome) -> Result<Outcome, Error> {
    match unfinished::untold(seen) {
        Some(revision) if outcome == Outcome::Unchanged => {
            info!(revision, "the Secret holds a certificate of which the status did not tell");
            ask::finish(context, seen, revision).await?;
            Ok(Outcome::Found(revision))
        }
        _ => Ok(outcome),
    }
}

fn ended(
    context: &Context,
    seen: Observed,
    finding: &Finding,
    issued: Result<Stored, Error>,
) -> Result<(Observed, Outcome), Error> {
    Ok(match issued {
        Ok(stored) => {
            let labels = ReasonLabels { reason: finding.reason.as_str() };
            context.metrics.issuances.get_or_create(&labels).inc();
            (Observed { secret: Some(stored), ..seen }, Outcome::Issued)
        }
        Err(error) if ending::is_why(&error) => return Err(error),
        Err(error @ Error::Occupied { .. }) => return Err(error),
        Err(error) if error.is_conflict() => return Err(error),
        Err(error) => (seen, failure(context, &error)),
    })
}

/// While a certificate is waited for: a temporary one where that is asked for, and the key of a
/// request that takes its time is kept for a restart.
async fn waiting(
    context: &Context,
    mut seen: Observed,
    wanted: &Wanted,
    key: &Option<Arc<PrivateKey>>,
) -> Result<(Observed, Outcome), Error> {
    if let Some(key) = key.as_ref().filter(|_| wants_temporary(&seen)) {
        seen.secret = Some(act::store_temporary(context, &seen, wanted, key).await?);
        let note = "Issued temporary certificate".to_owned();
        context.events.normal(&*seen.certificate, "Issuing", note);
    }
    match &seen.asked {
        Some(asked) if asked.is_kept => {
            let name = request::key_secret_name(&asked.request.name_any());
            Ok((seen, Outcome::Kept(name)))
        }
        Some(asked) if asked.key.is_some() => {
            let kept = ask::keep_key(context, asked).await?;
            Ok((seen, kept.map_or(Outcome::Unchanged, Outcome::Kept)))
        }
        _ => Ok((seen, Outcome::Unchanged)),
    }
}

/// A temporary certificate is for a Secret that holds none: one that expired, or is another's, is
/// still more than nothing to whoever uses it.
fn wants_temporary(seen: &Observed) -> bool {
    let asked = seen.certificate.annotations().get(names::ISSUE_TEMPORARY);
    let has_pair = seen.secret.as_ref().and_then(|secret| secret.pair()).is_some();
    let is_frozen = seen.secret.as_ref().is_some_and(|secret| secret.is_immutable);
    asked.map(String::as_str) == Some("true") && !has_pair && !is_frozen
}

fn failure(context: &Context, error: &Error) -> Outcome {
    let (reason, message) = (error.reason(), error.story());
    warn!(reason, message, "issuance failed");
    context.metrics.failures.get_or_create(&ReasonLabels { reason }).inc();
    Outcome::Failed { reason: reason.to_owned(), message }
}

/// Tells people what happened, once: a condition that already says it needs no second event.
fn report(context: &Context, certificate: &Certificate, decision: &Decision, outcome: &Outcome) {
    let events = &context.events;
    match (decision, outcome) {
        (_, Outcome::Failed { reason, message }) => {
            events.warning(certificate, reason, message.clone());
        }
        (Decision::Issue(finding) | Decision::Store { wanted: finding, .. }, Outcome::Issued) => {
            let secret = &certificate.spec.secret_name;
            let issued = "The certificate has been successfully issued";
            let note = format!("{issued} and stored in Secret {secret}: {}", finding.message);
            told_of_new(context, certificate, note);
        }
        (_, Outcome::Found(revision)) => {
            let secret = &certificate.spec.secret_name;
            let note =
                format!("Revision {revision} is in Secret {secret}, and was not told of yet");
            told_of_new(context, certificate, note);
        }
        (Decision::Refuse { reason, message }, _) if !says(certificate, "Ready", message) => {
            events.warning(certificate, reason, message.clone());
        }
        (Decision::Contested { message, .. }, _) if !says(certificate, "Issuing", message) => {
            events.warning(certificate, CONTESTED, message.clone());
        }
        (Decision::Wait { reason, message, .. }, _) if !says(certificate, "Issuing", message) => {
            events.normal(certificate, reason, message.clone());
        }
        _ => {}
    }
}

fn told_of_new(context: &Context, certificate: &Certificate, note: String) {
    context.events.normal(certificate, "Issuing", note);
    crate::identity::refresh_pods(context, certificate);
}

fn says(certificate: &Certificate, type_: &str, text: &str) -> bool {
    let conditions = certificate.status.iter().flat_map(|status| &status.conditions);
    let message = conditions.filter(|c| c.type_ == type_).filter_map(|c| c.message.as_deref());
    message.into_iter().any(|message| message.contains(text))
}

/// When to look again, if nothing happens before.
fn wait(
    decision: &Decision,
    outcome: &Outcome,
    status: &CertificateStatus,
    due: Option<Timestamp>,
    now: Timestamp,
) -> Duration {
    if matches!(outcome, Outcome::Failed { .. }) {
        return RETRY;
    }
    match decision {
        Decision::Wait { .. } => return waited_for(status, "Issuing", now),
        Decision::Refuse { reason, .. } if *reason == NO_PASSWORD => {
            return waited_for(status, "Ready", now);
        }
        Decision::Refuse { .. } => return RECHECK_REFUSED,
        _ => {}
    }
    let next = match decision {
        Decision::BackOff { until, .. } | Decision::Contested { until, .. } => Some(*until),
        _ => status.renewal_time.as_ref().map(|time| time.0).into_iter().chain(due).min(),
    };
    let left = next.map(|next| next.duration_since(now));
    let wait = left.map_or(LONGEST_WAIT, |left| Duration::try_from(left).unwrap_or_default());
    wait.clamp(Duration::from_secs(1), LONGEST_WAIT)
}

/// What a Certificate waits for is watched: it is looked at beside that ever more seldom, so that
/// thousands of them cost little for as long as they wait.
fn waited_for(status: &CertificateStatus, condition: &str, now: Timestamp) -> Duration {
    let told = status.conditions.iter().find(|told| told.type_ == condition);
    let since = told.and_then(|told| told.last_transition_time.as_ref());
    let waited = since.map(|since| now.duration_since(since.0)).unwrap_or_default();
    retry::by_age(waited, RETRY, retry::LONGEST_WAIT)
}

/// After an error of the API server's, a little later. That it refuses what should be in a Secret is
/// for whoever wrote the spec to mend.
#[must_use]
pub fn error_policy(certificate: Arc<Certificate>, error: &Error, context: Arc<Context>) -> Action {
    let reason = error.reason();
    let is_told = matches!(error, Error::WriteSecret { .. }) || retry::is_lasting(error);
    if is_told && !error.is_conflict() && !ending::is_why(error) {
        context.events.warning(&*certificate, reason, error.story());
    }
    warn!(reason, error = error.story(), "reconciliation failed");
    context.metrics.reconcile_errors.get_or_create(&ReasonLabels { reason }).inc();
    let is_quick = matches!(error, Error::WriteStatus { .. }) || error.is_conflict();
    Action::requeue(retry::after(error, if is_quick { Duration::from_secs(1) } else { RETRY }))
}

#[cfg(test)]
mod tests;
