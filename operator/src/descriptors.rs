//! File descriptors: each connection takes one, and a container may begin with 1,024 of them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// How many the operator asks for: discovery's 20,000 connections, and the webhook's, and its own.
const WANTED: u64 = 32_768;

/// Raises the limit of open descriptors as far as it may be.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|current| *current < WANTED) else { return };
    let raised = limit.maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if raised <= current {
        return warn!(current, wanted = WANTED, "the hard limit of file descriptors is low");
    }
    let limit = Rlimit { current: Some(raised), maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, current, wanted = WANTED, "the limit of file descriptors cannot be raised");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be() {
        // It may be as high as wanted already: one less is room enough for the tests beside this one.
        let limit = getrlimit(Resource::Nofile);
        let lower = limit.current.unwrap_or(WANTED).min(WANTED) - 1;
        setrlimit(Resource::Nofile, Rlimit { current: Some(lower), ..limit }).unwrap();
        raise();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let expected = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
        assert!(current.is_none_or(|current| current >= expected), "{current:?} of {maximum:?}");
    }
}
