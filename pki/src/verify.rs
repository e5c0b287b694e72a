//! Whether a signature holds, by the algorithms that rustls accepts and no others.

use rustls::crypto::aws_lc_rs;

use super::der::{exactly, inside_sequence, whole_bytes};

/// True if `signature` over `message` was made with the key of `spki` and the algorithm of
/// `algorithm` (both DER). SHA-1 and RSA under 2048 bits count as no signature at all.
pub(crate) fn signature_holds(
    spki: &[u8],
    algorithm: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Some([key_algorithm, key]) = exactly(spki) else { return false };
    let (Some(key_id), Some(signature_id), Some(key)) =
        (inside_sequence(key_algorithm), inside_sequence(algorithm), whole_bytes(key))
    else {
        return false;
    };
    let known = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    known
        .iter()
        .filter(|known| *known.public_key_alg_id() == *key_id)
        .filter(|known| *known.signature_alg_id() == *signature_id)
        .any(|known| known.verify_signature(key, message, signature).is_ok())
}

/// True if the outer signature of `signed` (a certificate or a request) was made with the key of
/// `spki`.
pub(crate) fn signed_by(signed: &[u8], spki: &[u8]) -> bool {
    let Some([message, algorithm, signature]) = exactly(signed) else { return false };
    let Some(signature) = whole_bytes(signature) else { return false };
    signature_holds(spki, algorithm, message, signature)
}
