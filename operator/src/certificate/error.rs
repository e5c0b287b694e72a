//! What can go wrong while a Certificate is reconciled, and how it is told.

use countersign_crds::{Certificate, CertificateRequest, CertificateRequestSpec};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::ObjectRef;

use super::extras::ExtrasError;
use crate::{issuer, pki};

/// What can go wrong while a Certificate is reconciled.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum Error {
    #[error("reading {certificate}")]
    ReadCertificate {
        certificate: Box<ObjectRef<Certificate>>,
        #[source]
        source: kube::Error,
    },
    #[error("reading {secret}")]
    ReadSecret {
        secret: Box<ObjectRef<Secret>>,
        #[source]
        source: kube::Error,
    },
    #[error("writing {secret}")]
    WriteSecret {
        secret: Box<ObjectRef<Secret>>,
        #[source]
        source: kube::Error,
    },
    #[error("{secret} exists already, and was not made for this Certificate")]
    Occupied { secret: Box<ObjectRef<Secret>> },
    #[error("writing the status of {certificate}")]
    WriteStatus {
        certificate: Box<ObjectRef<Certificate>>,
        #[source]
        source: kube::Error,
    },
    #[error("writing {request}")]
    WriteRequest {
        request: Box<ObjectRef<CertificateRequest>>,
        #[source]
        source: kube::Error,
    },
    #[error("making a request for it")]
    Csr(#[source] pki::ComposeError),
    #[error(
        "the request has {bytes} bytes, and {max} fit into a CertificateRequest: ask for fewer or \
         shorter dnsNames, uris, emailAddresses or otherNames",
        max = CertificateRequestSpec::MAX_CSR_BYTES
    )]
    CsrTooLarge { bytes: usize },
    #[error(transparent)]
    Extras(Box<ExtrasError>),
    #[error("what was signed differs from {fields}")]
    Differs { fields: String },
    #[error("what was signed was not signed by the CA of {issuer}")]
    AnotherSigner { issuer: String },
    #[error("what was signed was valid until {not_after} only")]
    SignedExpired { not_after: Timestamp },
    #[error("making the private key")]
    Key(#[source] pki::KeyError),
    #[error("signing")]
    Sign(#[source] issuer::SignError),
    #[error("reading back what was signed")]
    ReadBack(#[source] pki::CertificateError),
    #[error("what was signed is not for the key that was made")]
    KeyMismatch,
    #[error("the work was cut off by a shutdown")]
    Cancelled,
}

impl Error {
    /// Used as event reason, condition reason and metric label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ReadCertificate { .. } => "ReadCertificateError",
            Self::ReadSecret { .. } => "ReadSecretError",
            Self::WriteSecret { .. } => "WriteSecretError",
            Self::Occupied { .. } => super::adoption::NOT_ADOPTED,
            Self::WriteStatus { .. } => "WriteStatusError",
            Self::WriteRequest { .. } => "WriteRequestError",
            Self::Csr(_) | Self::CsrTooLarge { .. } => "InvalidRequest",
            Self::Extras(_) => "KeystoreError",
            Self::Key(_) => "KeyError",
            Self::Sign(error) => error.reason(),
            Self::ReadBack(_)
            | Self::KeyMismatch
            | Self::SignedExpired { .. }
            | Self::Differs { .. }
            | Self::AnotherSigner { .. } => "InvalidCertificate",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Whether the object changed since it was read: it is to be read again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::WriteSecret { source, .. }
            | Self::WriteStatus { source, .. }
            | Self::WriteRequest { source, .. } => {
                matches!(source, kube::Error::Api(status) if status.code == 409)
            }
            _ => false,
        }
    }

    /// Whether no CSR can be made of the spec: that lasts until the spec changes.
    #[must_use]
    pub fn is_of_the_csr(&self) -> bool {
        matches!(self, Self::Csr(_) | Self::CsrTooLarge { .. })
    }

    /// The whole story, from what was done down to why it failed.
    #[must_use]
    pub fn story(&self) -> String {
        crate::story::story(self)
    }
}
