//! The files of a set, all read from one folder.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use countersign_contract::names::{
    BUNDLE_FILE, CERTIFICATE_FILE, KEY_FILE, REVOCATIONS_FILE, ROOTS_FILE,
};

use super::load::Error;
use crate::file;

/// What is in the files, unread. Nothing prints it: the key is among them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// The chain, PEM; in a bundle the key is before it.
    pub certificate: Vec<u8>,
    /// The key, PEM.
    pub key: Vec<u8>,
    /// The roots, PEM.
    pub roots: Vec<u8>,
    /// Revocation lists, PEM, where there are any.
    pub revocations: Vec<u8>,
    /// What the file of the chain is called, for people.
    pub name: &'static str,
}

/// The kubelet mounts files as links through `..data`, which it swaps at once: the link is followed
/// a single time, so that all files are of one set.
pub(super) fn resolved(folder: &Path) -> PathBuf {
    folder.join("..data").canonicalize().unwrap_or_else(|_| folder.to_owned())
}

impl Files {
    /// Reads a whole set.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let folder = resolved(folder);
        let pair = Self::pair(&folder)?;
        let roots = read(&folder.join(ROOTS_FILE))?;
        let revocations = optional(&folder.join(REVOCATIONS_FILE))?.unwrap_or_default();
        Ok(Self { roots, revocations, ..pair })
    }

    /// Reads a chain and its key, from two files or from a bundle.
    pub(super) fn pair(folder: &Path) -> Result<Self, Error> {
        if let Some(bundle) = optional(&folder.join(BUNDLE_FILE))? {
            let pair = Self { certificate: bundle.clone(), key: bundle, ..Self::default() };
            return Ok(Self { name: BUNDLE_FILE, ..pair });
        }
        let certificate = read(&folder.join(CERTIFICATE_FILE))?;
        let key = read(&folder.join(KEY_FILE))?;
        Ok(Self { certificate, key, name: CERTIFICATE_FILE, ..Self::default() })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    file::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn optional(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match file::read(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}
