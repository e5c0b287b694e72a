//! Private keys: made, read, written, used; never printed.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use rcgen::{PublicKeyData, SigningKey};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::SectionKind;
use zeroize::Zeroizing;

use super::pem::{self, PemError};
use super::redacted::{PrivateKeyPem, Redacted};
use super::signature::SignatureAlgorithm;
use super::{algorithm, der};

/// The algorithm of a key, with its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// RSA with a modulus of so many bits.
    Rsa {
        /// 2048, 3072, 4096 or 8192 where we make the key.
        bits: u32,
    },
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// ECDSA on P-521.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
}

/// How a private key is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyEncoding {
    /// PKCS#1 for RSA, SEC 1 for ECDSA; Ed25519 has neither and is written as PKCS#8.
    #[default]
    Pkcs1,
    /// PKCS#8.
    Pkcs8,
}

/// What went wrong with a private key. No variant holds any of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is no PEM of a private key.
    #[error("the private key cannot be read")]
    Pem(#[from] PemError),
    /// It is PEM, and no key of a kind that we know.
    #[error(
        "the private key is damaged, or neither RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) nor Ed25519"
    )]
    Unsupported,
    /// It is a key of a kind that TLS does not take, or that is not read.
    #[error(
        "it is {found}: RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) and Ed25519 are accepted"
    )]
    UnsupportedKind {
        /// The kind.
        found: String,
    },
    /// The library makes RSA keys of some sizes only.
    #[error("an RSA key of {bits} bits cannot be made: choose 2048, 3072, 4096 or 8192")]
    UnsupportedSize {
        /// The size asked for.
        bits: u32,
    },
    /// The library made no key.
    #[error("no {algorithm} key could be made")]
    Generating {
        /// The algorithm asked for.
        algorithm: KeyAlgorithm,
    },
    /// The library wrote no key.
    #[error("the {algorithm} key could not be written")]
    Encoding {
        /// The algorithm of the key.
        algorithm: KeyAlgorithm,
    },
    /// The library made no signature.
    #[error("the signature could not be made")]
    Signing,
}

/// A private key. `Debug` shows the algorithm only; the library wipes its memory.
pub struct PrivateKey {
    pair: Pair,
    algorithm: KeyAlgorithm,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

const CURVES: [(KeyAlgorithm, &EcdsaSigningAlgorithm); 3] = [
    (KeyAlgorithm::EcdsaP256, &signature::ECDSA_P256_SHA256_ASN1_SIGNING),
    (KeyAlgorithm::EcdsaP384, &signature::ECDSA_P384_SHA384_ASN1_SIGNING),
    (KeyAlgorithm::EcdsaP521, &signature::ECDSA_P521_SHA512_ASN1_SIGNING),
];

/// Makes a key. It blocks: a large RSA key takes seconds.
pub fn generate_key(algorithm: KeyAlgorithm) -> Result<PrivateKey, KeyError> {
    let generating = |_| KeyError::Generating { algorithm };
    let ecdsa = |curve| EcdsaKeyPair::generate(curve).map(Box::new).map(Pair::Ecdsa);
    let pair = match algorithm {
        KeyAlgorithm::Rsa { bits } => {
            RsaKeyPair::generate(rsa_size(bits)?).map(Box::new).map(Pair::Rsa)
        }
        KeyAlgorithm::EcdsaP256 => ecdsa(CURVES[0].1),
        KeyAlgorithm::EcdsaP384 => ecdsa(CURVES[1].1),
        KeyAlgorithm::EcdsaP521 => ecdsa(CURVES[2].1),
        KeyAlgorithm::Ed25519 => Ed25519KeyPair::generate().map(Box::new).map(Pair::Ed25519),
    };
    Ok(PrivateKey { pair: pair.map_err(generating)?, algorithm })
}

fn rsa_size(bits: u32) -> Result<KeySize, KeyError> {
    match bits {
        2048 => Ok(KeySize::Rsa2048),
        3072 => Ok(KeySize::Rsa3072),
        4096 => Ok(KeySize::Rsa4096),
        8192 => Ok(KeySize::Rsa8192),
        bits => Err(KeyError::UnsupportedSize { bits }),
    }
}

impl PrivateKey {
    /// Reads the first private key in a PEM text: PKCS#8, PKCS#1 (RSA) or SEC 1 (ECDSA).
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let (kind, der) = first_section(text)?;
        let key = match kind {
            SectionKind::RsaPrivateKey => RsaKeyPair::from_der(&der).ok().map(Self::rsa),
            SectionKind::EcPrivateKey => Self::ecdsa(&der),
            _ => Self::from_pkcs8(&der),
        };
        key.filter(Self::is_strong).ok_or_else(|| match algorithm::unaccepted_private_key(&der) {
            Some(found) => KeyError::UnsupportedKind { found },
            None => KeyError::Unsupported,
        })
    }

    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let ed25519 =
            |pair| Self { pair: Pair::Ed25519(Box::new(pair)), algorithm: KeyAlgorithm::Ed25519 };
        let rsa = RsaKeyPair::from_pkcs8(der).ok().map(Self::rsa);
        rsa.or_else(|| Self::ecdsa(der))
            .or_else(|| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(ed25519))
    }

    fn rsa(pair: RsaKeyPair) -> Self {
        let bits = u32::try_from(pair.public_modulus_len() * 8).unwrap_or(u32::MAX);
        Self { pair: Pair::Rsa(Box::new(pair)), algorithm: KeyAlgorithm::Rsa { bits } }
    }

    /// PKCS#8 or SEC 1, on the curve that fits.
    fn ecdsa(der: &[u8]) -> Option<Self> {
        CURVES.into_iter().find_map(|(algorithm, curve)| {
            let pair = EcdsaKeyPair::from_private_key_der(curve, der).ok()?;
            Some(Self { pair: Pair::Ecdsa(Box::new(pair)), algorithm })
        })
    }

    /// No TLS library of today accepts an RSA key of less than 2048 bits.
    fn is_strong(&self) -> bool {
        !matches!(self.algorithm, KeyAlgorithm::Rsa { bits } if !(2048..=8192).contains(&bits))
    }

    /// Writes the key as PEM.
    pub fn to_pem(&self, encoding: KeyEncoding) -> Result<PrivateKeyPem, KeyError> {
        let written = match (encoding, &self.pair) {
            (KeyEncoding::Pkcs1, Pair::Rsa(_)) => {
                self.pkcs1_der().map(|der| pem::section("RSA PRIVATE KEY", der))
            }
            (KeyEncoding::Pkcs1, Pair::Ecdsa(pair)) => {
                let sec1: Option<EcPrivateKeyRfc5915Der<'_>> = pair.private_key().as_der().ok();
                sec1.map(|der| pem::section("EC PRIVATE KEY", der.as_ref().to_vec()))
            }
            _ => self.pkcs8_der().map(|der| pem::section("PRIVATE KEY", der)),
        };
        written.map(Redacted::new).ok_or(KeyError::Encoding { algorithm: self.algorithm })
    }

    /// The key in PKCS#8, for a key store, which encrypts it.
    pub(crate) fn pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let encoding = KeyError::Encoding { algorithm: self.algorithm };
        self.pkcs8_der().map(Zeroizing::new).ok_or(encoding)
    }

    fn pkcs8_der(&self) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Rsa(pair) => pair.as_der().ok().map(|der: Pkcs8V1Der<'_>| der.as_ref().to_vec()),
            Pair::Ecdsa(pair) => pair.to_pkcs8v1().ok().map(owned),
            Pair::Ed25519(pair) => pair.to_pkcs8v1().ok().map(owned),
        }
    }

    /// PKCS#8 is version, algorithm, and the PKCS#1 structure in an OCTET STRING.
    fn pkcs1_der(&self) -> Option<Vec<u8>> {
        let pkcs8 = Zeroizing::new(self.pkcs8_der()?);
        let inner = *der::elements(&pkcs8)?.get(2)?;
        der::contents(inner).map(<[u8]>::to_vec)
    }

    /// The algorithm and size.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The public key, a DER SubjectPublicKeyInfo.
    pub fn public_key_spki(&self) -> Vec<u8> {
        PublicKeyData::subject_public_key_info(self)
    }

    /// Signs. What `algorithm` does not fit is not signed.
    pub(crate) fn signature(
        &self,
        message: &[u8],
        algorithm: SignatureAlgorithm,
    ) -> Result<Vec<u8>, KeyError> {
        algorithm.fits(self.algorithm).map_err(|_| KeyError::Signing)?;
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(rsa_padding(algorithm), &random, message, &mut signature)
                    .map(|()| signature)
                    .map_err(unspecified)
            }
            Pair::Ecdsa(pair) => match other_hash(self.algorithm, algorithm) {
                None => pair.sign(&random, message).map(owned).map_err(unspecified),
                Some(hash) => {
                    let der = Zeroizing::new(self.pkcs8_der().ok_or(KeyError::Signing)?);
                    let pair = EcdsaKeyPair::from_private_key_der(hash, &der);
                    let pair = pair.map_err(|_| KeyError::Signing)?;
                    pair.sign(&random, message).map(owned).map_err(unspecified)
                }
            },
            Pair::Ed25519(pair) => pair.try_sign(message).map(owned).map_err(unspecified),
        }
    }
}

fn rsa_padding(algorithm: SignatureAlgorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        SignatureAlgorithm::Sha384WithRsa => &signature::RSA_PKCS1_SHA384,
        SignatureAlgorithm::Sha512WithRsa => &signature::RSA_PKCS1_SHA512,
        _ => &signature::RSA_PKCS1_SHA256,
    }
}

/// The library ties the hash to the pair: a pair of ours has the natural one for its curve.
fn other_hash(
    key: KeyAlgorithm,
    algorithm: SignatureAlgorithm,
) -> Option<&'static EcdsaSigningAlgorithm> {
    match (key, algorithm) {
        (KeyAlgorithm::EcdsaP521, SignatureAlgorithm::EcdsaWithSha256) => {
            Some(&signature::ECDSA_P521_SHA256_ASN1_SIGNING)
        }
        (KeyAlgorithm::EcdsaP521, SignatureAlgorithm::EcdsaWithSha384) => {
            Some(&signature::ECDSA_P521_SHA384_ASN1_SIGNING)
        }
        _ => None,
    }
}

/// The library says no more than that it did not work.
fn unspecified(_: aws_lc_rs::error::Unspecified) -> KeyError {
    KeyError::Signing
}

fn owned(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    bytes.as_ref().to_vec()
}

/// The first private key in a PEM text in DER, in the form in which it stands there.
pub fn private_key_der(text: &[u8]) -> Result<Redacted<Vec<u8>>, KeyError> {
    first_section(text).map(|(_, der)| Redacted::new(der.to_vec()))
}

/// The same, for TLS.
pub fn private_key_for_tls(text: &[u8]) -> Result<PrivateKeyDer<'static>, KeyError> {
    let (kind, der) = first_section(text)?;
    let der = der.to_vec();
    Ok(match kind {
        SectionKind::RsaPrivateKey => PrivateKeyDer::Pkcs1(der.into()),
        SectionKind::EcPrivateKey => PrivateKeyDer::Sec1(der.into()),
        _ => PrivateKeyDer::Pkcs8(der.into()),
    })
}

fn first_section(text: &[u8]) -> Result<(SectionKind, Zeroizing<Vec<u8>>), KeyError> {
    const LIMIT: usize = 16;
    let found = pem::sections(text, pem::Kind::PrivateKey, LIMIT)?;
    let mut found = found.into_iter().map(|(kind, der)| (kind, Zeroizing::new(der)));
    found.next().ok_or(KeyError::Unsupported)
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "<redacted {} key>", self.algorithm)
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(formatter, "RSA {bits}"),
            Self::EcdsaP256 => formatter.write_str("ECDSA 256"),
            Self::EcdsaP384 => formatter.write_str("ECDSA 384"),
            Self::EcdsaP521 => formatter.write_str("ECDSA 521"),
            Self::Ed25519 => formatter.write_str("Ed25519"),
        }
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref(),
            Pair::Ecdsa(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.algorithm {
            KeyAlgorithm::Rsa { .. } => &rcgen::PKCS_RSA_SHA256,
            KeyAlgorithm::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::EcdsaP521 => &rcgen::PKCS_ECDSA_P521_SHA512,
            KeyAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
        }
    }
}

/// A key that leaves the signature empty: what rcgen writes is signed by `der::resigned`, once
/// our names are in it.
pub(crate) struct Unsigned<'a>(pub(crate) &'a PrivateKey);

impl PublicKeyData for Unsigned<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        PublicKeyData::algorithm(self.0)
    }
}

impl SigningKey for Unsigned<'_> {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}
