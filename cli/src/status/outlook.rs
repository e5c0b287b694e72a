//! What comes next for a Certificate: nothing, or what it waits for and what to do; pure.

use countersign_crds::{Certificate, CertificateRequest, Condition, ConditionStatus};
use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::gather::Seen;
use crate::cluster::Found;
use crate::text::when;

/// How a Certificate is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Its Secret can be used, and nothing is under way.
    Ready,
    /// Its Secret can be used, and a new certificate is on its way.
    Renewing,
    /// Its Secret cannot be used yet.
    Waiting,
    /// An issuance failed, and is tried again.
    Failing,
    /// Nothing happens until somebody changes something.
    Blocked,
    /// It is being deleted.
    Deleting,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// How it is.
    pub state: State,
    /// What it waits for, as a sentence.
    pub summary: String,
    /// What to do; nothing, where it goes on by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// Says it.
pub(super) fn outlook(seen: &Seen, now: Timestamp) -> Outlook {
    let questions: [fn(&Seen, Timestamp) -> Option<Outlook>; 10] = [
        deleting,
        unseen,
        contested,
        healthy,
        nobody_signs,
        refused_by_spec,
        issuer_not_ready,
        by_request,
        failing,
        expired,
    ];
    let answer = questions.into_iter().find_map(|ask| ask(seen, now));
    answer.unwrap_or_else(|| under_way(seen))
}

fn say(state: State, summary: String, advice: Option<String>) -> Option<Outlook> {
    Some(Outlook { state, summary, advice })
}

fn condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

fn conditions(seen: &Seen) -> &[Condition] {
    seen.certificate.status.as_ref().map_or(&[], |status| &status.conditions)
}

fn is_true(condition: Option<&Condition>) -> bool {
    condition.is_some_and(|condition| condition.status == ConditionStatus::True)
}

fn reason(condition: Option<&Condition>) -> &str {
    condition.and_then(|condition| condition.reason.as_deref()).unwrap_or_default()
}

fn message(condition: Option<&Condition>) -> &str {
    condition.and_then(|condition| condition.message.as_deref()).unwrap_or_default()
}

fn is_ready(seen: &Seen) -> bool {
    is_true(condition(conditions(seen), "Ready"))
}

/// While what is there can still be used, a new one is only a renewal.
fn waiting(seen: &Seen) -> State {
    if is_ready(seen) { State::Renewing } else { State::Waiting }
}

fn renew(certificate: &Certificate) -> String {
    let namespace = certificate.namespace().unwrap_or_default();
    format!("kubectl countersign renew {} -n {namespace}", certificate.name_any())
}

fn deleting(seen: &Seen, now: Timestamp) -> Option<Outlook> {
    let since = seen.certificate.metadata.deletion_timestamp.as_ref()?.0;
    let finalizers = seen.certificate.finalizers().join(", ");
    let advice =
        (!finalizers.is_empty()).then(|| format!("it goes once these are gone: {finalizers}"));
    say(State::Deleting, format!("it is being deleted, since {}", when(since, now)), advice)
}

fn unseen(seen: &Seen, _: Timestamp) -> Option<Outlook> {
    let observed = seen.certificate.status.as_ref().and_then(|status| status.observed_generation);
    if observed == seen.certificate.metadata.generation && !conditions(seen).is_empty() {
        return None;
    }
    let what = if observed.is_none() { "looked at it" } else { "looked at its present spec" };
    let advice = "see whether the operator runs: kubectl countersign check".to_owned();
    say(waiting(seen), format!("the operator has not {what} yet"), Some(advice))
}

/// Somebody else changes the Secret again and again.
fn contested(seen: &Seen, _: Timestamp) -> Option<Outlook> {
    let mut all = conditions(seen).iter();
    let told = all.find(|it| it.reason.as_deref() == Some("SecretContested"))?;
    let advice = "have whoever else writes the Secret leave it, or name another in spec.secretName";
    say(waiting(seen), message(Some(told)).to_owned(), Some(advice.to_owned()))
}

fn healthy(seen: &Seen, now: Timestamp) -> Option<Outlook> {
    let issuing = condition(conditions(seen), "Issuing");
    if !is_ready(seen) || issuing.is_some() {
        return None;
    }
    let status = seen.certificate.status.as_ref()?;
    let end = status.not_after.as_ref().map(|end| when(end.0, now)).unwrap_or_default();
    if status.not_after.as_ref().is_some_and(|end| end.0 <= now) {
        return None;
    }
    let (renewal, advice) = match &status.renewal_time {
        Some(due) => (format!("and is renewed {}", when(due.0, now)), None),
        None => ("and is not renewed by itself".to_owned(), Some(renew(&seen.certificate))),
    };
    say(State::Ready, format!("it is valid until {end}, {renewal}"), advice)
}

fn nobody_signs(seen: &Seen, _: Timestamp) -> Option<Outlook> {
    let ready = condition(conditions(seen), "Ready");
    if reason(ready) != "NoIssuer" {
        return None;
    }
    let advice =
        "set spec.issuerRef, or the annotation countersign.dev/default-issuer of the namespace"
            .to_owned();
    say(
        State::Blocked,
        "nobody shall sign it: it names no issuer, and there is no default".to_owned(),
        Some(advice),
    )
}

/// What the operator refuses whatever anybody else does; its own sentence says what to do.
fn refused_by_spec(seen: &Seen, _: Timestamp) -> Option<Outlook> {
    const REFUSALS: [&str; 4] = [
        "InvalidSpec",
        "DuplicateSecretName",
        "CannotRegenerateKey",
        "KeystorePasswordSecretNotFound",
    ];
    let all = conditions(seen).iter();
    let refusal = all
        .filter(|it| it.status == ConditionStatus::False)
        .find(|it| REFUSALS.contains(&it.reason.as_deref().unwrap_or_default()))?;
    let advice = "correct the spec as it says".to_owned();
    say(State::Blocked, message(Some(refusal)).to_owned(), Some(advice))
}

fn issuer_not_ready(seen: &Seen, _: Timestamp) -> Option<Outlook> {
    let issuer = seen.issuer.as_ref()?;
    let (namespace, kind) = (seen.certificate.namespace().unwrap_or_default(), &issuer.kind);
    match &seen.issuer_conditions {
        Found::Missing => {
            let advice = format!(
                "create it, or correct spec.issuerRef; see kubectl get {}s.{} -n {namespace}",
                kind.to_lowercase(),
                issuer.group
            );
            say(waiting(seen), format!("it waits for {issuer}, which does not exist"), Some(advice))
        }
        Found::There(conditions) if !is_true(condition(conditions, "Ready")) => {
            let why = match message(condition(conditions, "Ready")) {
                "" => "it says nothing yet".to_owned(),
                why => why.to_owned(),
            };
            let advice = format!("put {issuer} right: the certificate comes by itself then");
            say(
                waiting(seen),
                format!("it waits for {issuer}, which is not ready: {why}"),
                Some(advice),
            )
        }
        _ => None,
    }
}

fn by_request(seen: &Seen, _: Timestamp) -> Option<Outlook> {
    let issued = seen.certificate.status.as_ref().and_then(|status| status.revision).unwrap_or(0);
    let is_next = |request: &&CertificateRequest| super::gather::revision(request) > Some(issued);
    let request = seen.requests.first().filter(is_next)?;
    let conditions = request.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let (name, namespace) = (request.name_any(), request.namespace().unwrap_or_default());
    let (denied, ready) = (condition(conditions, "Denied"), condition(conditions, "Ready"));
    if is_true(denied) {
        let summary = format!("CertificateRequest {name} was denied: {}", message(denied));
        let advice = format!(
            "correct the spec, or have the rule changed and then {}",
            renew(&seen.certificate)
        );
        return say(State::Failing, summary, Some(advice));
    }
    if ["Failed", "Denied"].contains(&reason(ready)) {
        // The Certificate says when it is tried again.
        return None;
    }
    if !is_true(condition(conditions, "Approved")) {
        let advice = format!("kubectl countersign approve {name} -n {namespace}, or deny it");
        return say(
            waiting(seen),
            format!("CertificateRequest {name} waits for somebody's approval"),
            Some(advice),
        );
    }
    let issuer = seen.issuer.as_ref().map(ToString::to_string).unwrap_or_default();
    let summary = match message(ready) {
        "" => format!("CertificateRequest {name} waits for {issuer} to sign it"),
        why => format!("CertificateRequest {name} waits for {issuer}: {why}"),
    };
    say(waiting(seen), summary, None)
}

fn failing(seen: &Seen, now: Timestamp) -> Option<Outlook> {
    let issuing = condition(conditions(seen), "Issuing");
    let status = seen.certificate.status.as_ref()?;
    let failures = status.failed_issuance_attempts.filter(|count| *count > 0)?;
    let last = status.last_failure_time.as_ref().map(|time| when(time.0, now)).unwrap_or_default();
    let why = message(issuing.or_else(|| condition(conditions(seen), "Ready")));
    let times = if failures == 1 { "once".to_owned() } else { format!("{failures} times") };
    let summary = format!("issuance failed {times}, the last time at {last}: {why}");
    let advice = format!(
        "it is tried again by itself; once the cause is put right, at once with {}",
        renew(&seen.certificate)
    );
    say(State::Failing, summary, Some(advice))
}

fn expired(seen: &Seen, now: Timestamp) -> Option<Outlook> {
    let end = seen.certificate.status.as_ref()?.not_after.as_ref()?.0;
    if now < end || is_true(condition(conditions(seen), "Issuing")) {
        return None;
    }
    let summary = format!("it has expired, {}", when(end, now));
    say(State::Waiting, summary, Some(renew(&seen.certificate)))
}

fn under_way(seen: &Seen) -> Outlook {
    let (issuing, ready) =
        (condition(conditions(seen), "Issuing"), condition(conditions(seen), "Ready"));
    let why = match (message(issuing), message(ready)) {
        ("", "") => "the operator says nothing about it".to_owned(),
        ("", why) | (why, _) => why.to_owned(),
    };
    let advice = "should it stay so: kubectl countersign check".to_owned();
    Outlook {
        state: waiting(seen),
        summary: format!("a certificate is being issued: {why}"),
        advice: Some(advice),
    }
}
