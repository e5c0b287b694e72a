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

/// How often a set is read that is swapped meanwhile.
const TRIES: usize = 5;

/// The kubelet mounts files as links through `..data`, which it swaps at once: the link is followed
/// a single time, so that all files are of one set.
fn resolved(folder: &Path) -> PathBuf {
    folder.join("..data").canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// Reads in the folder that the link leads to, and again if it led elsewhere afterwards: what was
/// swapped is taken away, file by file, and a revocation list that has just gone would look like
/// none at all.
fn steady<T>(folder: &Path, read: impl Fn(&Path) -> Result<T, Error>) -> Result<T, Error> {
    let mut before = resolved(folder);
    for _ in 0..TRIES {
        let found = read(&before);
        let after = resolved(folder);
        if after == before {
            return found;
        }
        before = after;
    }
    Err(Error::Swapped(folder.to_owned()))
}

impl Files {
    /// Reads a whole set.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        steady(folder, Self::whole)
    }

    /// Reads a chain and its key, from two files or from a bundle.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub(super) fn read_pair(folder: &Path) -> Result<Self, Error> {
        steady(folder, Self::pair)
    }

    fn whole(folder: &Path) -> Result<Self, Error> {
        let pair = Self::pair(folder)?;
        let roots = read(&folder.join(ROOTS_FILE))?;
        let revocations = optional(&folder.join(REVOCATIONS_FILE))?.unwrap_or_default();
        Ok(Self { roots, revocations, ..pair })
    }

    fn pair(folder: &Path) -> Result<Self, Error> {
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder as the kubelet keeps it, at its first version.
    fn mounted(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        swap(&folder, 0);
        folder
    }

    /// Puts a version there, and takes the one before away.
    fn swap(folder: &Path, version: usize) {
        let new = folder.join(format!("..{version}"));
        fs::create_dir(&new).unwrap();
        for file in [CERTIFICATE_FILE, KEY_FILE, ROOTS_FILE, REVOCATIONS_FILE] {
            fs::write(new.join(file), version.to_string()).unwrap();
        }
        symlink(&new, folder.join("..next")).unwrap();
        fs::rename(folder.join("..next"), folder.join("..data")).unwrap();
        if let Some(before) = version.checked_sub(1) {
            fs::remove_dir_all(folder.join(format!("..{before}"))).unwrap();
        }
    }

    #[test]
    fn a_set_that_is_swapped_while_it_is_read_is_read_again() {
        let folder = mounted("swapped-once");
        let reads = Cell::new(0);
        let found = steady(&folder, |at| {
            reads.set(reads.get() + 1);
            if reads.get() == 1 {
                swap(&folder, 1);
            }
            // The first time all is gone, the optional file too.
            Files::whole(at)
        });
        let found = found.unwrap();
        assert_eq!((found.roots, found.revocations, reads.get()), (b"1".into(), b"1".into(), 2));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_set_that_never_rests_is_not_taken() {
        let folder = mounted("swapped-always");
        let version = Cell::new(0);
        let found = steady(&folder, |at| {
            let whole = Files::whole(at);
            version.set(version.get() + 1);
            swap(&folder, version.get());
            whole
        });
        assert!(matches!(found, Err(Error::Swapped(_))));
        fs::remove_dir_all(folder).unwrap();
    }
}
