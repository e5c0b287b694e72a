//! How much memory the container may have (cgroups(7)).

use std::path::{Path, PathBuf};

/// The memory that we may have, in bytes; nothing, where there is no limit.
#[must_use]
pub fn find() -> Option<u64> {
    let mine = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limit(&mine, |path| std::fs::read_to_string(path).ok())
}

/// The smallest limit of our control group and those above it; `mine` is `/proc/self/cgroup`. A container
/// sees its own group at the top, whether or not it has a name there. Pure.
fn limit(mine: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let files = mine.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, group) = rest.split_once(':')?;
        if controllers.is_empty() {
            return Some(("/sys/fs/cgroup", group, "memory.max"));
        }
        let is_memory = controllers.split(',').any(|controller| controller == "memory");
        is_memory.then_some(("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"))
    });
    let limits = files.flat_map(|(top, group, name)| {
        let group = Path::new(group.trim_start_matches('/'));
        let read = &read;
        group.ancestors().filter_map(move |group| {
            let path: PathBuf = [Path::new(top), group, Path::new(name)].iter().collect();
            // "max", or a number that no machine has, is no limit.
            read(&path)?.trim().parse().ok().filter(|limit| *limit < 1 << 60)
        })
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and contents.
    type Files = &'static [(&'static str, &'static str)];

    #[test]
    fn the_limit_of_memory_is_read_from_either_version_of_control_groups() {
        const MIB: u64 = 1 << 20;
        let cases: [(&str, Files, Option<u64>); 10] = [
            ("0::/\n", &[("/sys/fs/cgroup/memory.max", "134217728\n")], Some(128 * MIB)),
            ("0::/\n", &[("/sys/fs/cgroup/memory.max", "max\n")], None),
            (
                "0::/kubepods/pod1/c\n",
                &[
                    ("/sys/fs/cgroup/kubepods/pod1/c/memory.max", "max\n"),
                    ("/sys/fs/cgroup/kubepods/pod1/memory.max", "67108864\n"),
                ],
                Some(64 * MIB),
            ),
            // Version 1, and the name of a group that the container does not see.
            (
                "5:cpu,cpuacct:/\n4:memory:/kubepods/c\n",
                &[("/sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n")],
                Some(128 * MIB),
            ),
            (
                "4:memory:/\n",
                &[("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")],
                None,
            ),
            // The smaller one holds, wherever it is.
            (
                "0::/kubepods/c\n",
                &[
                    ("/sys/fs/cgroup/kubepods/c/memory.max", "134217728\n"),
                    ("/sys/fs/cgroup/memory.max", "67108864\n"),
                ],
                Some(64 * MIB),
            ),
            // Both versions are mounted, and version 1 has the memory.
            (
                "4:memory:/kubepods/c\n0::/kubepods/c\n",
                &[
                    ("/sys/fs/cgroup/memory/kubepods/c/memory.limit_in_bytes", "134217728\n"),
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854710272\n"),
                ],
                Some(128 * MIB),
            ),
            ("0::/\n", &[("/sys/fs/cgroup/memory.max", "nonsense")], None),
            ("", &[], None),
            ("nonsense\n:\n", &[], None),
        ];
        for (mine, files, expected) in cases {
            let read = |path: &Path| {
                let found = files.iter().find(|(name, _)| Path::new(name) == path);
                found.map(|(_, text)| (*text).to_owned())
            };
            assert_eq!(limit(mine, read), expected, "{mine:?}");
        }
    }
}
