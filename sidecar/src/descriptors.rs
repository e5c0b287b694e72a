//! File descriptors: two for each connection, as many as we may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open besides connections: listeners, files, the admin port and its callers.
const OTHERS: u64 = 256;

/// Raises our limit as far as it takes for so many connections; how many fit.
pub(crate) fn raise_for(connections: u32) -> u32 {
    let wanted = u64::from(connections) * 2 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    let may_have = limit.maximum.unwrap_or(u64::MAX);
    let has = limit.current.unwrap_or(u64::MAX);
    if has < wanted {
        let raised = Rlimit { current: Some(wanted.min(may_have)), maximum: limit.maximum };
        if setrlimit(Resource::Nofile, raised).is_err() {
            return fit(has, connections);
        }
    }
    fit(may_have, connections)
}

fn fit(descriptors: u64, connections: u32) -> u32 {
    let fits = descriptors.saturating_sub(OTHERS) / 2;
    u32::try_from(fits).unwrap_or(u32::MAX).clamp(1, connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_connections_fit_as_there_are_pairs_of_descriptors() {
        assert_eq!(fit(1024, 16384), 384);
        assert_eq!(fit(1 << 20, 16384), 16384);
        assert_eq!(fit(10, 16384), 1);
    }
}
