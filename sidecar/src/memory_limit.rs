//! How much memory the container may have (cgroups(7)), and how many connections fit into it.

use std::path::{Path, PathBuf};

/// What the program needs beside connections.
const BASE: u64 = 16 * 1024 * 1024;

/// What is counted on for one connection: its two sockets in the kernel and its state (13 kB), and what
/// somebody does not read, or hyper's buffers where requests are looked at.
const PER_CONNECTION: u64 = 32 * 1024;

/// Fewer make no sense, and more are only for whoever asks for them.
const MIN: u64 = 64;
const MAX: u64 = 16384;

/// The memory that we may have, in bytes; nothing, where there is no limit.
pub(crate) fn find() -> Option<u64> {
    let mine = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limit(&mine, |path| std::fs::read_to_string(path).ok())
}

/// How many connections each way fit into what memory we may have.
pub(crate) fn default_connections() -> u32 {
    u32::try_from(connections(find())).unwrap_or(u32::MAX)
}

/// How many bytes may wait, in each of so many workers, for those who do not read: a quarter of the
/// memory in all.
pub(crate) fn buffer_budget(workers: usize) -> usize {
    let all = find().map_or(usize::MAX, |limit| usize::try_from(limit / 4).unwrap_or(usize::MAX));
    all / workers.max(1)
}

/// How many bytes inbound connections may hold whose HTTP is read.
pub(crate) fn http_memory() -> usize {
    usize::try_from(http(find())).unwrap_or(usize::MAX)
}

/// What is for inbound connections, of which those whose HTTP is read may hold all. Pure.
fn http(limit: Option<u64>) -> u64 {
    const MIN: u64 = 4 * 1024 * 1024;
    limit.map_or(u64::MAX, |limit| (limit.saturating_sub(BASE) / 2).max(MIN))
}

/// Half of the memory is for each direction. Pure.
fn connections(limit: Option<u64>) -> u64 {
    limit.map_or(MAX, |limit| (limit.saturating_sub(BASE) / 2 / PER_CONNECTION).clamp(MIN, MAX))
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
        let cases: [(&str, Files, Option<u64>); 7] = [
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

    #[test]
    fn fewer_connections_fit_into_less_memory() {
        assert_eq!(connections(None), 16384);
        assert_eq!(connections(Some(128 << 20)), 1792);
        assert_eq!(connections(Some(1 << 20)), 64);
        assert_eq!(connections(Some(64 << 30)), 16384);
        assert_eq!(http(None), u64::MAX);
        assert_eq!(http(Some(128 << 20)), 56 << 20);
        assert_eq!(http(Some(1 << 20)), 4 << 20);
    }
}
