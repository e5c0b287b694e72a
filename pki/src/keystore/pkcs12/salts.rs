//! The random bytes of a file, and where they stand in it.

use super::Profile;
use crate::der;
use crate::keystore::random;
use crate::template::NoRandomness;

/// What makes each file differ from the last. With AES an IV stands behind a salt.
pub(super) struct Salts {
    pub(super) certificates: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) mac: Vec<u8>,
}

/// Which child, of which child, of the file.
type Path = &'static [usize];

/// The parameters with which the certificates are encrypted: safes, first safe, EncryptedData.
const FOR_CERTIFICATES: Path = &[1, 1, 0, 0, 0, 1, 0, 1, 1, 1];
/// Those of the key: safes, second safe, its first bag.
const FOR_KEY: Path = &[1, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 1];

impl Salts {
    pub(super) fn random(profile: Profile) -> Result<Self, NoRandomness> {
        Ok(Self {
            certificates: random(profile.for_certificates().salt_length())?,
            key: random(profile.for_key().salt_length())?,
            mac: random(profile.mac().salt_length())?,
        })
    }

    /// Those of a key store, if it has the form of one of this profile.
    pub(super) fn of_keystore(profile: Profile, file: &[u8]) -> Option<Self> {
        let key = salt(file, FOR_KEY, profile.for_key().salt_paths())?;
        Some(Self { key, ..Self::of_truststore(profile, file)? })
    }

    /// Those of a trust store, which has no key.
    pub(super) fn of_truststore(profile: Profile, file: &[u8]) -> Option<Self> {
        let encryption = profile.for_certificates();
        Some(Self {
            certificates: salt(file, FOR_CERTIFICATES, encryption.salt_paths())?,
            key: Vec::new(),
            mac: salt(file, &[], &[profile.mac().salt_path()])?,
        })
    }
}

/// The bytes below `start` that make up one salt. A salt of another length gives another file.
fn salt(file: &[u8], start: Path, parts: &[Path]) -> Option<Vec<u8>> {
    let start = descend(file, start)?;
    let found: Option<Vec<_>> =
        parts.iter().map(|path| der::contents(descend(start, path)?)).collect();
    found.map(|parts| parts.concat())
}

/// An OCTET STRING may have children too: PKCS#12 wraps one thing into the other.
pub(super) fn descend<'a>(value: &'a [u8], path: &[usize]) -> Option<&'a [u8]> {
    path.iter()
        .try_fold(value, |value, index| der::values(der::contents(value)?)?.get(*index).copied())
}
