//! Whether a Certificate needs no look at its Secret; pure.

use countersign_crds::{Certificate, CertificateStatus, ConditionStatus};
use jiff::Timestamp;

use super::checks::annotation_asks;
use super::signer::Signer;

/// The status of a Certificate about which everything is said, and of which nothing is due: as long
/// as its Secret is the one that the status is about, it would be found in order.
#[must_use]
pub(super) fn settled<'a>(
    certificate: &'a Certificate,
    signer: Option<&Signer>,
    now: Timestamp,
) -> Option<&'a CertificateStatus> {
    let status = certificate.status.as_ref()?;
    let says_ready =
        |c: &countersign_crds::Condition| c.type_ == "Ready" && c.status == ConditionStatus::True;
    let is_settled = certificate.metadata.deletion_timestamp.is_none()
        && status.observed_generation == certificate.metadata.generation
        && status.conditions.iter().any(says_ready)
        && !status.conditions.iter().any(|condition| condition.type_ == "Issuing")
        && annotation_asks(certificate).is_none()
        && status.not_after.as_ref().is_some_and(|end| now < end.0)
        && status.renewal_time.as_ref().is_none_or(|due| now < due.0)
        && signer.is_none_or(|signer| {
            let due = signer.reissues_at(certificate, status.authority.as_deref());
            due.is_none_or(|due| now < due)
        });
    is_settled.then_some(status)
}

#[cfg(test)]
mod tests;
