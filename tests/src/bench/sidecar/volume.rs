//! A credentials volume that is replaced as the kubelet replaces it: the files are links into a
//! folder `..data`, itself a link, which a rename moves to the next folder at once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::credentials::{Authority, Leaf};

/// The volume, and which generation is in it.
pub(super) struct Volume {
    folder: PathBuf,
    generation: u32,
}

impl Volume {
    pub(super) fn new(folder: PathBuf, authority: &Authority, leaf: &Leaf) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        for name in ["tls.crt", "tls.key", "ca.crt", "server.pem"] {
            symlink(Path::new("..data").join(name), folder.join(name))?;
        }
        let mut volume = Self { folder, generation: 0 };
        volume.replace(authority, leaf)?;
        Ok(volume)
    }

    pub(super) fn replace(&mut self, authority: &Authority, leaf: &Leaf) -> anyhow::Result<()> {
        let name = |generation: u32| format!("..generation-{generation}");
        let old = self.folder.join(name(self.generation));
        self.generation += 1;
        let new = name(self.generation);
        authority.write(leaf, &self.folder.join(&new))?;
        let next = self.folder.join("..data_tmp");
        symlink(&new, &next)?;
        fs::rename(&next, self.folder.join("..data")).context("replacing the volume")?;
        let _first = fs::remove_dir_all(old);
        Ok(())
    }
}
