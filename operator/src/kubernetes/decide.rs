//! What to do about a CertificateSigningRequest; pure.

use std::time::Duration;

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestSpec,
};

use super::signer::{NoIssuer, Signer, signer};
use crate::pki::{ParsedCsr, Request, Usage, parse_csr};

/// Lifetime where none is asked for: 90 days.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// What to do about a CertificateSigningRequest.
#[derive(Debug)]
pub(super) enum Decision {
    /// It is decided already, or somebody else's.
    Leave,
    /// Nobody has approved it yet.
    Wait,
    /// It can never be signed.
    Refuse(Refusal),
    /// Sign it, if whoever asked may reference the issuer.
    Sign(Box<Order>),
}

/// What is to be signed.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) signer: Signer,
    pub(super) request: Request,
    pub(super) csr: ParsedCsr,
    pub(super) lifetime: Duration,
}

/// Why a request can never be signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Signer(#[from] NoIssuer),
    #[error("spec.request: {0}")]
    Csr(String),
    #[error("spec.request: the CSR names nobody, neither a common name nor an alternative name")]
    NamesNobody,
    #[error("{0} asks for an authority; a CertificateSigningRequest is signed as a leaf only")]
    Authority(&'static str),
    #[error("spec.usages: {0:?} is no key usage")]
    Usage(String),
    #[error("spec.expirationSeconds: {0} is no lifetime")]
    Lifetime(i32),
}

impl Refusal {
    /// Used as condition reason and event reason.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Signer(_) => "InvalidSignerName",
            Self::Csr(_) | Self::NamesNobody => "InvalidRequest",
            Self::Authority(_) => "AuthorityRefused",
            Self::Usage(_) => "InvalidUsages",
            Self::Lifetime(_) => "InvalidLifetime",
        }
    }
}

/// What to do about a CertificateSigningRequest.
pub(super) fn decide(request: &CertificateSigningRequest) -> Decision {
    let Some(signer) = signer(&request.spec.signer_name) else { return Decision::Leave };
    let is_going = request.metadata.deletion_timestamp.is_some();
    if is_going || is_signed(request) || holds(request, "Failed") || holds(request, "Denied") {
        return Decision::Leave;
    }
    if !holds(request, "Approved") {
        return Decision::Wait;
    }
    let ordered = signer.map_err(Refusal::from).and_then(|signer| order(&request.spec, signer));
    match ordered {
        Ok(order) => Decision::Sign(Box::new(order)),
        Err(refusal) => Decision::Refuse(refusal),
    }
}

fn is_signed(request: &CertificateSigningRequest) -> bool {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.is_some_and(|certificate| !certificate.0.is_empty())
}

fn holds(request: &CertificateSigningRequest, type_: &str) -> bool {
    let conditions = request.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut conditions = conditions.filter(|condition| condition.status == "True");
    conditions.any(|condition| condition.type_ == type_)
}

/// The usages are those of the spec, since that is what people approve; what the CSR says of them is
/// not looked at, as by the signers that Kubernetes brings.
fn order(spec: &CertificateSigningRequestSpec, signer: Signer) -> Result<Order, Refusal> {
    let csr = parse_csr(&spec.request.0).map_err(|error| Refusal::Csr(story(&error)))?;
    if csr.encodes_is_ca == Some(true) {
        return Err(Refusal::Authority("the CSR in spec.request"));
    }
    let usages = spec.usages.iter().flatten().map(|name| usage(name)).collect::<Result<_, _>>()?;
    let request = Request { usages, is_ca: false, ..csr.request.clone() };
    if request.names_nobody() && csr.other_subject_parts.is_empty() {
        return Err(Refusal::NamesNobody);
    }
    let lifetime = spec.expiration_seconds.map_or(Ok(DEFAULT_LIFETIME), lifetime)?;
    Ok(Order { signer, request, csr, lifetime })
}

fn usage(name: &str) -> Result<Usage, Refusal> {
    match name.parse() {
        Ok(Usage::CertSign) => Err(Refusal::Authority("\"cert sign\" in spec.usages")),
        Ok(usage) => Ok(usage),
        Err(_) => Err(Refusal::Usage(name.to_owned())),
    }
}

fn lifetime(seconds: i32) -> Result<Duration, Refusal> {
    let asked = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
    asked.map(Duration::from_secs).ok_or(Refusal::Lifetime(seconds))
}

fn story(error: &dyn std::error::Error) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        story = format!("{story}: {error}");
        cause = error.source();
    }
    story
}

#[cfg(test)]
mod tests;
