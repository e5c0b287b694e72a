//! The control groups of a node. Two kubelets under one root would each take the other's pods for
//! orphans and end them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::process::wait_until;

/// What a kubelet wants to control, where the kernel has it in one hierarchy (cgroup v2).
const CONTROLLERS: &[&str] = &["cpu", "cpuset", "memory", "hugetlb", "pids"];

/// The name of a node's root, in each hierarchy.
pub(super) fn root(cluster: &str, node: &str) -> String {
    format!("countersign-{cluster}.{node}")
}

/// Makes a root, which a kubelet wants to find.
pub(super) fn make(root: &str) -> anyhow::Result<()> {
    for hierarchy in hierarchies()? {
        let has = fs::read_to_string(hierarchy.join("cgroup.controllers")).unwrap_or_default();
        for controller in has.split_whitespace().filter(|name| CONTROLLERS.contains(name)) {
            // One that cannot be handed down is missed by the kubelet, which says so.
            let _denied =
                fs::write(hierarchy.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        let folder = hierarchy.join(root);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    }
    Ok(())
}

/// Takes a root away, once nothing runs in it any more.
pub(super) fn remove(root: &str) -> anyhow::Result<()> {
    for hierarchy in hierarchies()? {
        let folder = hierarchy.join(root);
        let gone = wait_until(Duration::from_secs(10), || remove_folder(&folder).is_ok());
        ensure!(gone, "control group {} cannot be removed", folder.display());
    }
    Ok(())
}

/// What still runs under a root: nothing but what one node started.
pub(super) fn processes(root: &str) -> anyhow::Result<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for hierarchy in hierarchies()? {
        gather(&hierarchy.join(root), &mut found);
    }
    Ok(found)
}

fn gather(folder: &Path, found: &mut BTreeSet<u32>) {
    let listed = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    found.extend(listed.lines().filter_map(|id| id.parse::<u32>().ok()));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            gather(&entry.path(), found);
        }
    }
}

/// A control group's files are not for us to remove; the folder goes with them.
fn remove_folder(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_folder(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

/// Where hierarchies are mounted: one with cgroup v2, one for each controller before.
fn hierarchies() -> anyhow::Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
    Ok(mounted(&mounts))
}

fn mounted(mounts: &str) -> Vec<PathBuf> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let groups = fields.filter(|fields| matches!(fields.get(2), Some(&"cgroup" | &"cgroup2")));
    groups.filter_map(|fields| fields.get(1).map(PathBuf::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_kinds_are_found_among_mounts() {
        let mounts = "proc /proc proc rw 0 0\n\
                      tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found: Vec<_> = mounted(mounts).iter().map(|path| path.display().to_string()).collect();
        assert_eq!(found, ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"]);
    }
}
