//! What to do about a CertificateSigningRequest; pure.

use std::time::Duration;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::ResourceExt;

use super::signer::{NoIssuer, Signer, signer};
use crate::pki::{ParsedCsr, Request, Usage, parse_csr};
use crate::story::story;

/// Lifetime where none is asked for: 90 days.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// How long the certificate shall be valid, a Go duration, 90 days at most. `spec.expirationSeconds`
/// wins: only that stays as it was approved, and it may be longer.
const DURATION: &str = "experimental.countersign.dev/request-duration";

/// `true` asks for an authority, and adds `cert sign` to the usages, as `isCA` does. An admission
/// policy of the chart keeps it as it was when the request was made, so that it is what was approved.
const IS_CA: &str = "experimental.countersign.dev/request-is-ca";

/// The Secret with the private key, in the namespace of a selfSigned issuer.
pub(super) const PRIVATE_KEY_SECRET: &str = "experimental.countersign.dev/private-key-secret-name";

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
    pub(super) is_default_lifetime: bool,
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
    #[error(
        "{asks} asks for an authority, and {lacks}: annotate the request with {IS_CA}: \"true\" when it is made, or leave it out there"
    )]
    Authority { asks: &'static str, lacks: &'static str },
    #[error("spec.usages: {0:?} is no key usage")]
    Usage(String),
    #[error("{field}: {value} is no lifetime")]
    Lifetime { field: &'static str, value: String },
}

impl Refusal {
    /// Used as condition reason and event reason.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Signer(_) => "InvalidSignerName",
            Self::Csr(_) | Self::NamesNobody => "InvalidRequest",
            Self::Authority { .. } => "AuthorityRefused",
            Self::Usage(_) => "InvalidUsages",
            Self::Lifetime { .. } => "InvalidLifetime",
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
    let ordered = signer.map_err(Refusal::from).and_then(|signer| order(request, signer));
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
fn order(request: &CertificateSigningRequest, signer: Signer) -> Result<Order, Refusal> {
    let spec = &request.spec;
    let csr = parse_csr(&spec.request.0).map_err(|error| Refusal::Csr(story(&error)))?;
    let usages = spec.usages.iter().flatten();
    let usages: Vec<Usage> = usages.map(|name| usage(name)).collect::<Result<_, _>>()?;
    let is_ca = is_ca(request, &usages, csr.encodes_is_ca)?;
    let asked = Request { usages, is_ca, ..csr.request.clone() };
    if asked.names_nobody() && csr.other_subject_parts.is_empty() {
        return Err(Refusal::NamesNobody);
    }
    let is_default_lifetime =
        spec.expiration_seconds.is_none() && !request.annotations().contains_key(DURATION);
    let lifetime = lifetime(request)?;
    Ok(Order { signer, request: asked, csr, lifetime, is_default_lifetime })
}

fn usage(name: &str) -> Result<Usage, Refusal> {
    name.parse().map_err(|_| Refusal::Usage(name.to_owned()))
}

/// Whether an authority is asked for: by all that says something about it, or by nothing.
fn is_ca(
    request: &CertificateSigningRequest,
    usages: &[Usage],
    encoded: Option<bool>,
) -> Result<bool, Refusal> {
    let annotated = request.annotations().get(IS_CA).is_some_and(|text| text == "true");
    let signs = usages.contains(&Usage::CertSign);
    let refused = |asks, lacks| Err(Refusal::Authority { asks, lacks });
    match (annotated, signs, encoded) {
        (true, _, Some(false)) => {
            refused("the annotation", "the CSR in spec.request says that it is none")
        }
        (true, ..) => Ok(true),
        (false, true, _) => refused("\"cert sign\" in spec.usages", "no annotation does"),
        (false, false, Some(true)) => refused("the CSR in spec.request", "nothing else does"),
        (false, false, _) => Ok(false),
    }
}

fn lifetime(request: &CertificateSigningRequest) -> Result<Duration, Refusal> {
    let invalid =
        |field, value: &dyn ToString| Refusal::Lifetime { field, value: value.to_string() };
    if let Some(seconds) = request.spec.expiration_seconds {
        let asked = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
        let asked = asked.map(Duration::from_secs);
        return asked.ok_or_else(|| invalid("spec.expirationSeconds", &seconds));
    }
    let Some(text) = request.annotations().get(DURATION) else { return Ok(DEFAULT_LIFETIME) };
    let asked = crate::duration::parse(text).filter(|asked| asked.as_secs() > 0);
    // Anybody who may update the request can write it after the approval: it makes a lifetime shorter than
    // the one that is approved where nothing is said, and never longer.
    asked.map(|asked| asked.min(DEFAULT_LIFETIME)).ok_or_else(|| invalid(DURATION, text))
}

#[cfg(test)]
mod tests;
