//! Key stores for programs that read no PEM: Java's own (JKS) and PKCS#12, each with a private key
//! (`keystore.*`) or with nothing but authorities (`truststore.*`).
//!
//! ```text
//! jks        the format of Java before version 9: SHA-1 and nothing but SHA-1
//! pkcs12     a file by profile; below it encryption, mac and salts
//! password   what opens a key store, in the form that each format wants
//! ```
//!
//! A key store has random salts, hence no two are the same. Whether one is still the right one is
//! told by writing it again with the salts that it has: the same key, certificates, password
//! and profile give the same bytes, and nothing else does. So nothing is ever decrypted, no
//! count of iterations is taken from a file, and what somebody altered is found whatever it was.

mod jks;
mod password;
mod pkcs12;

#[cfg(test)]
mod tests;

use rustls_pki_types::CertificateDer;

pub use jks::{jks, jks_is_current, jks_truststore, jks_truststore_is_current};
pub use password::Password;
pub use pkcs12::{
    Profile, pkcs12, pkcs12_is_current, pkcs12_truststore, pkcs12_truststore_is_current,
};

use super::key::{KeyError, PrivateKey};
use super::leaf::{CertificateError, CertificateFacts};
use super::template::NoRandomness;

/// The alias of the private key in a JKS key store, if nothing else is asked for.
pub const DEFAULT_ALIAS: &str = "certificate";

/// The API server keeps no object larger than about 1.5 MiB, hence no key store is larger.
const MAX_BYTES: usize = 1 << 20;

/// A private key, and what belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct KeyEntry<'a> {
    /// The key.
    pub key: &'a PrivateKey,
    /// Its certificate, then those above it, as in `tls.crt`.
    pub chain: &'a [CertificateDer<'static>],
    /// The authorities of `ca.crt`; empty if they are not known.
    pub authorities: &'a [CertificateDer<'static>],
}

/// Why no key store was written. No variant holds any of the key or the password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// Java opens no key store without a password.
    #[error("the password of the key store is empty: choose one")]
    EmptyPassword,
    /// Longer than any password that somebody chose.
    #[error("the password of the key store has {bytes} bytes: {limit} are allowed")]
    PasswordTooLong {
        /// How many it has.
        bytes: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Java would not find the key under this alias.
    #[error(
        "the alias `{alias}` cannot be used: it needs 1 to 255 bytes, no control character and no emoji"
    )]
    Alias {
        /// What was asked for.
        alias: String,
    },
    /// The key would be lost under the certificate of the same name.
    #[error("the alias `{alias}` is that of an authority in the same key store: choose another")]
    AliasTaken {
        /// What was asked for, in small letters.
        alias: String,
    },
    /// There is nothing to put into it.
    #[error("there is no certificate for the key store")]
    NoCertificate,
    /// The first certificate cannot be read.
    #[error("the certificate for the key store cannot be read")]
    Certificate(#[from] CertificateError),
    /// A key that is not its certificate's is never written.
    #[error("the certificate for the key store is not that of its private key")]
    NotItsKey,
    /// The key could not be written.
    #[error("the private key could not be put into the key store")]
    Key(#[from] KeyError),
    /// The cryptographic library did not do what it was asked for.
    #[error("the private key or the certificates could not be encrypted")]
    Encrypting,
    /// No salts.
    #[error("the key store has no salts")]
    NoRandomness(#[from] NoRandomness),
    /// More than a Secret can hold.
    #[error("the key store has {bytes} bytes, and a Secret cannot hold more than {limit}")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many are allowed.
        limit: usize,
    },
}

impl KeyEntry<'_> {
    /// The certificate of the key.
    fn leaf(&self) -> Result<&CertificateDer<'static>, KeystoreError> {
        let leaf = self.chain.first().ok_or(KeystoreError::NoCertificate)?;
        if CertificateFacts::from_der(leaf.clone())?.matches_key(self.key) {
            Ok(leaf)
        } else {
            Err(KeystoreError::NotItsKey)
        }
    }
}

/// The authorities with the names under which they stand: `ca`, as cert-manager has it, then `ca-2`
/// and so on. Of two with the same name Java would keep one.
fn named<'a>(
    authorities: &'a [CertificateDer<'static>],
) -> impl Iterator<Item = (String, &'a CertificateDer<'static>)> {
    (1..).zip(authorities).map(|(number, authority)| match number {
        1 => ("ca".to_owned(), authority),
        _ => (format!("ca-{number}"), authority),
    })
}

fn of_bearable_size(file: Vec<u8>) -> Result<Vec<u8>, KeystoreError> {
    match file.len() {
        bytes if bytes > MAX_BYTES => Err(KeystoreError::TooLarge { bytes, limit: MAX_BYTES }),
        _ => Ok(file),
    }
}

/// So many random bytes.
fn random(length: usize) -> Result<Vec<u8>, NoRandomness> {
    let mut bytes = vec![0; length];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(bytes)
}
