//! Keys and certificates: made, read, compared, signed. No kube, no async and no clock here: `now`
//! is an argument, and all is pure but for key generation, random serial numbers and salts.
//!
//! ```text
//! key        generate_key(KeyAlgorithm) -> PrivateKey (blocks), PrivateKey::{from_pem, to_pem}
//! template   Request and Subject (what is asked), Template (what is signed), clamp_lifetime
//! csr        make_csr(&Request, &PrivateKey) -> PEM, parse_csr(PEM) -> ParsedCsr
//! sign       self_sign(&Template, &PrivateKey), sign(&Template, spki, &Authority) -> DER
//! chain      Authority::from_pems(tls.crt, tls.key, ca.crt): may it sign, until when, its chain
//! leaf       CertificateFacts: what a certificate says, and how that differs from a Request
//! pem        certificates_from_pem, certificates_to_pem
//! redacted   PrivateKeyPem, which cannot be printed
//! keystore   key stores of Java and PKCS#12: written, and compared with what they should be
//! ```
//!
//! rcgen writes the certificates, x509-parser reads them, aws-lc signs, and rustls' algorithms
//! verify. What is refused: keys that TLS would refuse, signatures with SHA-1, requests that
//! are not signed with their own key, texts over 1 MiB. Nothing here panics on any input.

pub mod chain;
mod compose;
pub mod csr;
mod der;
mod digest;
mod extensions;
pub mod key;
pub mod keystore;
pub mod leaf;
mod name;
pub mod pem;
pub mod redacted;
pub mod sign;
pub mod template;
mod temporary;
pub mod usage;
mod verify;

#[cfg(test)]
mod tests;

pub use chain::{Authority, AuthorityError};
pub use compose::ComposeError;
pub use csr::{CsrError, ParsedCsr, make_csr, parse_csr, parse_csr_der};
pub use digest::sha256_hex;
pub use extensions::DamagedExtension;
pub use key::{KeyAlgorithm, KeyEncoding, KeyError, PrivateKey, generate_key, private_key_der};
pub use leaf::{CertificateError, CertificateFacts};
pub use pem::{PemError, certificates_from_pem, certificates_to_pem};
pub use redacted::{PrivateKeyPem, Redacted};
pub use rustls_pki_types::CertificateDer;
pub use sign::{SignError, self_sign, sign};
pub use template::{
    BACKDATE, NoRandomness, Pointers, Request, Serial, Subject, Template, Validity, clamp_lifetime,
};
pub use temporary::throw_away_authority;
pub use usage::{UnknownUsage, Usage};
