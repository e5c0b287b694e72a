//! Which name a failed handshake has; pure.

use countersign_contract::Refusal;
use rustls::{CertificateError, Error};

use super::handshake;

/// The name of what went wrong in a handshake.
#[must_use]
pub fn of_error(error: &handshake::Error) -> Refusal {
    match error {
        handshake::Error::Tls(error) => of_tls(error),
        handshake::Error::TooLong(_) => Refusal::TlsProtocol,
        handshake::Error::Ended | handshake::Error::Io(_) => Refusal::HandshakeAborted,
    }
}

/// What went wrong, in words: rustls prints the errors of others as Rust values.
#[must_use]
pub fn text(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => {
            format!("invalid peer certificate: {other}")
        }
        other => other.to_string(),
    }
}

fn of_tls(error: &Error) -> Refusal {
    match error {
        Error::NoCertificatesPresented => Refusal::NoClientCertificate,
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Refusal::TlsIncompatible,
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
        CertificateError::Revoked => Refusal::PeerRevoked,
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => Refusal::RevocationUnknown,
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
