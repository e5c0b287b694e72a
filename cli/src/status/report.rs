//! What is told of a Certificate, in the fields of the answer; pure.

use countersign_crds::{Certificate, CertificateRequest, Condition};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::ResourceExt;
use serde::Serialize;

use super::gather::{Seen, revision};
use super::outlook::{Outlook, outlook};
use crate::chain::{self, Bundle, Warning};
use crate::cluster::Found;
use crate::facts::CertificateReport;
use crate::text;

/// So many Events are told; the latest are what matters.
const MOST_EVENTS: usize = 10;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each name is the API's own")]
pub struct Report {
    pub namespace: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// What comes next.
    pub outlook: Outlook,
    /// The names that are asked for.
    pub names: Vec<String>,
    pub duration: String,
    pub secret_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewal_time: Option<Timestamp>,
    pub conditions: Vec<Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Part>,
    pub secret: SecretReport,
    /// The latest first.
    pub certificate_requests: Vec<Part>,
    /// The latest first.
    pub events: Vec<EventReport>,
    /// What could not be read, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// An object beside the Certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Its kind and name.
    pub object: String,
    /// `found`, `missing`, or why it could not be read.
    pub presence: String,
    /// What its status says.
    pub conditions: Vec<Told>,
}

/// The Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretReport {
    /// `found`, `missing`, or why it could not be read.
    pub presence: String,
    /// Its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateReport>,
    /// What is wrong with it.
    pub warnings: Vec<Warning>,
}

/// An Event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventReport {
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub type_: String,
    /// In a word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
    /// What it is about.
    pub object: String,
    /// When it was told last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// How often.
    pub count: i32,
}

/// What is told.
#[must_use]
pub(super) fn report(seen: &Seen, now: Timestamp) -> Report {
    let (certificate, status) = (&seen.certificate, seen.certificate.status.as_ref());
    let spec = &certificate.spec;
    let issuer = seen.issuer.as_ref().map(|issuer| Part {
        object: issuer.to_string(),
        presence: presence(&seen.issuer_conditions),
        conditions: seen.issuer_conditions.there().map(|all| told(all)).unwrap_or_default(),
    });
    Report {
        namespace: certificate.namespace().unwrap_or_default(),
        name: certificate.name_any(),
        created: certificate.metadata.creation_timestamp.as_ref().map(|time| time.0),
        outlook: outlook(seen, now),
        names: names(certificate),
        duration: spec.duration.map_or_else(|| "2160h".to_owned(), text::duration),
        secret_name: spec.secret_name.clone(),
        revision: status.and_then(|status| status.revision),
        not_after: status.and_then(|status| status.not_after.as_ref()).map(|time| time.0),
        renewal_time: status.and_then(|status| status.renewal_time.as_ref()).map(|time| time.0),
        conditions: told(status.map_or(&[], |status| &status.conditions)),
        issuer,
        secret: secret(&seen.secret, now),
        certificate_requests: seen.requests.iter().map(request).collect(),
        events: seen.events.iter().take(MOST_EVENTS).map(event).collect(),
        unread: seen.unread.clone(),
    }
}

fn names(certificate: &Certificate) -> Vec<String> {
    let spec = &certificate.spec;
    let first = spec.common_name.iter().chain(&spec.literal_subject).cloned();
    let lists = [&spec.dns_names, &spec.ip_addresses, &spec.uris, &spec.email_addresses];
    let others = spec.other_names.iter().map(|name| name.utf8_value.clone());
    let mut names: Vec<String> = Vec::new();
    for name in first.chain(lists.into_iter().flatten().cloned()).chain(others) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn presence<T>(found: &Found<T>) -> String {
    match found {
        Found::There(_) => "found".to_owned(),
        Found::Missing => "missing".to_owned(),
        Found::Unknown(why) => why.clone(),
    }
}

fn told(conditions: &[Condition]) -> Vec<Told> {
    let told = conditions.iter().map(|condition| Told {
        type_: condition.type_.clone(),
        status: format!("{:?}", condition.status),
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
        since: condition.last_transition_time.as_ref().map(|time| time.0),
    });
    told.collect()
}

fn secret(found: &Found<Bundle>, now: Timestamp) -> SecretReport {
    let findings = found.there().map(|bundle| chain::examine(bundle, now));
    let leaf = findings.as_ref().and_then(|findings| findings.chain.first());
    SecretReport {
        presence: presence(found),
        certificate: leaf.map(|link| link.certificate.clone()),
        warnings: findings.map(|findings| findings.warnings).unwrap_or_default(),
    }
}

fn request(request: &CertificateRequest) -> Part {
    let revision = revision(request).map(|revision| format!(" (revision {revision})"));
    Part {
        object: format!(
            "CertificateRequest {}{}",
            request.name_any(),
            revision.unwrap_or_default()
        ),
        presence: "found".to_owned(),
        conditions: told(request.status.as_ref().map_or(&[], |status| &status.conditions)),
    }
}

/// When an Event was told last; who writes them today fills another field than long ago.
pub(super) fn told_at(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let micro = series.or(event.event_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    micro.max(last).or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

fn event(event: &Event) -> EventReport {
    let about = &event.involved_object;
    let word = |text: &Option<String>| text.clone().unwrap_or_default();
    let series = event.series.as_ref().and_then(|series| series.count);
    EventReport {
        type_: word(&event.type_),
        reason: word(&event.reason),
        message: word(&event.message),
        object: format!("{} {}", word(&about.kind), word(&about.name)),
        time: told_at(event),
        count: series.max(event.count).unwrap_or(1).max(1),
    }
}
