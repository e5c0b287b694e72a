//! The password of a key store.

use zeroize::Zeroizing;

use super::KeystoreError;
use crate::redacted::Redacted;

/// What opens a key store: not empty, and never printed. Any letters will do, but Java opens PKCS#12
/// with those of ASCII only.
#[derive(Clone, Debug)]
pub struct Password(Redacted<String>);

impl Password {
    /// Takes a password as it stands in the Secret, to the last byte.
    pub fn new(password: Redacted<String>) -> Result<Self, KeystoreError> {
        const LIMIT: usize = 1024;
        match password.expose().len() {
            0 => Err(KeystoreError::EmptyPassword),
            bytes if bytes > LIMIT => Err(KeystoreError::PasswordTooLong { bytes, limit: LIMIT }),
            _ => Ok(Self(password)),
        }
    }

    /// As PBKDF2 wants it.
    pub(super) fn utf8(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }

    /// As Java has its texts, the first byte the higher one.
    pub(super) fn utf16(&self) -> Zeroizing<Vec<u8>> {
        self.wide(0)
    }

    /// As PKCS#12 wants it: a BMPString with its two zero bytes.
    pub(super) fn bmp_string(&self) -> Zeroizing<Vec<u8>> {
        self.wide(2)
    }

    fn wide(&self, zeros: usize) -> Zeroizing<Vec<u8>> {
        // Never more than two bytes for one of UTF-8: what grows leaves a copy behind.
        let mut wide = Zeroizing::new(Vec::with_capacity(2 * self.0.expose().len() + zeros));
        for unit in self.0.expose().encode_utf16() {
            wide.extend(unit.to_be_bytes());
        }
        wide.extend(std::iter::repeat_n(0, zeros));
        wide
    }
}
