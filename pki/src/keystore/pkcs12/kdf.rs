//! Keys from passwords as PKCS#12 has it (RFC 7292, appendix B), which nothing else uses.

use std::num::NonZeroU32;

use aws_lc_rs::digest::{self, Algorithm, Digest, SHA1_FOR_LEGACY_USE_ONLY};
use zeroize::Zeroizing;

use crate::keystore::Password;

/// Both hashes take their input in blocks of so many bytes.
const BLOCK: usize = 64;

/// What a key is for: another key for each.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

#[derive(Clone, Copy)]
pub(super) enum Hash {
    Sha1,
    Sha256,
}

impl Hash {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        }
    }
}

/// `length` bytes for this purpose.
pub(super) fn derive(
    hash: Hash,
    purpose: Purpose,
    password: &Password,
    salt: &[u8],
    iterations: NonZeroU32,
    length: usize,
) -> Zeroizing<Vec<u8>> {
    let start = [purpose as u8; BLOCK];
    let mut input = Zeroizing::new([&filled(salt)[..], &filled(&password.bmp_string())].concat());
    let mut derived = Zeroizing::new(Vec::with_capacity(length));
    while derived.len() < length {
        let hashed = hashed(hash, &start, &input, iterations);
        let wanted = length - derived.len();
        derived.extend(hashed.as_ref().iter().take(wanted));
        input.chunks_mut(BLOCK).for_each(|block| add_and_one(block, hashed.as_ref()));
    }
    derived
}

/// The bytes, again and again, until the last block is full.
fn filled(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = bytes.len().next_multiple_of(BLOCK);
    Zeroizing::new(bytes.iter().copied().cycle().take(length).collect())
}

fn hashed(hash: Hash, start: &[u8], input: &[u8], iterations: NonZeroU32) -> Digest {
    let mut context = digest::Context::new(hash.algorithm());
    context.update(start);
    context.update(input);
    let first = context.finish();
    (1..iterations.get()).fold(first, |last, _| digest::digest(hash.algorithm(), last.as_ref()))
}

/// Adds the hash, repeated until it fills the block, and one; the first byte is the highest, and
/// what does not fit is dropped.
fn add_and_one(block: &mut [u8], hash: &[u8]) {
    let mut carry = 1;
    for (at, byte) in block.iter_mut().enumerate().rev() {
        let sum = u16::from(*byte) + u16::from(hash[at % hash.len()]) + carry;
        let [high, low] = sum.to_be_bytes();
        *byte = low;
        carry = u16::from(high);
    }
}
