//! What a spec asks for, in the terms of `pki`: parsed once, so that a bad value cannot go on.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use countersign_crds::{
    Certificate, CertificateSpec, KeyAlgorithm as SpecAlgorithm, KeyEncoding as SpecEncoding,
    KeyUsage, NameConstraintItem, PrivateKeySpec, RotationPolicy,
    SignatureAlgorithm as SpecSignature, X509Subject,
};

use super::renewal::Terms;
use crate::pki::{
    KeyAlgorithm, KeyEncoding, LiteralSubject, NameConstraints, NameSet, OtherName, Request,
    SignatureAlgorithm, Subject, Usage,
};

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
    /// When it is renewed.
    pub renewal: Terms,
    /// How it signs itself, or its request.
    pub signature: Option<SignatureAlgorithm>,
    /// Whether a request says which usages it wants.
    pub encode_usages: bool,
}

/// A field of the spec that the schema let pass and that still makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("spec.{field}: {value:?} {problem}")]
pub struct InvalidField {
    field: &'static str,
    value: String,
    problem: String,
}

impl InvalidField {
    pub(super) fn new(field: &'static str, value: &str, problem: impl Into<String>) -> Self {
        Self { field, value: value.to_owned(), problem: problem.into() }
    }
}

impl Wanted {
    /// What a Certificate asks for, with its own share of chance.
    ///
    /// # Errors
    /// When a field makes no sense although the schema let it pass.
    pub fn by(certificate: &Certificate) -> Result<Self, InvalidField> {
        let wanted = Self::of(&certificate.spec)?;
        let uid = certificate.metadata.uid.as_deref().unwrap_or_default();
        Ok(Self { renewal: wanted.renewal.spread_by(uid), ..wanted })
    }

    /// Reads a spec.
    ///
    /// # Errors
    /// When a field makes no sense although the schema let it pass.
    pub fn of(spec: &CertificateSpec) -> Result<Self, InvalidField> {
        let key = spec.private_key.clone().unwrap_or_default();
        template_names(spec)?;
        let lifetime = spec.duration.map_or(DEFAULT_LIFETIME, Duration::from);
        Ok(Self {
            request: request_of(spec)?,
            algorithm: algorithm_of(&key)?,
            encoding: encoding_of(&key),
            keep_key: key.rotation_policy == Some(RotationPolicy::Never),
            lifetime,
            renewal: Terms::of(spec)?,
            signature: spec.signature_algorithm.map(signature_of),
            encode_usages: spec.encode_usages_in_request != Some(false),
        })
    }
}

/// Labels and annotations have names that Kubernetes takes.
fn template_names(spec: &CertificateSpec) -> Result<(), InvalidField> {
    let Some(template) = &spec.secret_template else { return Ok(()) };
    let named = [
        ("secretTemplate.labels", &template.labels),
        ("secretTemplate.annotations", &template.annotations),
    ];
    for (field, map) in named {
        if let Some(name) = map.keys().find(|name| !is_qualified(name)) {
            let problem = "is no name such as team or example.org/team";
            return Err(InvalidField::new(field, name, problem));
        }
    }
    Ok(())
}

/// A name of at most 63 characters, after a DNS name and a slash, perhaps.
fn is_qualified(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let is_framed = |text: &str, also: &str| {
        let is_alphanumeric = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        is_alphanumeric(text.chars().next())
            && is_alphanumeric(text.chars().next_back())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
    };
    let is_domain = |text: &str| {
        let lower = !text.contains(|c: char| c.is_ascii_uppercase());
        text.len() <= 253 && lower && text.split('.').all(|label| is_framed(label, "-"))
    };
    name.len() <= 63 && is_framed(name, "-_.") && prefix.is_none_or(is_domain)
}

fn request_of(spec: &CertificateSpec) -> Result<Request, InvalidField> {
    Ok(Request {
        common_name: said(spec.common_name.as_ref()).map(str::to_owned),
        subject: subject_of(spec.subject.as_ref()),
        dns_names: dns_names(spec),
        ip_addresses: spec.ip_addresses.iter().map(|ip| ip_of(ip)).collect::<Result<_, _>>()?,
        uris: spec.uris.clone(),
        email_addresses: spec.email_addresses.clone(),
        usages: usages_of(&spec.usages),
        is_ca: spec.is_ca == Some(true),
        literal_subject: said(spec.literal_subject.as_ref()).map(literal_subject).transpose()?,
        other_names: spec.other_names.iter().map(other_name).collect(),
        name_constraints: spec
            .name_constraints
            .as_ref()
            .map(name_constraints)
            .transpose()?
            .filter(|limits| !limits.is_empty()),
        path_len: path_len(spec)?,
    })
}

fn path_len(spec: &CertificateSpec) -> Result<Option<u8>, InvalidField> {
    let Some(length) = spec.max_path_length else { return Ok(None) };
    let invalid = |problem| InvalidField::new("maxPathLength", &length.to_string(), problem);
    if spec.is_ca != Some(true) {
        return Err(invalid("is for authorities: set isCA to true"));
    }
    u8::try_from(length).map(Some).map_err(|_| invalid("is not between 0 and 255"))
}

/// What templates render as empty was left out.
fn said(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

/// RFC 5280, ub-common-name.
const LONGEST_COMMON_NAME: usize = 64;

/// Without the dot at the end that stands for the root of the DNS: no verifier compares it away, so
/// that such a name in a certificate is that of no host.
fn dns_names(spec: &CertificateSpec) -> Vec<String> {
    let names = spec.dns_names.iter().map(|name| name.strip_suffix('.').unwrap_or(name));
    let mut seen = HashSet::new();
    names.filter(|name| seen.insert(*name)).map(str::to_owned).collect()
}

fn literal_subject(text: &str) -> Result<LiteralSubject, InvalidField> {
    let invalid = |problem: &str| InvalidField::new("literalSubject", text, problem);
    let subject = LiteralSubject::parse(text).map_err(|error| {
        invalid(&format!("is no subject in the text form of RFC 4514: {error}"))
    })?;
    if subject.common_name().is_some_and(|name| name.len() > LONGEST_COMMON_NAME) {
        return Err(invalid("has a common name of more than 64 bytes"));
    }
    Ok(subject)
}

fn other_name(name: &countersign_crds::OtherName) -> OtherName {
    OtherName { oid: name.oid.clone(), utf8_value: name.utf8_value.clone() }
}

fn name_constraints(
    constraints: &countersign_crds::NameConstraints,
) -> Result<NameConstraints, InvalidField> {
    let set = |item: &Option<NameConstraintItem>| {
        let item = item.clone().unwrap_or_default();
        let range = |text: &String| {
            let problem = "is no network such as 10.0.0.0/8";
            text.parse().map_err(|_| InvalidField::new("nameConstraints.ipRanges", text, problem))
        };
        Ok(NameSet {
            dns_domains: item.dns_domains,
            ip_ranges: item.ip_ranges.iter().map(range).collect::<Result<_, _>>()?,
            email_addresses: item.email_addresses,
            uri_domains: item.uri_domains,
            ..NameSet::default()
        })
    };
    Ok(NameConstraints {
        critical: constraints.critical == Some(true),
        permitted: set(&constraints.permitted)?,
        excluded: set(&constraints.excluded)?,
    })
}

fn signature_of(algorithm: SpecSignature) -> SignatureAlgorithm {
    match algorithm {
        SpecSignature::SHA256WithRSA => SignatureAlgorithm::Sha256WithRsa,
        SpecSignature::SHA384WithRSA => SignatureAlgorithm::Sha384WithRsa,
        SpecSignature::SHA512WithRSA => SignatureAlgorithm::Sha512WithRsa,
        SpecSignature::ECDSAWithSHA256 => SignatureAlgorithm::EcdsaWithSha256,
        SpecSignature::ECDSAWithSHA384 => SignatureAlgorithm::EcdsaWithSha384,
        SpecSignature::ECDSAWithSHA512 => SignatureAlgorithm::EcdsaWithSha512,
        SpecSignature::PureEd25519 => SignatureAlgorithm::PureEd25519,
    }
}

/// An IPv4 address in the form of IPv6 is that IPv4 address, and stands as such in a certificate.
fn ip_of(text: &str) -> Result<IpAddr, InvalidField> {
    let parsed = text.parse().map_err(|_: std::net::AddrParseError| InvalidField {
        field: "ipAddresses",
        value: text.to_owned(),
        problem: "is not an IP address".to_owned(),
    });
    parsed.map(|address: IpAddr| address.to_canonical())
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
        serial_number: subject.serial_number.filter(|number| !number.is_empty()),
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
            problem: "is not a size of this algorithm".to_owned(),
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
