//! What we write, Java and openssl read; what they would refuse, we refuse to write.

mod current;
mod java;
mod openssl;
mod refused;

use rustls_pki_types::CertificateDer;

use super::{KeyEntry, Password, Profile};
use crate::redacted::Redacted;
use crate::tests::{authority, authority_template, ecdsa, leaf_template, root, signed};
use crate::{KeyAlgorithm, PrivateKey, certificates_from_pem, generate_key};

const PROFILES: [Profile; 4] =
    [Profile::LegacyRc2, Profile::LegacyDes, Profile::Modern2023, Profile::Modern2026];

/// One of each kind of key: what reads one curve reads the others.
const KINDS: [KeyAlgorithm; 3] =
    [KeyAlgorithm::Rsa { bits: 2048 }, KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519];

/// A key with a certificate from an intermediate authority below a root.
struct Issued {
    key: PrivateKey,
    chain: Vec<CertificateDer<'static>>,
    authorities: Vec<CertificateDer<'static>>,
}

impl Issued {
    fn new(algorithm: KeyAlgorithm) -> Self {
        let (root_key, middle_key, key) = (ecdsa(), ecdsa(), generate_key(algorithm));
        let key = key.expect("a key");
        let root = root(&authority_template("root"), &root_key);
        let above = authority(&root, &root_key);
        let middle = signed(&authority_template("middle"), &middle_key, &above);
        let above = authority(&format!("{middle}{root}"), &middle_key);
        let leaf = signed(&leaf_template("web"), &key, &above);
        Self {
            key,
            chain: certificates(&format!("{leaf}{middle}")),
            authorities: certificates(&root),
        }
    }

    fn entry(&self) -> KeyEntry<'_> {
        KeyEntry { key: &self.key, chain: &self.chain, authorities: &self.authorities }
    }
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    certificates_from_pem(pem.as_bytes()).expect("certificates")
}

/// Two roots of the same name, as when one takes over from the other.
fn two_roots() -> Vec<CertificateDer<'static>> {
    let template = authority_template("root");
    certificates(&[root(&template, &ecdsa()), root(&template, &ecdsa())].concat())
}

fn password(text: &str) -> Password {
    Password::new(Redacted::new(text.to_owned())).expect("a password")
}

fn changeit() -> Password {
    password("changeit")
}

fn now() -> jiff::Timestamp {
    "2026-01-02T03:04:05Z".parse().expect("a time")
}
