//! What the status of a Certificate should now say; pure.

use countersign_crds::{CertificateStatus, Condition, ConditionStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::checks;
use super::decide::{CONTESTED, Decision, next_try};
use super::names;
use super::observe::Observed;
use super::unfinished;
use super::wanted::Wanted;

/// How carrying out a decision ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing to carry out, or it was and changes no status.
    Unchanged,
    /// A certificate was issued, and its Secret written.
    Issued,
    /// A certificate of this revision was found in the Secret, of which the status did not tell.
    Found(i64),
    /// The key of a request was kept in a Secret of this name, since an answer takes its time.
    Kept(String),
    /// A certificate was wanted, and issuance failed.
    Failed {
        /// Why, in a word.
        reason: String,
        /// The same, as a sentence.
        message: String,
    },
}

/// The status after a decision was carried out. `seen` is what there is now.
#[must_use]
pub fn next(
    seen: &Observed,
    wanted: Option<&Wanted>,
    decision: &Decision,
    outcome: &Outcome,
    now: Timestamp,
) -> CertificateStatus {
    let mut status = seen.certificate.status.clone().unwrap_or_default();
    let generation = seen.certificate.metadata.generation;
    let conditions = Conditions { now, generation };
    status.observed_generation = generation;
    record_dates(&mut status, seen, wanted);
    record_attempt(&mut status, outcome, now);
    if answers_request(seen, outcome) {
        let asked = seen.certificate.annotations().get(names::RENEW_REQUESTED_AT);
        status.renew_requested_at = asked.cloned();
    }
    conditions.set(&mut status.conditions, ready(seen, wanted, decision, now));
    let next_try = next_try(&status, seen);
    match issuing(decision, outcome, next_try) {
        _ if *outcome == Outcome::Unchanged && tells_of_failure(&status, decision) => {}
        _ if *decision == Decision::Record && is_asked_for_again(seen) => {}
        Some(condition) => conditions.set(&mut status.conditions, condition),
        None => status.conditions.retain(|condition| condition.type_ != "Issuing"),
    }
    status
}

fn record_dates(status: &mut CertificateStatus, seen: &Observed, wanted: Option<&Wanted>) {
    let leaf = seen.secret.as_ref().and_then(|secret| secret.pair()).map(|pair| &pair.leaf);
    status.not_before = leaf.map(|leaf| Time(leaf.validity.not_before));
    status.not_after = leaf.map(|leaf| Time(leaf.validity.not_after));
    status.secret_resource_version = seen.secret.as_ref().and_then(|secret| secret.version.clone());
    status.authority = seen.secret.as_ref().and_then(super::observe::Stored::signed_by);
    status.renewal_time =
        leaf.zip(wanted).and_then(|(leaf, wanted)| wanted.renewal.due(leaf)).map(Time);
}

fn record_attempt(status: &mut CertificateStatus, outcome: &Outcome, now: Timestamp) {
    match outcome {
        Outcome::Unchanged => {}
        Outcome::Kept(secret) => status.next_private_key_secret_name = Some(secret.clone()),
        Outcome::Issued => record_success(status, status.revision.unwrap_or(0).saturating_add(1)),
        Outcome::Found(revision) => record_success(status, *revision),
        Outcome::Failed { .. } => {
            status.next_private_key_secret_name = None;
            let failures = status.failed_issuance_attempts.unwrap_or(0).saturating_add(1);
            status.failed_issuance_attempts = Some(failures);
            status.last_failure_time = Some(Time(now));
        }
    }
}

/// Whether the renewal that the annotation asks for was tried; one that failed is asked for anew.
fn answers_request(seen: &Observed, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Issued | Outcome::Failed { .. } => true,
        Outcome::Found(_) => unfinished::is_answered(seen),
        Outcome::Unchanged | Outcome::Kept(_) => false,
    }
}

fn record_success(status: &mut CertificateStatus, revision: i64) {
    status.next_private_key_secret_name = None;
    status.revision = Some(revision);
    status.failed_issuance_attempts = None;
    status.last_failure_time = None;
}

/// A condition's type, status, reason and message.
type Said<'a> = (&'static str, ConditionStatus, &'a str, String);

fn ready<'a>(
    seen: &Observed,
    wanted: Option<&Wanted>,
    decision: &'a Decision,
    now: Timestamp,
) -> Said<'a> {
    if let Decision::Refuse { reason, message } = decision {
        return ("Ready", ConditionStatus::False, reason, message.clone());
    }
    match wanted.and_then(|wanted| checks::unready(seen, wanted, now)) {
        Some(finding) => {
            ("Ready", ConditionStatus::False, finding.reason.as_str(), finding.message)
        }
        None => {
            let message = "Certificate is up to date and has not expired".to_owned();
            ("Ready", ConditionStatus::True, "Ready", message)
        }
    }
}

/// A renewal that was asked for after the last one is still to be done.
fn is_asked_for_again(seen: &Observed) -> bool {
    checks::renewal_asked(&seen.certificate) && !unfinished::is_answered(seen)
}

/// Why issuance failed stays told until one succeeds, or the issuer is waited for.
fn tells_of_failure(status: &CertificateStatus, decision: &Decision) -> bool {
    let tells = |told: &Condition| told.type_ == "Issuing" && told.status == ConditionStatus::False;
    status.failed_issuance_attempts.is_some()
        && !matches!(decision, Decision::Wait { .. })
        && status.conditions.iter().any(tells)
}

fn issuing<'a>(
    decision: &'a Decision,
    outcome: &'a Outcome,
    next_try: Option<Timestamp>,
) -> Option<Said<'a>> {
    if let Outcome::Failed { reason, message } = outcome {
        let next = next_try.map(|at| format!("; the next try is at {at}")).unwrap_or_default();
        return Some(("Issuing", ConditionStatus::False, reason, format!("{message}{next}")));
    }
    match decision {
        Decision::Wait { wanted, message, .. } => {
            let message = format!("{}; {message}", wanted.message);
            Some(("Issuing", ConditionStatus::True, wanted.reason.as_str(), message))
        }
        Decision::Contested { message, .. } => {
            Some(("Issuing", ConditionStatus::False, CONTESTED, message.clone()))
        }
        Decision::BackOff { wanted, until } => {
            let message = format!("{}; the next try is at {until}", wanted.message);
            Some(("Issuing", ConditionStatus::False, "Failed", message))
        }
        _ => None,
    }
}

/// What conditions have in common.
struct Conditions {
    now: Timestamp,
    generation: Option<i64>,
}

impl Conditions {
    /// Sets one condition; the time of its transition moves only when its status does.
    fn set(&self, conditions: &mut Vec<Condition>, (type_, status, reason, message): Said<'_>) {
        let before = conditions.iter().find(|condition| condition.type_ == type_);
        let since = before
            .filter(|condition| condition.status == status)
            .and_then(|condition| condition.last_transition_time.clone())
            .unwrap_or(Time(self.now));
        let condition = Condition {
            type_: type_.to_owned(),
            status,
            last_transition_time: Some(since),
            reason: Some(reason.to_owned()),
            message: Some(message),
            observed_generation: self.generation,
        };
        match conditions.iter_mut().find(|condition| condition.type_ == type_) {
            Some(place) => *place = condition,
            None => conditions.push(condition),
        }
    }
}

#[cfg(test)]
mod tests;
