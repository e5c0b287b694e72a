//! A real one-node Kubernetes in a network namespace of its own, or its control plane alone.
//!
//! `tools` builds the pinned programs once, `pki` makes the cluster's certificates, `process`
//! starts and ends programs by recorded ids, `network` makes the namespace, `control_plane` and
//! `node` start what Kubernetes consists of, `images` makes what its pods run.

mod control_plane;
pub mod images;
mod lifecycle;
mod network;
mod node;
mod pki;
mod process;
pub mod tools;

use std::path::{Path, PathBuf};

pub use lifecycle::Cluster;

/// What of Kubernetes is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// etcd and the API server, on loopback; needs no root.
    ControlPlane,
    /// All of it, with one node, in a network namespace; needs root.
    Node,
}

/// Where everything lives that outlasts a checkout.
///
/// # Errors
/// When there is neither `XDG_CACHE_HOME` nor `HOME`.
#[expect(clippy::disallowed_methods, reason = "the cache folder is found through the environment")]
pub fn cache() -> anyhow::Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = folder("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| folder("HOME").map(|home| Path::new(&home).join(".cache")));
    let base = base.ok_or_else(|| anyhow::anyhow!("neither XDG_CACHE_HOME nor HOME is set"))?;
    Ok(base.join("countersign"))
}

/// The repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
