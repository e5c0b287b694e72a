//! Names of algorithms that are not accepted, for errors that say which one it was.

use super::der::{contents, elements, exactly};
use super::key::KeyAlgorithm;
use super::leaf::{key_algorithm, rsa_bits};
use super::oid;

const RSA: &str = "1.2.840.113549.1.1.1";
const ELLIPTIC: &str = "1.2.840.10045.2.1";

const KEYS: [(&str, &str); 8] = [
    ("1.2.840.113549.1.1.10", "an RSA-PSS key"),
    ("1.2.840.113549.1.1.7", "an RSA-OAEP key"),
    ("1.2.840.10040.4.1", "a DSA key"),
    ("1.2.840.113549.1.3.1", "a Diffie-Hellman key"),
    ("1.3.101.110", "an X25519 key"),
    ("1.3.101.111", "an X448 key"),
    ("1.3.101.112", "a damaged Ed25519 key"),
    ("1.3.101.113", "an Ed448 key"),
];

const CURVES: [(&str, &str); 7] = [
    ("1.3.132.0.10", "secp256k1"),
    ("1.3.132.0.33", "P-224"),
    ("1.2.840.10045.3.1.1", "P-192"),
    ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1"),
    ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1"),
    ("1.3.36.3.3.2.8.1.1.13", "brainpoolP512r1"),
    ("1.2.156.10197.1.301", "SM2"),
];

/// Curves whose keys are accepted: where such a key cannot be read, it is damaged.
const ACCEPTED_CURVES: [&str; 3] = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];

const SIGNATURES: [(&str, &str); 12] = [
    ("1.2.840.113549.1.1.2", "MD2 with RSA"),
    ("1.2.840.113549.1.1.4", "MD5 with RSA"),
    ("1.2.840.113549.1.1.5", "SHA-1 with RSA"),
    ("1.3.14.3.2.29", "SHA-1 with RSA"),
    ("1.2.840.113549.1.1.10", "RSA-PSS with parameters other than those of TLS 1.3"),
    ("1.2.840.113549.1.1.14", "SHA-224 with RSA"),
    ("1.2.840.10045.4.1", "ECDSA with SHA-1"),
    ("1.2.840.10045.4.3.1", "ECDSA with SHA-224"),
    ("1.2.840.10045.4.3.4", "ECDSA with SHA-512 on this curve"),
    ("1.2.840.10040.4.3", "DSA with SHA-1"),
    ("2.16.840.1.101.3.4.3.2", "DSA with SHA-256"),
    ("1.3.101.113", "Ed448"),
];

/// What a public key (a DER SubjectPublicKeyInfo) is, where it is of no kind that is accepted.
pub(crate) fn unaccepted_key(spki: &[u8]) -> Option<String> {
    match key_algorithm(spki) {
        Some(KeyAlgorithm::Rsa { bits }) => unaccepted_rsa(bits),
        Some(_) => None,
        None => {
            let named = exactly(spki).and_then(|[algorithm, _]| of_key(algorithm));
            Some(named.unwrap_or_else(|| "a damaged key".to_owned()))
        }
    }
}

/// The same of a private key in PKCS#8, PKCS#1 or SEC 1; none where it is merely damaged.
pub(crate) fn unaccepted_private_key(der: &[u8]) -> Option<String> {
    const SEQUENCE: u8 = 0x30;
    const OCTETS: u8 = 0x04;
    const INTEGER: u8 = 0x02;
    let parts = elements(der)?;
    let second = *parts.get(1)?;
    match *second.first()? {
        SEQUENCE => match oid_of(second)?.as_str() {
            RSA => elements(contents(parts.get(2)?)?)?
                .get(1)
                .and_then(|modulus| rsa_bits(modulus))
                .and_then(unaccepted_rsa),
            _ => of_key(second),
        },
        INTEGER => rsa_bits(second).and_then(unaccepted_rsa),
        OCTETS => of_curve(contents(parts.get(2)?)?),
        _ => None,
    }
}

fn unaccepted_rsa(bits: u32) -> Option<String> {
    (!(2048..=8192).contains(&bits)).then(|| format!("an RSA key of {bits} bits"))
}

/// From an AlgorithmIdentifier of a key.
fn of_key(algorithm: &[u8]) -> Option<String> {
    let oid = oid_of(algorithm)?;
    if oid == ELLIPTIC {
        return of_curve(elements(algorithm)?.get(1)?);
    }
    let known = KEYS.iter().find(|(known, _)| *known == oid);
    Some(known.map_or_else(|| format!("a key of algorithm {oid}"), |(_, name)| (*name).to_owned()))
}

fn of_curve(parameters: &[u8]) -> Option<String> {
    const OID: u8 = 0x06;
    if *parameters.first()? != OID {
        return Some("an ECDSA key with curve parameters of its own".to_owned());
    }
    let oid = oid::text(contents(parameters)?)?;
    if ACCEPTED_CURVES.contains(&oid.as_str()) {
        return None;
    }
    let known = CURVES.iter().find(|(known, _)| *known == oid);
    Some(format!("an ECDSA key on curve {}", known.map_or(oid.as_str(), |(_, name)| name)))
}

/// The name of a signature algorithm (a DER AlgorithmIdentifier).
pub(crate) fn signature(algorithm: &[u8]) -> String {
    let Some(oid) = oid_of(algorithm) else { return "a damaged signature algorithm".to_owned() };
    let known = SIGNATURES.iter().find(|(known, _)| *known == oid);
    known.map_or_else(|| format!("signature algorithm {oid}"), |(_, name)| (*name).to_owned())
}

/// Whether a signature algorithm and a key are both of elliptic curves.
pub(crate) fn are_elliptic(algorithm: &[u8], spki: &[u8]) -> bool {
    let key = exactly(spki).and_then(|[algorithm, _]| oid_of(algorithm));
    let signature = oid_of(algorithm).is_some_and(|oid| oid.starts_with("1.2.840.10045.4."));
    signature && key.as_deref() == Some(ELLIPTIC)
}

fn oid_of(algorithm: &[u8]) -> Option<String> {
    oid::text(contents(elements(algorithm)?.first()?)?)
}
