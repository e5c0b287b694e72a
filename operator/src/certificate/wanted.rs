//! What a spec asks for, in the terms of `pki`: parsed once, so that a bad value cannot go on.

use std::net::IpAddr;
use std::time::Duration;

use countersign_crds::{
    CertificateSpec, KeyAlgorithm as SpecAlgorithm, KeyEncoding as SpecEncoding, KeyUsage,
    PrivateKeySpec, RotationPolicy, X509Subject,
};

use crate::pki::{KeyAlgorithm, KeyEncoding, Request, Subject, Usage};

/// Lifetime where none is asked for: 90 days.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// What a spec asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The names and usages.
    pub request: Request,
    /// The kind of key.
    pub algorithm: KeyAlgorithm,
    /// How the key is written.
    pub encoding: KeyEncoding,
    /// Whether the key is kept over renewals.
    pub keep_key: bool,
    /// How long a certificate is valid.
    pub lifetime: Duration,
    /// How long before its end it is renewed; a third of its lifetime unless set.
    pub renew_before: Option<Duration>,
}

/// A field of the spec that the schema let pass and that still makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("spec.{field}: {value:?} {problem}")]
pub struct InvalidField {
    field: &'static str,
    value: String,
    problem: &'static str,
}

impl Wanted {
    /// Reads a spec.
    ///
    /// # Errors
    /// When a field makes no sense although the schema let it pass.
    pub fn of(spec: &CertificateSpec) -> Result<Self, InvalidField> {
        let key = spec.private_key.clone().unwrap_or_default();
        let lifetime = spec.duration.map_or(DEFAULT_LIFETIME, Duration::from);
        Ok(Self {
            request: request_of(spec)?,
            algorithm: algorithm_of(&key)?,
            encoding: encoding_of(&key),
            keep_key: key.rotation_policy == Some(RotationPolicy::Never),
            lifetime,
            renew_before: spec.renew_before.map(Duration::from),
        })
    }
}

fn request_of(spec: &CertificateSpec) -> Result<Request, InvalidField> {
    Ok(Request {
        common_name: spec.common_name.clone().filter(|name| !name.is_empty()),
        subject: subject_of(spec.subject.as_ref()),
        dns_names: spec.dns_names.clone(),
        ip_addresses: spec.ip_addresses.iter().map(|ip| ip_of(ip)).collect::<Result<_, _>>()?,
        uris: spec.uris.clone(),
        email_addresses: spec.email_addresses.clone(),
        usages: usages_of(&spec.usages),
        is_ca: spec.is_ca == Some(true),
        ..Request::default()
    })
}

fn ip_of(text: &str) -> Result<IpAddr, InvalidField> {
    text.parse().map_err(|_: std::net::AddrParseError| InvalidField {
        field: "ipAddresses",
        value: text.to_owned(),
        problem: "is not an IP address",
    })
}

fn subject_of(subject: Option<&X509Subject>) -> Subject {
    let subject = subject.cloned().unwrap_or_default();
    Subject {
        organizations: subject.organizations,
        countries: subject.countries,
        organizational_units: subject.organizational_units,
        localities: subject.localities,
        provinces: subject.provinces,
        street_addresses: subject.street_addresses,
        postal_codes: subject.postal_codes,
        serial_number: subject.serial_number,
    }
}

/// The usages of a spec; what holds where none are named is said once, in `pki`.
#[must_use]
pub fn usages_of(usages: &[KeyUsage]) -> Vec<Usage> {
    usages.iter().copied().map(usage).collect()
}

fn usage(usage: KeyUsage) -> Usage {
    match usage {
        KeyUsage::Signing => Usage::Signing,
        KeyUsage::DigitalSignature => Usage::DigitalSignature,
        KeyUsage::ContentCommitment => Usage::ContentCommitment,
        KeyUsage::KeyEncipherment => Usage::KeyEncipherment,
        KeyUsage::KeyAgreement => Usage::KeyAgreement,
        KeyUsage::DataEncipherment => Usage::DataEncipherment,
        KeyUsage::CertSign => Usage::CertSign,
        KeyUsage::CrlSign => Usage::CrlSign,
        KeyUsage::EncipherOnly => Usage::EncipherOnly,
        KeyUsage::DecipherOnly => Usage::DecipherOnly,
        KeyUsage::Any => Usage::Any,
        KeyUsage::ServerAuth => Usage::ServerAuth,
        KeyUsage::ClientAuth => Usage::ClientAuth,
        KeyUsage::CodeSigning => Usage::CodeSigning,
        KeyUsage::EmailProtection => Usage::EmailProtection,
        KeyUsage::SMime => Usage::SMime,
        KeyUsage::IpsecEndSystem => Usage::IpsecEndSystem,
        KeyUsage::IpsecTunnel => Usage::IpsecTunnel,
        KeyUsage::IpsecUser => Usage::IpsecUser,
        KeyUsage::Timestamping => Usage::Timestamping,
        KeyUsage::OcspSigning => Usage::OcspSigning,
        KeyUsage::MicrosoftSgc => Usage::MicrosoftSgc,
        KeyUsage::NetscapeSgc => Usage::NetscapeSgc,
    }
}

fn algorithm_of(key: &PrivateKeySpec) -> Result<KeyAlgorithm, InvalidField> {
    let size = key.size.filter(|size| *size != 0);
    match (key.algorithm.unwrap_or_default(), size) {
        (SpecAlgorithm::Ed25519, _) => Ok(KeyAlgorithm::Ed25519),
        (SpecAlgorithm::ECDSA, None | Some(256)) => Ok(KeyAlgorithm::EcdsaP256),
        (SpecAlgorithm::ECDSA, Some(384)) => Ok(KeyAlgorithm::EcdsaP384),
        (SpecAlgorithm::ECDSA, Some(521)) => Ok(KeyAlgorithm::EcdsaP521),
        (SpecAlgorithm::RSA, None) => Ok(KeyAlgorithm::Rsa { bits: 2048 }),
        (SpecAlgorithm::RSA, Some(bits @ (2048 | 3072 | 4096 | 8192))) => {
            Ok(KeyAlgorithm::Rsa { bits: bits.unsigned_abs() })
        }
        (_, Some(size)) => Err(InvalidField {
            field: "privateKey.size",
            value: size.to_string(),
            problem: "is not a size of this algorithm",
        }),
    }
}

fn encoding_of(key: &PrivateKeySpec) -> KeyEncoding {
    match key.encoding.unwrap_or_default() {
        SpecEncoding::PKCS1 => KeyEncoding::Pkcs1,
        SpecEncoding::PKCS8 => KeyEncoding::Pkcs8,
    }
}

#[cfg(test)]
mod tests;
