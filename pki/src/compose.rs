//! From our words to rcgen's.

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName,
    DnType, IsCa, OtherNameValue, SanType, SerialNumber,
};
use time::OffsetDateTime;
use yasna::Tag;
use yasna::models::ObjectIdentifier;

use super::csr::CsrOptions;
use super::der::written_sequence;
use super::key::{KeyError, PrivateKey};
use super::signature::{SignatureAlgorithm, UnfitSignature};
use super::template::{OtherName, Pointers, Request, Template, Validity};
use super::{domain, oid, usage};

/// Why something could not be written as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// X.509 has ASCII only in these names; others have a form in it (punycode). Nobody needs a
    /// space or a control character there, but for deceiving whoever reads the name.
    #[error("{name:?} among {field} is empty, or not visible ASCII throughout")]
    NotAscii {
        /// The field of the spec.
        field: &'static str,
        /// The name.
        name: String,
    },
    /// A name that no verifier accepts for any host.
    #[error("{name:?} among dnsNames matches no host: {problem}")]
    MatchesNothing {
        /// The name.
        name: String,
        /// Why not.
        problem: &'static str,
    },
    /// Neither a subject nor any other name: nobody could tell whose certificate it is.
    #[error("there is no name in the request")]
    NamesNobody,
    /// Something that is no object identifier.
    #[error("{oid:?} among otherNames is no object identifier (numbers with dots between them)")]
    NotAnOid {
        /// The text.
        oid: String,
    },
    /// An otherName that says nothing, or would deceive whoever reads it.
    #[error("the value of {oid} among otherNames is empty, or has control characters")]
    OtherNameValue {
        /// Its kind.
        oid: String,
    },
    /// Only an authority signs names.
    #[error("nameConstraints are for authorities only (isCA)")]
    ConstraintsOfLeaf,
    /// Neither permitted nor excluded names.
    #[error("nameConstraints neither permit nor exclude any name")]
    NoConstraint,
    /// A subtree that no verifier would understand.
    #[error("{value:?} in nameConstraints.{field} is no domain, host or mailbox")]
    Constraint {
        /// `permitted` or `excluded`.
        field: &'static str,
        /// The subtree.
        value: String,
    },
    /// Constraints that were read and not understood.
    #[error("nameConstraints of a form that is not understood cannot be written")]
    UncheckedConstraint,
    /// The key cannot sign like this.
    #[error(transparent)]
    Signature(#[from] UnfitSignature),
    /// A time that X.509 cannot write.
    #[error("the validity is beyond what a certificate can say")]
    Time,
    /// The library did not write it.
    #[error("the certificate could not be written")]
    Writing(#[from] rcgen::Error),
    /// The key did not sign it.
    #[error("the certificate could not be signed")]
    Key(#[from] KeyError),
}

/// An empty SEQUENCE.
const NO_NAME: [u8; 2] = [0x30, 0];

/// A certificate.
pub(crate) fn certificate(
    template: &Template,
    subject_der: &[u8],
) -> Result<CertificateParams, ComposeError> {
    let mut params = named(&template.request, subject_der)?;
    (params.key_usages, params.extended_key_usages) =
        usage::purposes(&template.request.effective_usages());
    let Validity { not_before, not_after } = template.validity;
    params.not_before = date_time(not_before)?;
    params.not_after = date_time(not_after)?;
    params.serial_number = Some(SerialNumber::from_slice(template.serial.as_bytes()));
    params.use_authority_key_identifier_extension = true;
    let path_len = template.path_len.or(template.request.path_len);
    params.is_ca = match (template.request.is_ca, path_len) {
        (false, _) => IsCa::ExplicitNoCa,
        (true, None) => IsCa::Ca(BasicConstraints::Unconstrained),
        (true, Some(length)) => IsCa::Ca(BasicConstraints::Constrained(length)),
    };
    let Pointers { crl_distribution_points, .. } = &template.pointers;
    for uri in crl_distribution_points {
        ascii("crlDistributionPoints", uri)?;
        params.crl_distribution_points.push(CrlDistributionPoint { uris: vec![uri.clone()] });
    }
    params.custom_extensions.extend(authority_information(&template.pointers)?);
    Ok(params)
}

/// A signing request.
pub(crate) fn csr(
    request: &Request,
    subject_der: &[u8],
    options: &CsrOptions,
) -> Result<CertificateParams, ComposeError> {
    let mut params = named(request, subject_der)?;
    if options.encode_usages {
        (params.key_usages, params.extended_key_usages) =
            usage::purposes(&request.effective_usages());
    }
    if options.encode_is_ca && request.is_ca {
        let constraints = match request.path_len {
            Some(length) => BasicConstraints::Constrained(length),
            None => BasicConstraints::Unconstrained,
        };
        params.is_ca = IsCa::Ca(constraints);
    }
    Ok(params)
}

/// What a request and a certificate have in common.
fn named(request: &Request, subject_der: &[u8]) -> Result<CertificateParams, ComposeError> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = alternative_names(request)?;
    let has_subject = subject_der != NO_NAME;
    if !has_subject && params.subject_alt_names.is_empty() {
        return Err(ComposeError::NamesNobody);
    }
    // Our own subject replaces this one later. What matters is whether there is one at all:
    // without, the alternative names are critical (RFC 5280, 4.2.1.6).
    params.distinguished_name = DistinguishedName::new();
    if has_subject {
        params.distinguished_name.push(DnType::CommonName, "replaced");
    }
    if let Some(constraints) = &request.name_constraints {
        if !request.is_ca {
            return Err(ComposeError::ConstraintsOfLeaf);
        }
        params.custom_extensions.push(constraints.extension()?);
    }
    Ok(params)
}

/// What was asked for if the key can do it, or what is natural for it.
pub(crate) fn signature_algorithm(
    asked: Option<SignatureAlgorithm>,
    key: &PrivateKey,
) -> Result<SignatureAlgorithm, ComposeError> {
    match asked {
        Some(asked) => Ok(asked.fits(key.algorithm()).map(|()| asked)?),
        None => Ok(SignatureAlgorithm::natural(key.algorithm())),
    }
}

fn date_time(time: jiff::Timestamp) -> Result<OffsetDateTime, ComposeError> {
    OffsetDateTime::from_unix_timestamp(time.as_second()).map_err(|_| ComposeError::Time)
}

fn alternative_names(request: &Request) -> Result<Vec<SanType>, ComposeError> {
    let Request { dns_names, ip_addresses, uris, email_addresses, other_names, .. } = request;
    let mut names = Vec::new();
    for name in dns_names {
        let written = ascii("dnsNames", name)?;
        if let Some(problem) = domain::matches_nothing(name) {
            return Err(ComposeError::MatchesNothing { name: name.clone(), problem });
        }
        names.push(SanType::DnsName(written));
    }
    names.extend(ip_addresses.iter().copied().map(SanType::IpAddress));
    for uri in uris {
        names.push(SanType::URI(ascii("uris", uri)?));
    }
    for email in email_addresses {
        names.push(SanType::Rfc822Name(ascii("emailAddresses", email)?));
    }
    for name in other_names {
        names.push(other_name(name)?);
    }
    Ok(names)
}

fn other_name(name: &OtherName) -> Result<SanType, ComposeError> {
    let OtherName { oid, utf8_value } = name;
    let numbers = oid::parse(oid).ok_or_else(|| ComposeError::NotAnOid { oid: oid.clone() })?;
    if utf8_value.is_empty() || utf8_value.chars().any(char::is_control) {
        return Err(ComposeError::OtherNameValue { oid: oid.clone() });
    }
    Ok(SanType::OtherName((numbers, OtherNameValue::Utf8String(utf8_value.clone()))))
}

fn ascii(field: &'static str, name: &str) -> Result<Ia5String, ComposeError> {
    let refused = || ComposeError::NotAscii { field, name: name.to_owned() };
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refused());
    }
    Ia5String::try_from(name).map_err(|_| refused())
}

/// Who answers for the certificate, and where its issuer's is (RFC 5280, 4.2.2.1).
fn authority_information(pointers: &Pointers) -> Result<Option<CustomExtension>, ComposeError> {
    const EXTENSION: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 1];
    const OCSP: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 48, 1];
    const ISSUERS: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 48, 2];
    let mut entries = Vec::new();
    for uri in &pointers.ocsp_servers {
        entries.push((OCSP, ascii("ocspServers", uri)?));
    }
    for uri in &pointers.issuing_certificate_urls {
        entries.push((ISSUERS, ascii("issuingCertificateURLs", uri)?));
    }
    if entries.is_empty() {
        return Ok(None);
    }
    let content = written_sequence(|writer| {
        for (method, uri) in &entries {
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&ObjectIdentifier::from_slice(method));
                writer.next().write_tagged_implicit(Tag::context(6), |writer| {
                    writer.write_ia5_string(uri.as_str());
                });
            });
        }
    });
    Ok(Some(CustomExtension::from_oid_content(&EXTENSION, content)))
}
