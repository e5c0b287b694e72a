//! Images: our own, a pause image, and one with ordinary programs of Debian's.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::node::ctr;
use super::tools::{self, Tools};
use super::{cache, repository};

/// What holds a pod's namespaces.
pub(super) const PAUSE: &str = "localhost/countersign/pause:1";

/// Both programs of ours.
pub const OURS: &str = concat!("localhost/countersign/countersign:", env!("CARGO_PKG_VERSION"));

/// nginx, Redis, curl, openssl, tcpdump and busybox, as Debian ships them, and CoreDNS.
pub const DEBIAN_TOOLS: &str = "localhost/countersign/debian-tools:2";

/// Loads a docker archive into a node's containerd.
pub(super) fn import(node: &Path, tools: &Tools, archive: &Path) -> anyhow::Result<()> {
    let output = ctr(node, tools)?.args(["images", "import"]).arg(archive).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "loading {}: {}", archive.display(), said.trim());
    Ok(())
}

/// The pause image, made once.
pub(super) fn pause() -> anyhow::Result<PathBuf> {
    script("pause-image.sh", PAUSE, Path::new(""))
}

/// The image with Debian's programs, made once.
///
/// # Errors
/// When it cannot be made.
pub fn debian_tools() -> anyhow::Result<PathBuf> {
    let coredns = tools::all()?.program("coredns")?;
    script("debian-tools-image.sh", DEBIAN_TOOLS, &coredns)
}

/// An image that is made once for each version of the script that makes it, and of CoreDNS.
fn script(name: &str, image: &str, coredns: &Path) -> anyhow::Result<PathBuf> {
    let mut version = DefaultHasher::new();
    fs::read(scripts().join(name))?.hash(&mut version);
    // Its folder is named by its version.
    coredns.hash(&mut version);
    let version = version.finish();
    let archive = cache()?.join("images").join(format!("{name}-{version:016x}.tar"));
    if !archive.exists() {
        println!("making image {image}");
        run_script(name, &archive, image, coredns)?;
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
    run_script("own-image.sh", &archive, OURS, Path::new(""))?;
    Ok(archive)
}

fn run_script(name: &str, archive: &Path, image: &str, coredns: &Path) -> anyhow::Result<()> {
    if let Some(folder) = archive.parent() {
        fs::create_dir_all(folder)?;
    }
    let script = scripts().join(name);
    let status = Command::new("bash")
        .arg(&script)
        .arg(archive)
        .arg(image)
        .env("COREDNS", coredns)
        .current_dir(repository())
        .status()
        .with_context(|| format!("running {name}"))?;
    ensure!(status.success(), "{name} ended with {status}");
    Ok(())
}
