//! A real Kubernetes of one to four nodes, each in a network namespace of its own, or its control
//! plane alone.
//!
//! `tools` builds the pinned programs once, `pki` makes the cluster's certificates, `process`
//! starts and ends programs by recorded ids, `network` makes the namespaces and the links between
//! them, `cgroups` the control groups of each node. `control_plane`, `controllers` and `dns` start what
//! a cluster has once, all on the first node; `node` what each node has. `images` makes what pods run.
//! `lifecycle` puts it together, and `ending` takes it away again.

mod cgroups;
mod control_plane;
mod controllers;
mod dns;
mod ending;
pub mod images;
mod lifecycle;
mod network;
mod node;
mod pki;
mod process;
pub mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use lifecycle::Cluster;
#[cfg(feature = "bench")]
pub(crate) use process::wait_until;
use tools::Tools;

/// What of Kubernetes is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// etcd and the API server, on loopback; needs no root.
    ControlPlane,
    /// All of it, with so many nodes, each in a network namespace; needs root.
    Nodes(u8),
}

/// So many nodes a cluster may have: each is another kubelet on the same machine.
pub const MOST_NODES: u8 = 4;

/// Where a cluster is recorded, and the programs that it consists of.
#[derive(Clone, Copy)]
struct Site<'a> {
    run: &'a Path,
    tools: &'a Tools,
}

impl Site<'_> {
    fn kubectl(self) -> anyhow::Result<Command> {
        let mut kubectl = Command::new(self.tools.program("kubectl")?);
        kubectl.arg("--kubeconfig").arg(self.run.join("admin.conf"));
        Ok(kubectl)
    }
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
