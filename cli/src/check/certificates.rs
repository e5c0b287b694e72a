//! Certificates that are not ready, have expired, or will before they are renewed; pure.

use countersign_crds::{Certificate, ConditionStatus};
use jiff::Timestamp;
use kube::ResourceExt;

use super::gather::Listed;
use super::{Finding, Part};
use crate::text::{relative, when};

/// A renewal is late once this part of the time that was left for it is over.
const LATE: i32 = 10;

/// What is not renewed by itself is told in the last part of its life.
const LAST_PART: i32 = 3;

pub(super) fn judge(certificates: &Listed<Certificate>, now: Timestamp) -> Part {
    let name = "certificates";
    match certificates {
        Ok(certificates) => {
            let findings: Vec<_> = certificates.iter().filter_map(|it| fault(it, now)).collect();
            let good = certificates.len() - findings.len();
            Part { name, summary: format!("{good} of {} in order", certificates.len()), findings }
        }
        Err(why) => {
            let findings = vec![Finding::unread("Certificates", why)];
            Part { name, summary: "not seen".to_owned(), findings }
        }
    }
}

fn fault(certificate: &Certificate, now: Timestamp) -> Option<Finding> {
    let (namespace, name) = (certificate.namespace().unwrap_or_default(), certificate.name_any());
    let (code, message) = expired(certificate, now)
        .or_else(|| not_ready(certificate))
        .or_else(|| never_renewed(certificate, now))
        .or_else(|| renewed_late(certificate, now))?;
    let advice = format!("kubectl countersign status certificate {name} -n {namespace}");
    Some(Finding::new(code, format!("Certificate {namespace}/{name}"), message, advice))
}

type Said = (&'static str, String);

fn end(certificate: &Certificate) -> Option<Timestamp> {
    Some(certificate.status.as_ref()?.not_after.as_ref()?.0)
}

fn due(certificate: &Certificate) -> Option<Timestamp> {
    Some(certificate.status.as_ref()?.renewal_time.as_ref()?.0)
}

fn expired(certificate: &Certificate, now: Timestamp) -> Option<Said> {
    let end = end(certificate).filter(|end| *end <= now)?;
    Some(("expired", format!("has expired, {}", when(end, now))))
}

fn not_ready(certificate: &Certificate) -> Option<Said> {
    let conditions = certificate.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let told = |type_: &str| conditions.iter().find(|it| it.type_ == type_);
    let ready = told("Ready");
    if ready.is_some_and(|ready| ready.status == ConditionStatus::True) {
        return None;
    }
    let messages = [told("Issuing"), ready].into_iter().flatten();
    let why = messages.filter_map(|it| it.message.clone()).find(|text| !text.is_empty());
    let why = why.unwrap_or_else(|| "the operator has said nothing about it".to_owned());
    Some(("notReady", format!("is not ready: {why}")))
}

fn never_renewed(certificate: &Certificate, now: Timestamp) -> Option<Said> {
    let end = end(certificate)?;
    match due(certificate) {
        Some(due) if due < end => None,
        Some(due) => {
            let message =
                format!("expires {}, before it is renewed, {}", when(end, now), relative(due, now));
            Some(("expiresBeforeRenewal", message))
        }
        None => {
            let begin = certificate.status.as_ref()?.not_before.as_ref()?.0;
            let is_last_part = end.duration_since(now) < end.duration_since(begin) / LAST_PART;
            let message = format!("expires {}, and is not renewed by itself", when(end, now));
            is_last_part.then_some(("notRenewed", message))
        }
    }
}

fn renewed_late(certificate: &Certificate, now: Timestamp) -> Option<Said> {
    let (due, end) = (due(certificate)?, end(certificate)?);
    let is_late = now.duration_since(due) > end.duration_since(due) / LATE;
    let message = format!(
        "should have been renewed {}, and expires {}",
        relative(due, now),
        relative(end, now)
    );
    is_late.then_some(("renewalLate", message))
}
