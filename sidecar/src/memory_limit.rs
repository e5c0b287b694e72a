//! How many connections fit into the memory that the container may have.

use countersign_contract::memory_limit::find;

/// What the program needs beside connections.
const BASE: u64 = 16 * 1024 * 1024;

/// What is counted on for one connection: its two sockets in the kernel and its state (13 kB), and what
/// somebody does not read, or hyper's buffers where requests are looked at.
const PER_CONNECTION: u64 = 32 * 1024;

/// Fewer make no sense, and more are only for whoever asks for them.
const MIN: u64 = 64;
const MAX: u64 = 16384;

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

#[cfg(test)]
mod tests {
    use super::*;

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
