//! What a memory is asked by: everything that an answer rests on, as one digest.

use aws_lc_rs::digest::{Context, SHA256};

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
