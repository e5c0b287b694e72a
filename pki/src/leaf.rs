//! What an X.509 certificate says, read once and kept.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, alg_id};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::time::ASN1Time;

use super::der::{contents, exactly, whole_bytes};
use super::extensions::{DamagedExtension, Extensions};
use super::key::{KeyAlgorithm, PrivateKey};
use super::name::{self, NameParts};
use super::pem::{PemError, certificates_from_pem};
use super::template::{Request, Validity};
use super::usage::Usage;
use super::verify::{self, Verdict};

/// Why a certificate could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The text is no PEM of a certificate.
    #[error("the certificate cannot be read")]
    Pem(#[from] PemError),
    /// It is PEM, and no X.509 certificate.
    #[error("the certificate is no X.509 certificate")]
    Malformed,
    /// One of its extensions is damaged.
    #[error("the certificate cannot be read")]
    Extension(#[from] DamagedExtension),
}

/// The facts about one certificate, leaf or authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The certificate itself.
    pub der: CertificateDer<'static>,
    /// From when until when it is valid.
    pub validity: Validity,
    /// Its serial number, big-endian.
    pub serial: Vec<u8>,
    /// Subject, names, usages and whether it is an authority, in the words of a request. The
    /// usages are canonical and sorted, and they are what stands there: no default is added.
    pub says: Request,
    /// The whole subject, a DER Name.
    pub subject_der: Vec<u8>,
    /// The whole issuer, a DER Name.
    pub issuer_der: Vec<u8>,
    /// The public key, a DER SubjectPublicKeyInfo.
    pub public_key_spki: Vec<u8>,
    /// Its algorithm and size; `None` for one that we do not know.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// How many authorities may follow below it; `None` if it does not say.
    pub path_len: Option<u32>,
    /// The subject key identifier, if there is one.
    pub subject_key_id: Option<Vec<u8>>,
    /// The key identifier of its issuer, if it says that.
    pub(crate) authority_key_id: Option<Vec<u8>>,
    /// The usages in the KeyUsage extension; `None` without one, which allows all of them.
    pub(crate) key_usage: Option<BTreeSet<Usage>>,
}

impl CertificateFacts {
    /// The first certificate in a PEM text, which in `tls.crt` is the leaf.
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        let mut found = certificates_from_pem(text)?.into_iter();
        found.next().ok_or(CertificateError::Malformed).and_then(Self::from_der)
    }

    /// Every certificate in a PEM text, in the order in which they stand.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>, CertificateError> {
        certificates_from_pem(text)?.into_iter().map(Self::from_der).collect()
    }

    /// Reads one certificate, with nothing before or after it.
    pub fn from_der(der: CertificateDer<'static>) -> Result<Self, CertificateError> {
        let parsed = X509Certificate::from_der(&der);
        // The parser does not mind an outer tag other than that of a SEQUENCE.
        let (Ok(([], certificate)), Some([_, _, _])) = (parsed, exactly(&der)) else {
            return Err(CertificateError::Malformed);
        };
        let extensions = Extensions::read(certificate.iter_extensions())?;
        let subject = NameParts::read(&certificate.subject);
        let spki = certificate.subject_pki.raw;
        Ok(Self {
            validity: Validity {
                not_before: timestamp(certificate.validity.not_before),
                not_after: timestamp(certificate.validity.not_after),
            },
            serial: unsigned(certificate.raw_serial()).to_vec(),
            subject_der: certificate.subject.as_raw().to_vec(),
            issuer_der: certificate.issuer.as_raw().to_vec(),
            public_key_spki: spki.to_vec(),
            key_algorithm: key_algorithm(spki),
            says: Request {
                common_name: subject.common_names.into_iter().next_back(),
                subject: subject.subject,
                usages: extensions.usages.into_iter().flatten().collect(),
                is_ca: extensions.is_ca == Some(true),
                ..extensions.names
            },
            path_len: extensions.path_len,
            subject_key_id: extensions.subject_key_id,
            authority_key_id: extensions.authority_key_id,
            key_usage: extensions.key_usage,
            der: der.clone(),
        })
    }

    /// The serial number in lower-case hexadecimal, without separators.
    pub fn serial_hex(&self) -> String {
        self.serial.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The subject for people: `CN=..., O=...`.
    pub fn subject_text(&self) -> String {
        name::display(&self.subject_der)
    }

    /// The issuer for people.
    pub fn issuer_text(&self) -> String {
        name::display(&self.issuer_der)
    }

    /// True if the certificate is of this key.
    pub fn matches_key(&self, key: &PrivateKey) -> bool {
        self.public_key_spki == key.public_key_spki()
    }

    /// True if `authority` is named as the issuer, and its key made the signature. Neither time
    /// nor what the authority may do is looked at.
    pub fn verify_issued_by(&self, authority: &Self) -> bool {
        self.judged_by(authority) == Verdict::Holds
    }

    /// The same, where what cannot be checked is told from what was not signed.
    pub(crate) fn judged_by(&self, authority: &Self) -> Verdict {
        match self.issuer_der == authority.subject_der {
            true => verify::judge(&self.der, &authority.public_key_spki),
            false => Verdict::Fails,
        }
    }

    /// True if it may sign others: it is an authority's, and its key usage does not leave that out.
    pub fn may_sign(&self) -> bool {
        let usages = self.key_usage.as_ref();
        self.says.is_ca && usages.is_none_or(|usages| usages.contains(&Usage::CertSign))
    }

    /// True if it is its own issuer: the names are the same, and so is the key. No verifier checks
    /// the signature of a root, hence one with SHA-1 does not make it another certificate.
    pub fn is_self_signed(&self) -> bool {
        if self.issuer_der != self.subject_der {
            return false;
        }
        let verdict = verify::judge(&self.der, &self.public_key_spki);
        match (&self.subject_key_id, &self.authority_key_id) {
            _ if verdict == Verdict::Holds => true,
            (Some(own), Some(issuer)) => own == issuer,
            _ => matches!(verdict, Verdict::Unchecked(_)),
        }
    }

    /// The fields of a Certificate's spec that this certificate does not satisfy, by their names
    /// there; empty if it is what was asked for. The order of a list never matters, and the
    /// common name may also stand among the DNS names or come from them, as some authorities do it.
    pub fn differences(&self, request: &Request) -> Vec<&'static str> {
        let says = &self.says;
        let usages: BTreeSet<_> = says.usages.iter().copied().collect();
        let literal = request.literal_subject.is_some();
        let same = [
            ("literalSubject", self.has_literal_subject(request)),
            ("commonName", literal || self.has_common_name(request)),
            ("subject", literal || self.has_subject(request)),
            ("dnsNames", self.has_dns_names(request)),
            ("ipAddresses", set(&says.ip_addresses) == set(&request.ip_addresses)),
            ("uris", set(&says.uris) == set(&request.uris)),
            ("emailAddresses", set(&says.email_addresses) == set(&request.email_addresses)),
            ("otherNames", set(&says.other_names) == set(&request.other_names)),
            ("isCA", says.is_ca == request.is_ca),
            ("maxPathLength", self.has_path_len(request)),
            ("usages", usages == request.effective_usages()),
            ("nameConstraints", self.has_name_constraints(request)),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(field, _)| field).collect()
    }

    /// It was written as it is wanted, hence nothing about it may differ.
    fn has_literal_subject(&self, request: &Request) -> bool {
        let literal = request.literal_subject.as_ref();
        literal.is_none_or(|literal| literal.der() == self.subject_der)
    }

    /// Where nothing is asked for, an authority may have written what is left of its own.
    fn has_path_len(&self, request: &Request) -> bool {
        let asked = request.path_len.filter(|_| request.is_ca).map(u32::from);
        asked.is_none_or(|asked| self.path_len == Some(asked))
    }

    fn has_name_constraints(&self, request: &Request) -> bool {
        match (&self.says.name_constraints, &request.name_constraints) {
            (Some(found), Some(wanted)) => found.says_the_same_as(wanted),
            (found, wanted) => found.is_none() && wanted.is_none(),
        }
    }

    /// An authority may drop the common name where the same stands among the DNS names, or set it
    /// from them.
    fn has_common_name(&self, request: &Request) -> bool {
        match (&request.common_name, &self.says.common_name) {
            (Some(dropped), None) => self.says.dns_names.contains(dropped),
            (None, Some(promoted)) => request.dns_names.contains(promoted),
            (wanted, found) => wanted == found,
        }
    }

    /// Every DNS name must be there as one: no client looks for it in the common name any more.
    fn has_dns_names(&self, request: &Request) -> bool {
        let (wanted, found) = (set(&request.dns_names), set(&self.says.dns_names));
        let promoted = |name: &&String| Some(name.as_str()) == request.effective_common_name();
        wanted.is_subset(&found) && found.difference(&wanted).all(promoted)
    }

    fn has_subject(&self, request: &Request) -> bool {
        let (found, wanted) = (&self.says.subject, &request.subject);
        let lists = [
            (&found.organizations, &wanted.organizations),
            (&found.countries, &wanted.countries),
            (&found.organizational_units, &wanted.organizational_units),
            (&found.localities, &wanted.localities),
            (&found.provinces, &wanted.provinces),
            (&found.street_addresses, &wanted.street_addresses),
            (&found.postal_codes, &wanted.postal_codes),
        ];
        found.serial_number == wanted.serial_number
            && lists.iter().all(|(found, wanted)| set(found) == set(wanted))
    }
}

/// A number that begins with a set bit has a zero byte before it, which is its sign.
fn unsigned(number: &[u8]) -> &[u8] {
    match number {
        [0, rest @ ..] if !rest.is_empty() => rest,
        number => number,
    }
}

fn set<T: Ord>(values: &[T]) -> BTreeSet<&T> {
    values.iter().collect()
}

/// X.509 has a last second (9999-12-31T23:59:59Z, "never expires") that jiff has not.
fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
}

/// The algorithm and size of a public key, a DER SubjectPublicKeyInfo; `None` for one that we do
/// not know.
pub fn key_algorithm(spki: &[u8]) -> Option<KeyAlgorithm> {
    let [algorithm, key] = exactly(spki)?;
    let algorithm = contents(algorithm)?;
    let known = [
        (alg_id::ECDSA_P256, KeyAlgorithm::EcdsaP256),
        (alg_id::ECDSA_P384, KeyAlgorithm::EcdsaP384),
        (alg_id::ECDSA_P521, KeyAlgorithm::EcdsaP521),
        (alg_id::ED25519, KeyAlgorithm::Ed25519),
    ];
    if *algorithm == *alg_id::RSA_ENCRYPTION {
        // The modulus is the first of the two numbers.
        let [modulus, _] = exactly(whole_bytes(key)?)?;
        return rsa_bits(modulus).map(|bits| KeyAlgorithm::Rsa { bits });
    }
    known.into_iter().find(|(id, _)| **id == *algorithm).map(|(_, algorithm)| algorithm)
}

/// The length of a modulus, an INTEGER.
pub(crate) fn rsa_bits(modulus: &[u8]) -> Option<u32> {
    let modulus = contents(modulus)?;
    let first = modulus.iter().position(|byte| *byte != 0)?;
    let bits = (modulus.len() - first) * 8 - modulus.get(first)?.leading_zeros() as usize;
    u32::try_from(bits).ok()
}
