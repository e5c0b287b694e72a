//! Signature algorithms by the names that cert-manager gave them, and what they can sign with.

use std::fmt;

use rustls_pki_types::{AlgorithmIdentifier, alg_id};

use super::der;
use super::key::KeyAlgorithm;

/// How something is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each name is the algorithm's own")]
pub enum SignatureAlgorithm {
    Sha256WithRsa,
    Sha384WithRsa,
    Sha512WithRsa,
    EcdsaWithSha256,
    EcdsaWithSha384,
    EcdsaWithSha512,
    PureEd25519,
}

use SignatureAlgorithm as Algorithm;

const ALL: [(Algorithm, &str, AlgorithmIdentifier); 7] = [
    (Algorithm::Sha256WithRsa, "SHA256WithRSA", alg_id::RSA_PKCS1_SHA256),
    (Algorithm::Sha384WithRsa, "SHA384WithRSA", alg_id::RSA_PKCS1_SHA384),
    (Algorithm::Sha512WithRsa, "SHA512WithRSA", alg_id::RSA_PKCS1_SHA512),
    (Algorithm::EcdsaWithSha256, "ECDSAWithSHA256", alg_id::ECDSA_SHA256),
    (Algorithm::EcdsaWithSha384, "ECDSAWithSHA384", alg_id::ECDSA_SHA384),
    (Algorithm::EcdsaWithSha512, "ECDSAWithSHA512", alg_id::ECDSA_SHA512),
    (Algorithm::PureEd25519, "PureEd25519", alg_id::ED25519),
];

/// A signature algorithm that does not go with a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key {key} cannot sign with {algorithm}, only with {possible}")]
pub struct UnfitSignature {
    /// The algorithm asked for.
    pub algorithm: SignatureAlgorithm,
    /// The key.
    pub key: KeyAlgorithm,
    /// What is possible, with commas.
    pub possible: String,
}

impl SignatureAlgorithm {
    /// What a key signs with unless asked otherwise: SHA-256 for RSA and P-256, and the hash that
    /// is as long as the key for the larger curves.
    pub fn natural(key: KeyAlgorithm) -> Self {
        Self::possible(key)[0]
    }

    /// What a key can sign with, the natural one first. The library signs with the hash that is as
    /// long as the key for P-256 and P-384, and offers no other.
    pub fn possible(key: KeyAlgorithm) -> &'static [Self] {
        match key {
            KeyAlgorithm::Rsa { .. } => {
                &[Self::Sha256WithRsa, Self::Sha384WithRsa, Self::Sha512WithRsa]
            }
            KeyAlgorithm::EcdsaP256 => &[Self::EcdsaWithSha256],
            KeyAlgorithm::EcdsaP384 => &[Self::EcdsaWithSha384],
            KeyAlgorithm::EcdsaP521 => {
                &[Self::EcdsaWithSha512, Self::EcdsaWithSha384, Self::EcdsaWithSha256]
            }
            KeyAlgorithm::Ed25519 => &[Self::PureEd25519],
        }
    }

    /// Whether a key can sign with it.
    pub fn fits(self, key: KeyAlgorithm) -> Result<(), UnfitSignature> {
        let possible = Self::possible(key);
        if possible.contains(&self) {
            return Ok(());
        }
        let names: Vec<_> = possible.iter().map(|algorithm| algorithm.name()).collect();
        Err(UnfitSignature { algorithm: self, key, possible: names.join(", ") })
    }

    /// The name in a manifest.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// The DER AlgorithmIdentifier.
    pub(crate) fn identifier(self) -> Vec<u8> {
        der::sequence(&[&self.entry().2])
    }

    fn entry(self) -> &'static (Self, &'static str, AlgorithmIdentifier) {
        // Every variant stands in the table (a test holds it), so the first is never the answer
        // for another.
        ALL.iter().find(|(algorithm, ..)| *algorithm == self).unwrap_or(&ALL[0])
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_has_its_own_name() {
        for (algorithm, name, _) in ALL {
            assert_eq!(algorithm.to_string(), name);
        }
    }
}
