//! Images: our own, a pause image, and one with ordinary programs of Debian's.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::node::ctr;
use super::tools::Tools;
use super::{cache, repository};

/// What holds a pod's namespaces.
pub(super) const PAUSE: &str = "localhost/countersign/pause:1";

/// Both programs of ours.
pub const OURS: &str = concat!("localhost/countersign/countersign:", env!("CARGO_PKG_VERSION"));

/// nginx, curl, openssl, tcpdump and busybox, as Debian ships them.
pub const DEBIAN_TOOLS: &str = "localhost/countersign/debian-tools:1";

/// Loads a docker archive into a node's containerd.
pub(super) fn import(run: &Path, tools: &Tools, archive: &Path) -> anyhow::Result<()> {
    let output = ctr(run, tools)?.args(["images", "import"]).arg(archive).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "loading {}: {}", archive.display(), said.trim());
    Ok(())
}

/// The pause image, made once.
pub(super) fn pause() -> anyhow::Result<PathBuf> {
    script("pause-image.sh", PAUSE)
}

/// The image with Debian's programs, made once.
///
/// # Errors
/// When it cannot be made.
pub fn debian_tools() -> anyhow::Result<PathBuf> {
    script("debian-tools-image.sh", DEBIAN_TOOLS)
}

/// An image that is made once for each version of the script that makes it.
fn script(name: &str, image: &str) -> anyhow::Result<PathBuf> {
    let mut version = DefaultHasher::new();
    fs::read(scripts().join(name))?.hash(&mut version);
    let version = version.finish();
    let archive = cache()?.join("images").join(format!("{name}-{version:016x}.tar"));
    if !archive.exists() {
        println!("making image {image}");
        run_script(name, &archive, image)?;
    }
    Ok(archive)
}

fn scripts() -> PathBuf {
    repository().join("tests/cluster/images")
}

/// The image of our own programs, made anew whenever they changed.
///
/// # Errors
/// When it cannot be built.
pub fn ours() -> anyhow::Result<PathBuf> {
    let target = repository().join("target/images");
    fs::create_dir_all(&target)?;
    let archive = target.join("countersign.tar");
    run_script("own-image.sh", &archive, OURS)?;
    Ok(archive)
}

fn run_script(name: &str, archive: &Path, image: &str) -> anyhow::Result<()> {
    if let Some(folder) = archive.parent() {
        fs::create_dir_all(folder)?;
    }
    let script = scripts().join(name);
    let status = Command::new("bash")
        .arg(&script)
        .arg(archive)
        .arg(image)
        .current_dir(repository())
        .status()
        .with_context(|| format!("running {name}"))?;
    ensure!(status.success(), "{name} ended with {status}");
    Ok(())
}
