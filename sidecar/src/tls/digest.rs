//! What a memory is asked by: everything that an answer rests on, as one digest.

use aws_lc_rs::digest::{Context, SHA256, digest};

/// SHA-256.
pub(super) type Key = [u8; 32];

/// The parts, and where each one ends.
pub(super) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Key {
    let mut digest = Context::new(&SHA256);
    for part in parts {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let mut key = [0; 32];
    key.copy_from_slice(digest.finish().as_ref());
    key
}

/// How a public key is named: the SHA-256 of its SubjectPublicKeyInfo, in lower-case hexadecimal.
pub(super) fn spki_digest(spki: &[u8]) -> String {
    digest(&SHA256, spki).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
