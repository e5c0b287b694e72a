//! Certificate signing requests (PKCS#10): made, and read from whoever sends one.

use rustls_pki_types::CertificateSigningRequestDer;
use x509_parser::asn1_rs::FromDer;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::X509Extension;

use super::attributes::{self, Asked};
use super::compose::{self, ComposeError};
use super::extensions::{DamagedExtension, Extensions};
use super::key::{KeyAlgorithm, PrivateKey, Unsigned};
use super::leaf::key_algorithm;
use super::name::{self, NameParts};
use super::pem::{self, PemError};
use super::signature::SignatureAlgorithm;
use super::template::Request;
use super::verify::{self, Verdict};
use super::{algorithm, der};

/// Why a request was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// The text is no PEM of a request.
    #[error("the request cannot be read")]
    Pem(#[from] PemError),
    /// It is PEM, and no PKCS#10 request.
    #[error("the request is no PKCS#10 certificate signing request")]
    Malformed,
    /// One of the extensions that it asks for is damaged.
    #[error("the request cannot be read")]
    Extension(#[from] DamagedExtension),
    /// It is not signed with the key that it names: nobody has proved to hold that key.
    #[error("the signature of the request was not made with its key")]
    NotSignedByItsKey,
    /// It is signed in a way that is not accepted, so that nothing is proved.
    #[error("the request is signed with {algorithm}, which is not accepted: sign it with SHA-256")]
    UnacceptedSignature {
        /// The algorithm.
        algorithm: String,
    },
    /// Its key is of a kind or size that is not signed.
    #[error(
        "the key of the request is {found}: RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) and Ed25519 are accepted"
    )]
    UnsupportedKey {
        /// What it is.
        found: String,
    },
    /// It asks for a name of a kind that cannot be checked, hence not granted.
    #[error("the request asks for {kind}, which is not supported")]
    UnsupportedName {
        /// The kind.
        kind: &'static str,
    },
    /// It asks for an extended key usage that no spec can name, hence nobody can approve.
    #[error("the request asks for the extended key usage {purpose}, which usages cannot name")]
    UnsupportedPurpose {
        /// Its object identifier.
        purpose: String,
    },
    /// It asks for an extension that is critical and has no meaning here.
    #[error("the request asks for the critical extension {oid}, which is not supported")]
    UnsupportedExtension {
        /// Its object identifier.
        oid: String,
    },
    /// It limits the authorities below a certificate that is none, or to a number that is not written.
    #[error(
        "the request asks for a path length of {length}, which is for authorities, and 255 at most"
    )]
    UnsupportedPathLength {
        /// What it asks for.
        length: u32,
    },
    /// It asks for something in an attribute that cannot be read.
    #[error("the attribute {oid} of the request {problem}")]
    Attribute {
        /// Its object identifier.
        oid: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two common names: whichever is checked, somebody may read the other.
    #[error("the request has more than one common name")]
    SeveralCommonNames,
}

/// A request whose sender has proved to hold the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedCsr {
    /// What it asks for. `usages` is empty if it does not say.
    pub request: Request,
    /// True if it says which usages it wants.
    pub encodes_usages: bool,
    /// Whether it wants to be an authority, if it says.
    pub encodes_is_ca: Option<bool>,
    /// The whole subject, a DER Name, for `Template::subject_der`.
    pub subject_der: Vec<u8>,
    /// Object identifiers of the parts of the subject for which `request` has no field.
    pub other_subject_parts: Vec<String>,
    /// The public key, a DER SubjectPublicKeyInfo.
    pub public_key_spki: Vec<u8>,
    /// Its algorithm and size.
    pub key_algorithm: KeyAlgorithm,
}

/// What a request of ours says beside the names, and how it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsrOptions {
    /// Whether it says for which usages: some authorities refuse a request that does.
    pub encode_usages: bool,
    /// Whether it says (in basicConstraints) that an authority is asked for.
    pub encode_is_ca: bool,
    /// How it is signed; `None` for what is natural for the key.
    pub signature_algorithm: Option<SignatureAlgorithm>,
}

impl Default for CsrOptions {
    fn default() -> Self {
        Self { encode_usages: true, encode_is_ca: true, signature_algorithm: None }
    }
}

/// Makes a request, in PEM, that says all there is to say.
pub fn make_csr(request: &Request, key: &PrivateKey) -> Result<String, ComposeError> {
    make_csr_with(request, key, &CsrOptions::default())
}

/// Makes a request, in PEM.
pub fn make_csr_with(
    request: &Request,
    key: &PrivateKey,
    options: &CsrOptions,
) -> Result<String, ComposeError> {
    let algorithm = compose::signature_algorithm(options.signature_algorithm, key)?;
    let subject = name::subject_der(request);
    let params = compose::csr(request, &subject, options)?;
    let unsigned = params.serialize_request(&Unsigned(key))?;
    // Version, subject, key, attributes.
    let signed = der::resigned(unsigned.der(), &[(1, &subject)], key, algorithm)?;
    Ok(pem::section("CERTIFICATE REQUEST", signed))
}

/// Reads a request, in PEM, and checks that it was signed with its own key.
pub fn parse_csr(text: &[u8]) -> Result<ParsedCsr, CsrError> {
    let found = pem::sections(text, pem::Kind::Request, 1)?;
    let (_, der) = found.into_iter().next().ok_or(CsrError::Malformed)?;
    parse_csr_der(&CertificateSigningRequestDer::from(der))
}

/// The same, in DER.
pub fn parse_csr_der(der: &CertificateSigningRequestDer<'_>) -> Result<ParsedCsr, CsrError> {
    let parsed = X509CertificationRequest::from_der(der);
    let Ok(([], csr)) = parsed else { return Err(CsrError::Malformed) };
    let info = &csr.certification_request_info;
    let spki = info.subject_pki.raw;
    let key_algorithm = accepted_key(spki)?;
    match verify::judge(der, spki) {
        Verdict::Holds => {}
        Verdict::Fails => return Err(CsrError::NotSignedByItsKey),
        Verdict::Unchecked(algorithm) => return Err(CsrError::UnacceptedSignature { algorithm }),
    }
    let extensions = requested_extensions(info.raw)?;
    let path_len = path_len(&extensions)?;
    let subject = NameParts::from_der(info.subject.as_raw()).ok_or(CsrError::Malformed)?;
    if subject.common_names.len() > 1 {
        return Err(CsrError::SeveralCommonNames);
    }
    if subject.others.iter().any(|part| part == name::COMMON_NAME_TEXT) {
        return Err(CsrError::UnsupportedName { kind: "a common name that is no text" });
    }
    Ok(ParsedCsr {
        encodes_usages: extensions.usages.is_some(),
        encodes_is_ca: extensions.is_ca,
        request: Request {
            common_name: subject.common_names.into_iter().next(),
            subject: subject.subject,
            usages: extensions.usages.into_iter().flatten().collect(),
            is_ca: extensions.is_ca == Some(true),
            path_len,
            ..extensions.names
        },
        subject_der: info.subject.as_raw().to_vec(),
        other_subject_parts: subject.others,
        public_key_spki: spki.to_vec(),
        key_algorithm,
    })
}

/// A key that is worth a certificate.
pub(crate) fn accepted_key(spki: &[u8]) -> Result<KeyAlgorithm, CsrError> {
    if let Some(found) = algorithm::unaccepted_key(spki) {
        return Err(CsrError::UnsupportedKey { found });
    }
    let damaged = || CsrError::UnsupportedKey { found: "a damaged key".to_owned() };
    key_algorithm(spki).ok_or_else(damaged)
}

fn path_len(extensions: &Extensions) -> Result<Option<u8>, CsrError> {
    let Some(length) = extensions.path_len else { return Ok(None) };
    let read = u8::try_from(length).ok().filter(|_| extensions.is_ca == Some(true));
    read.map(Some).ok_or(CsrError::UnsupportedPathLength { length })
}

/// What the attributes of a CertificationRequestInfo ask for. All of it is granted, or the request is
/// refused: who signs for less would hand out a certificate that nobody asked for.
fn requested_extensions(info: &[u8]) -> Result<Extensions, CsrError> {
    let Asked { extensions } = attributes::read(info)?;
    let parsed: Vec<X509Extension<'_>> = extensions
        .iter()
        .map(|der| match X509Extension::from_der(der) {
            Ok(([], extension)) => Ok(extension),
            _ => Err(CsrError::Malformed),
        })
        .collect::<Result<_, _>>()?;
    let extensions = Extensions::read(parsed.iter())?;
    let unchecked = has_unchecked_constraints(&extensions)
        .then_some("a name constraint that is not understood");
    if let Some(kind) = extensions.strange_names.first().copied().or(unchecked) {
        return Err(CsrError::UnsupportedName { kind });
    }
    if let Some(purpose) = extensions.unknown_purposes.first().cloned() {
        return Err(CsrError::UnsupportedPurpose { purpose });
    }
    match extensions.unknown_critical.first().cloned() {
        Some(oid) => Err(CsrError::UnsupportedExtension { oid }),
        None => Ok(extensions),
    }
}

fn has_unchecked_constraints(extensions: &Extensions) -> bool {
    let constraints = extensions.names.name_constraints.iter();
    let mut sets = constraints.flat_map(|limits| [&limits.permitted, &limits.excluded]);
    sets.any(|set| !set.unchecked.is_empty())
}
