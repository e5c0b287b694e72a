//! What to do about a CertificateRequest; pure.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_crds::{CertificateRequest, Condition, ConditionStatus};

use crate::certificate::reference::IssuerId;
use crate::certificate::wanted::usages_of;
use crate::pki::{ParsedCsr, Request, parse_csr};
use crate::story::story;

/// Lifetime where none is asked for: 90 days.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// What to do about a CertificateRequest.
#[derive(Debug)]
pub(super) enum Decision {
    /// It is decided already, or somebody else's.
    Leave,
    /// Nobody has approved it yet.
    Wait,
    /// It was denied by somebody: say so.
    Deny(String),
    /// It can never be signed.
    Refuse(String),
    /// Sign it.
    Sign(Box<Order>),
}

/// What is to be signed.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) issuer: IssuerId,
    pub(super) request: Request,
    pub(super) csr: ParsedCsr,
    pub(super) lifetime: Duration,
    pub(super) is_default_lifetime: bool,
    /// Whether somebody has approved it.
    pub(super) is_approved: bool,
}

/// Decides. `approves` says whether nobody else's approval is needed.
pub(super) fn decide(request: &CertificateRequest, approves: bool) -> Decision {
    let issuer = IssuerId::of(&request.spec.issuer_ref);
    let conditions = request.status.iter().flat_map(|status| &status.conditions);
    let conditions: Vec<&Condition> = conditions.collect();
    if !issuer.is_ours() || request.metadata.deletion_timestamp.is_some() || is_final(&conditions) {
        return Decision::Leave;
    }
    if let Some(denied) = holds(&conditions, "Denied") {
        return Decision::Deny(denied.message.clone().unwrap_or_default());
    }
    let is_approved = holds(&conditions, "Approved").is_some();
    if !approves && !is_approved {
        return Decision::Wait;
    }
    match order(request, issuer) {
        Ok(order) => Decision::Sign(Box::new(Order { is_approved, ..order })),
        Err(why) => Decision::Refuse(why),
    }
}

fn holds<'a>(conditions: &[&'a Condition], type_: &str) -> Option<&'a Condition> {
    let is = |condition: &&&Condition| {
        condition.type_ == type_ && condition.status == ConditionStatus::True
    };
    conditions.iter().find(is).copied()
}

fn is_final(conditions: &[&Condition]) -> bool {
    let last_word = |condition: &&Condition| {
        let reason = condition.reason.as_deref().unwrap_or_default();
        condition.type_ == "Ready"
            && (condition.status == ConditionStatus::True || ["Failed", "Denied"].contains(&reason))
    };
    conditions.iter().any(last_word)
}

/// What a CSR says of usages and authority must be what the spec says: what is approved is what
/// people read.
fn order(request: &CertificateRequest, issuer: IssuerId) -> Result<Order, String> {
    let spec = &request.spec;
    let csr =
        parse_csr(&spec.request.0).map_err(|error| format!("spec.request: {}", story(&error)))?;
    let is_ca = spec.is_ca == Some(true);
    let wanted = Request { usages: usages_of(&spec.usages), is_ca, ..csr.request.clone() };
    if csr.encodes_is_ca.is_some_and(|encoded| encoded != is_ca) {
        return Err("spec.isCA is not what the CSR in spec.request asks for".to_owned());
    }
    let encoded: BTreeSet<_> = csr.request.usages.iter().map(|usage| usage.canonical()).collect();
    if csr.encodes_usages && encoded != wanted.effective_usages() {
        return Err("spec.usages are not those that the CSR in spec.request asks for".to_owned());
    }
    if wanted.names_nobody() && csr.other_subject_parts.is_empty() {
        return Err(
            "spec.request: the CSR names nobody, neither a common name nor an alternative name"
                .to_owned(),
        );
    }
    let lifetime = spec.duration.map_or(DEFAULT_LIFETIME, Duration::from);
    let is_default_lifetime = spec.duration.is_none();
    Ok(Order { issuer, request: wanted, csr, lifetime, is_default_lifetime, is_approved: false })
}

#[cfg(test)]
mod tests;
