//! What tells whether a file is whole, and the password right.

use std::num::NonZeroU32;

use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256};
use yasna::DERWriterSeq;

use super::encryption::{ITERATIONS, pbkdf2, write_algorithm, write_hmac_sha256, write_pbkdf2};
use super::kdf::{Hash, Purpose, derive};
use crate::der::written_sequence;
use crate::keystore::Password;

const SHA1: &[u64] = &[1, 3, 14, 3, 2, 26];
const SHA256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];
const PBMAC1: &[u64] = &[1, 2, 840, 113549, 1, 5, 14];

#[derive(Clone, Copy)]
pub(super) enum Mac {
    /// One iteration only, as OpenSSL once did and the most programs can read.
    Sha1,
    Sha256,
    /// RFC 9579: the key by PBKDF2.
    Pbmac1,
}

impl Mac {
    pub(super) fn salt_length(self) -> usize {
        match self {
            Self::Sha1 => 8,
            Self::Sha256 | Self::Pbmac1 => 16,
        }
    }

    /// Where the salt stands, from the file.
    pub(super) fn salt_path(self) -> &'static [usize] {
        match self {
            Self::Sha1 | Self::Sha256 => &[2, 1],
            Self::Pbmac1 => &[2, 0, 0, 1, 0, 1, 0],
        }
    }

    /// MacData over the safes.
    pub(super) fn over(self, safes: &[u8], password: &Password, salt: &[u8]) -> Vec<u8> {
        let digest = self.digest(safes, password, salt);
        written_sequence(|writer| {
            writer.next().write_sequence(|writer| {
                writer.next().write_sequence(|writer| self.write_algorithm(writer, salt));
                writer.next().write_bytes(digest.as_ref());
            });
            self.write_salt(writer, salt);
        })
    }

    fn digest(self, safes: &[u8], password: &Password, salt: &[u8]) -> hmac::Tag {
        let once = NonZeroU32::MIN;
        let (algorithm, key) = match self {
            Self::Sha1 => (
                HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                derive(Hash::Sha1, Purpose::Mac, password, salt, once, 20),
            ),
            Self::Sha256 => {
                (HMAC_SHA256, derive(Hash::Sha256, Purpose::Mac, password, salt, ITERATIONS, 32))
            }
            Self::Pbmac1 => (HMAC_SHA256, pbkdf2(password, salt)),
        };
        hmac::sign(&hmac::Key::new(algorithm, &key), safes)
    }

    fn write_algorithm(self, writer: &mut DERWriterSeq<'_>, salt: &[u8]) {
        match self {
            Self::Sha1 => write_algorithm(writer, SHA1, |writer| writer.write_null()),
            Self::Sha256 => write_algorithm(writer, SHA256, |writer| writer.write_null()),
            Self::Pbmac1 => write_algorithm(writer, PBMAC1, |writer| {
                writer.write_sequence(|writer| {
                    // The RFC wants the length of the key said, so that nobody guesses a short one.
                    writer.next().write_sequence(|writer| write_pbkdf2(writer, salt, true));
                    writer.next().write_sequence(write_hmac_sha256);
                });
            }),
        }
    }

    /// One iteration is what is meant if none are named; PBMAC1 has its own and its own salt.
    fn write_salt(self, writer: &mut DERWriterSeq<'_>, salt: &[u8]) {
        match self {
            Self::Sha1 => writer.next().write_bytes(salt),
            Self::Sha256 => {
                writer.next().write_bytes(salt);
                writer.next().write_u32(ITERATIONS.get());
            }
            Self::Pbmac1 => writer.next().write_bytes(&[]),
        }
    }
}
