//! Keys and certificates: made, read, compared, signed. No kube, no async and no clock here: `now`
//! is an argument, and all is pure but for key generation, random serial numbers and salts.
//!
//! ```text
//! key          generate_key(KeyAlgorithm) -> PrivateKey (blocks), PrivateKey::{from_pem, to_pem}
//! signature    SignatureAlgorithm: its name, and which key can sign with it
//! template     Request and Subject (what is asked), Template (what is signed), clamp_lifetime
//! literal      LiteralSubject::parse: a subject in the notation of RFC 4514
//! constraints  NameConstraints of an authority, written and read; IpRange is in ip_range
//! csr          make_csr(&Request, &PrivateKey) -> PEM, parse_csr(PEM) -> ParsedCsr
//! sign         self_sign(&Template, &PrivateKey), sign(&Template, spki, &Authority) -> DER
//! chain        Authority::from_pems(tls.crt, tls.key, ca.crt): may it sign, until when, its chain
//! path         the best way from a certificate up to a root, among several forms of each
//! permits      Authority::permits(&Request): whether its name constraints allow every name
//! leaf         CertificateFacts: what a certificate says, and how that differs from a Request
//! pem          certificates_from_pem, certificates_to_pem
//! redacted     PrivateKeyPem, which cannot be printed
//! keystore     key stores of Java and PKCS#12: written, and compared with what they should be
//! ```
//!
//! rcgen writes the certificates, x509-parser reads them, aws-lc signs, and rustls' algorithms
//! verify. What is refused: keys that TLS would refuse, signatures with SHA-1, requests that are not
//! signed with their own key or ask for what cannot be granted, names that an authority of the path
//! forbids, texts over 1 MiB, and PEM in which a section would be passed over. Nothing here panics on
//! any input.

mod algorithm;
mod attributes;
pub mod chain;
mod compose;
pub mod constraints;
pub mod csr;
mod der;
mod digest;
mod domain;
mod extensions;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod ip_range;
pub mod key;
pub mod keystore;
pub mod leaf;
pub mod literal;
mod name;
mod oid;
pub mod path;
pub mod pem;
pub mod permits;
pub mod redacted;
pub mod sign;
pub mod signature;
pub mod template;
mod temporary;
pub mod usage;
mod verify;

#[cfg(test)]
mod tests;

pub use chain::{Authority, AuthorityError, fingerprint_of};
pub use compose::ComposeError;
pub use constraints::{NameConstraints, NameForm, NameSet};
pub use csr::{CsrError, CsrOptions, ParsedCsr, make_csr, make_csr_with, parse_csr, parse_csr_der};
pub use digest::sha256_hex;
pub use extensions::DamagedExtension;
pub use ip_range::{IpRange, NoIpRange};
pub use key::{
    KeyAlgorithm, KeyEncoding, KeyError, PrivateKey, generate_key, private_key_der,
    private_key_for_tls,
};
pub use leaf::{CertificateError, CertificateFacts, key_algorithm};
pub use literal::{LiteralSubject, LiteralSubjectError};
pub use name::NameParts;
pub use pem::{PemError, PemProblem, certificates_from_pem, certificates_to_pem};
pub use permits::{NameForbidden, NameRule};
pub use redacted::{PrivateKeyPem, Redacted};
pub use rustls_pki_types::CertificateDer;
pub use sign::{SignError, self_sign, sign};
pub use signature::{SignatureAlgorithm, UnfitSignature};
pub use template::{
    BACKDATE, BACKDATED_PART, NoRandomness, OtherName, Pointers, Request, Serial, Subject,
    Template, Validity, clamp_lifetime,
};
pub use temporary::throw_away_authority;
pub use usage::{UnknownUsage, Usage};
