//! Which name a failed handshake has; pure.

use countersign_contract::Refusal;
use rustls::{CertificateError, Error};

/// The name of what went wrong in a handshake.
#[must_use]
pub fn of_error(error: &std::io::Error) -> Refusal {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => of_tls(error),
        None => Refusal::HandshakeAborted,
    }
}

fn of_tls(error: &Error) -> Refusal {
    match error {
        Error::NoCertificatesPresented => Refusal::NoClientCertificate,
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::PeerIncompatible(_) => Refusal::TlsIncompatible,
        Error::AlertReceived(_) => Refusal::RefusedByPeer,
        _ => Refusal::TlsProtocol,
    }
}

fn of_certificate(error: &CertificateError) -> Refusal {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Refusal::PeerUntrusted,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Refusal::PeerExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Refusal::PeerNotYetValid
        }
        CertificateError::NotValidForName
        | CertificateError::NotValidForNameContext { .. }
        | CertificateError::ApplicationVerificationFailure => Refusal::PeerUnexpected,
        // An authority's own certificate shown as a leaf, which most self-signed ones are: whoever
        // it is, none of ours signed it as one. rustls has no variant of its own for it.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            Refusal::PeerUntrusted
        }
        _ => Refusal::PeerInvalid,
    }
}
