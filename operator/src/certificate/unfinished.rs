//! Work that broke off between its two writes: the Secret holds a certificate of which the status
//! does not tell yet; pure.
//!
//! A Secret says which revision of its Certificate it holds. Where that is a later one than the
//! status knows, whoever stored it was killed before the status was written, or somebody else wrote
//! to the Certificate in between. The certificate is there: what is missing is the word.

use countersign_crds::ConditionStatus;
use jiff::Timestamp;
use kube::ResourceExt;

use super::checks::annotation_asks;
use super::names;
use super::observe::Observed;

/// The revision that the Secret holds, where the status does not tell of it yet.
#[must_use]
pub fn untold(seen: &Observed) -> Option<i64> {
    let annotations = &seen.secret.as_ref()?.annotations;
    let is_its = annotations.get(names::CERTIFICATE_NAME) == Some(&seen.certificate.name_any());
    let revision: i64 = annotations.get(names::REVISION)?.parse().ok()?;
    let told = seen.certificate.status.as_ref().and_then(|status| status.revision).unwrap_or(0);
    (is_its && revision > told).then_some(revision)
}

/// Whether a renewal that was asked for is done, and the status only does not say so. What is asked
/// for after the Secret was written is another one.
#[must_use]
pub fn is_answered(seen: &Observed) -> bool {
    let conditions = seen.certificate.status.iter().flat_map(|status| &status.conditions);
    let asked = conditions.filter(|c| c.type_ == "Issuing" && c.status == ConditionStatus::True);
    let mut asked = asked.filter_map(|c| Some(c.last_transition_time.as_ref()?.0)).max();
    if let Some(value) = annotation_asks(&seen.certificate) {
        let Ok(at) = value.parse::<Timestamp>() else { return false };
        asked = asked.max(Some(at));
    }
    let stored = seen.secret.as_ref().and_then(|secret| secret.applied.at);
    let is_earlier = stored.is_some_and(|at| asked.is_none_or(|asked| asked <= at));
    untold(seen).is_some() && is_earlier
}

#[cfg(test)]
mod tests;
