//! The folder with key, certificate and root.
//!
//! The key waits under a name of its own until there is a certificate for it, so that what is in
//! use stays in use; then all are put in place one after the other, each whole.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use countersign_contract::names::{CERTIFICATE_FILE, KEY_FILE, ROOTS_FILE};
use countersign_pki::{KeyEncoding, PrivateKey, Redacted};
use serde::Serialize;

use super::answer::Signed;
use crate::error::{Error, story};
use crate::inspect;

/// The key of a request that is not signed yet.
const WAITING_KEY: &str = "tls.key.pending";

/// Only the owner reads a key; everybody may read a certificate.
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// A folder, and whether what is in it may be replaced.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) overwrites: bool,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The key, where it was made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The leaf, then those above it.
    pub certificate: PathBuf,
    /// The root, where it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl Folder {
    /// Sees whether it can take a new request, and what will come of it.
    pub(super) fn is_ready(&self, with_key: bool) -> Result<(), Error> {
        self.is_free(with_key)?;
        let waiting = self.path.join(WAITING_KEY);
        if with_key && !self.overwrites && exists(&waiting) {
            return Err(Error::File {
                path: waiting,
                what: "is the key of a request that was not signed yet".to_owned(),
                advice: "go on with that by --resume, or throw its key away with --force",
            });
        }
        Ok(())
    }

    /// Makes it if it is not there.
    fn make(&self) -> Result<(), Error> {
        let mut making = fs::DirBuilder::new();
        making.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut making, 0o700);
        making.create(&self.path).map_err(|error| failed(&self.path, "be made", &error))
    }

    /// Sees whether something is there that may not be replaced.
    pub(super) fn is_free(&self, with_key: bool) -> Result<(), Error> {
        let key = with_key.then_some(KEY_FILE);
        let mut names = key.into_iter().chain([CERTIFICATE_FILE, ROOTS_FILE]);
        let taken = names.find(|name| exists(&self.path.join(name)));
        match taken {
            Some(name) if !self.overwrites => Err(Error::File {
                path: self.path.join(name),
                what: "exists already".to_owned(),
                advice: "name another folder with --out, or replace it with --force",
            }),
            _ => Ok(()),
        }
    }

    /// Keeps the key of a request that is about to be made.
    pub(super) fn keep_key(&self, key: &PrivateKey) -> Result<(), Error> {
        let pem = key.to_pem(KeyEncoding::Pkcs8);
        let pem =
            pem.map_err(|error| Error::Make { what: "writing the key", why: story(&error) })?;
        self.make()?;
        if self.overwrites {
            self.forget_key()?;
        }
        create(&self.path.join(WAITING_KEY), pem.expose().as_bytes(), SECRET)
    }

    /// The key of a request that was made before; none if it is elsewhere.
    pub(super) fn kept_key(&self) -> Result<Option<PrivateKey>, Error> {
        let path = self.path.join(WAITING_KEY);
        if !exists(&path) {
            return Ok(None);
        }
        let text = Redacted::new(inspect::read(&path)?);
        let key = PrivateKey::from_pem(text.expose()).map_err(|error| Error::File {
            path,
            what: format!("cannot be read: {}", story(&error)),
            advice: "ask again for a certificate, with --force",
        })?;
        Ok(Some(key))
    }

    /// Takes the key of a request away that nobody will sign.
    pub(super) fn forget_key(&self) -> Result<(), Error> {
        remove(&self.path.join(WAITING_KEY))
    }

    /// Puts everything in its place. What can fail for want of room is done before anything that
    /// was there before is replaced.
    pub(super) fn finish(&self, with_key: bool, signed: &Signed) -> Result<Written, Error> {
        self.is_free(with_key)?;
        self.make()?;
        let certificates =
            [(CERTIFICATE_FILE, Some(&signed.chain)), (ROOTS_FILE, signed.ca.as_ref())];
        let mut places = Vec::new();
        if with_key {
            places.push((self.path.join(WAITING_KEY), self.path.join(KEY_FILE)));
        }
        for (name, text) in certificates {
            let Some(text) = text else { continue };
            let new = self.path.join(format!("{name}.new"));
            remove(&new)?;
            create(&new, text, PUBLIC)?;
            places.push((new, self.path.join(name)));
        }
        for (from, to) in &places {
            fs::rename(from, to).map_err(|error| failed(to, "be written", &error))?;
        }
        Ok(Written {
            key: with_key.then(|| self.path.join(KEY_FILE)),
            certificate: self.path.join(CERTIFICATE_FILE),
            ca: signed.ca.as_ref().map(|_| self.path.join(ROOTS_FILE)),
        })
    }
}

/// Whether there is anything of that name, be it a link to nowhere.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(failed(path, "be removed", &error))
        }
        _ => Ok(()),
    }
}

/// Writes a file that is not there, whole and to the disk, or leaves none.
fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let cannot = |error| failed(path, "be written", &error);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file: File = options.open(path).map_err(cannot)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| {
        // The error that counts is the first one.
        let _ = fs::remove_file(path);
        cannot(error)
    })
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        what: format!("cannot {what}: {error}"),
        advice: "name a folder that you may write to with --out",
    }
}

#[cfg(test)]
mod tests;
