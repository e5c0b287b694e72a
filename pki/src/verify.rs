//! Whether a signature holds, by the algorithms that rustls accepts and no others.

use rustls::crypto::aws_lc_rs;

use super::algorithm;
use super::der::{exactly, inside_sequence, whole_bytes};

/// What became of checking a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The key made it.
    Holds,
    /// The key did not make it.
    Fails,
    /// It cannot be checked: this algorithm, or this key, is not accepted. It is neither a
    /// signature of the key nor proof that the key did not sign.
    Unchecked(String),
}

/// Judges the outer signature of `signed` (a certificate or a request) by the key of `spki`.
pub(crate) fn judge(signed: &[u8], spki: &[u8]) -> Verdict {
    let Some([message, algorithm, signature]) = exactly(signed) else { return Verdict::Fails };
    let (Some(signature), Some([key_algorithm, key])) = (whole_bytes(signature), exactly(spki))
    else {
        return Verdict::Fails;
    };
    let (Some(key_id), Some(signature_id), Some(key)) =
        (inside_sequence(key_algorithm), inside_sequence(algorithm), whole_bytes(key))
    else {
        return Verdict::Fails;
    };
    let known = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    if !known.iter().any(|known| *known.signature_alg_id() == *signature_id) {
        return Verdict::Unchecked(algorithm::signature(algorithm));
    }
    if let Some(key) = algorithm::unaccepted_key(spki) {
        return Verdict::Unchecked(key);
    }
    let mut fitting = known
        .iter()
        .filter(|known| *known.public_key_alg_id() == *key_id)
        .filter(|known| *known.signature_alg_id() == *signature_id)
        .peekable();
    if fitting.peek().is_none() && algorithm::are_elliptic(algorithm, spki) {
        return Verdict::Unchecked(algorithm::signature(algorithm));
    }
    match fitting.any(|known| known.verify_signature(key, message, signature).is_ok()) {
        true => Verdict::Holds,
        false => Verdict::Fails,
    }
}
