//! Taking a cluster away, however far it had come: what is recorded, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::node::{ctr, record, socket};
use super::process::{self, Recorded, wait_until};
use super::{MOST_NODES, Site, cgroups, network};

/// How long a program may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a cluster has once, in the order in which it ends; runtimes of nodes end before the last two.
const BESIDE: &[&str] = &["coredns", "kube-scheduler", "kube-controller-manager"];

/// An API server whose etcd went first hangs for ever.
const LAST: &[&str] = &["kube-apiserver", "etcd"];

/// The names of the nodes that were set up.
pub(super) fn nodes(run: &Path) -> Vec<String> {
    let names = (1..=MOST_NODES).map(network::name);
    names.filter(|name| run.join(name).is_dir()).collect()
}

/// Ends every program of a cluster, and unmounts what is left of its pods.
pub(super) fn end(site: Site<'_>, cluster: &str) -> anyhow::Result<()> {
    let nodes = nodes(site.run);
    let each = |program: &str| {
        nodes.iter().try_for_each(|node| end_recorded(site.run, &record(node, program)))
    };
    // Otherwise they would start the pods again that end now.
    each("kubelet")?;
    for node in &nodes {
        Pods { site, folder: site.run.join(node), cluster, node }.end()?;
    }
    each("kube-proxy")?;
    BESIDE.iter().try_for_each(|name| end_recorded(site.run, name))?;
    each("containerd")?;
    LAST.iter().try_for_each(|name| end_recorded(site.run, name))?;
    unmount_below(site.run)
}

/// Takes away what the kernel keeps of nodes: their control groups and their networks.
pub(super) fn remove_places(cluster: &str) -> anyhow::Result<()> {
    let names = (1..=MOST_NODES).map(network::name);
    names.map(|node| cgroups::root(cluster, &node)).try_for_each(|root| cgroups::remove(&root))?;
    network::remove(cluster)
}

fn end_recorded(run: &Path, name: &str) -> anyhow::Result<()> {
    process::recorded(run, name).map_or(Ok(()), |program| program.end(PATIENCE))
}

/// What runs in the pods of one node.
struct Pods<'a> {
    site: Site<'a>,
    folder: PathBuf,
    cluster: &'a str,
    node: &'a str,
}

impl Pods<'_> {
    /// Ends it, and the shims that would outlive containerd. Where containerd has ended before them,
    /// nobody else ends what ran in its pods.
    fn end(&self) -> anyhow::Result<()> {
        let (shims, networks) = (self.shims(), self.networks());
        let containerd = process::recorded(self.site.run, &record(self.node, "containerd"));
        if containerd.is_some_and(|one| one.runs()) {
            self.delete_tasks()?;
            wait_until(Duration::from_secs(5), || shims.iter().all(|shim| !shim.runs()));
        }
        shims.iter().try_for_each(|shim| shim.end(Duration::from_secs(2)))?;
        let left = cgroups::processes(&cgroups::root(self.cluster, self.node))?;
        let mut left = left.into_iter().filter_map(|id| Recorded::found("a program of a pod", id));
        left.try_for_each(|program| program.end(Duration::ZERO))?;
        networks.iter().try_for_each(|name| network::remove_namespace(name))
    }

    fn delete_tasks(&self) -> anyhow::Result<()> {
        let listed = ctr(&self.folder, self.site.tools)?.args(["tasks", "list", "-q"]).output()?;
        for task in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
            let mut remove = ctr(&self.folder, self.site.tools)?;
            remove.args(["tasks", "delete", "--force", task]);
            let _gone = remove.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        }
        Ok(())
    }

    /// The network namespaces of pods: what runs in them names them, and nobody else takes them away.
    fn networks(&self) -> BTreeSet<String> {
        let tasks = self.folder.join("containerd-state/io.containerd.runtime.v2.task/k8s.io");
        let tasks = fs::read_dir(tasks).into_iter().flatten().flatten();
        let mut networks = BTreeSet::new();
        for task in tasks {
            let text = fs::read_to_string(task.path().join("config.json")).unwrap_or_default();
            let paths = text.split('"').filter_map(|word| word.rsplit_once("/run/netns/"));
            networks.extend(
                paths.map(|(_, name)| name.to_owned()).filter(|name| name.starts_with("cni-")),
            );
        }
        networks
    }

    /// Shims of this node's containerd: they name its socket.
    fn shims(&self) -> Vec<Recorded> {
        let socket = socket(&self.folder).display().to_string();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_ours = |id: &u32| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains("containerd-shim-runc-v2") && line.contains(&socket)
        };
        ids.filter(is_ours).filter_map(|id| Recorded::found("containerd-shim", id)).collect()
    }
}

/// Unmounts everything below a folder, the innermost first.
fn unmount_below(folder: &Path) -> anyhow::Result<()> {
    let folder = folder.display().to_string();
    let mounts = fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
    let below = format!("{folder}/");
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut points: Vec<&str> = points.filter(|point| point.starts_with(&below)).collect();
    points.sort_unstable_by_key(|point| std::cmp::Reverse(point.len()));
    for point in points {
        let output = Command::new("umount").arg(point).output()?;
        if !output.status.success() {
            bail!("umount {point}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(())
}
