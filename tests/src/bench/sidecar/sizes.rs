//! How much of everything.

use std::time::Duration;

/// How often, how long, and how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// How often all but memory and reload is measured.
    pub(super) rounds: usize,
    /// For how long handshakes come.
    pub(super) handshakes: Duration,
    /// How many certificates there are for clients that were never seen.
    pub(super) strangers: usize,
    /// For how long bytes flow.
    pub(super) bulk: Duration,
    /// For how long requests come.
    pub(super) requests: Duration,
    /// Memory hardly varies, and each round takes two minutes.
    pub(super) memory_rounds: usize,
    /// How many connections stand idle.
    pub(super) idle: &'static [u32],
    /// How long after their end memory is looked at.
    pub(super) after: Duration,
    /// For how long the certificate is replaced each second.
    pub(super) reload: Duration,
}

pub(super) const WHOLE: Sizes = Sizes {
    rounds: 5,
    handshakes: Duration::from_secs(3),
    strangers: 15_000,
    bulk: Duration::from_millis(2_500),
    requests: Duration::from_secs(4),
    memory_rounds: 3,
    idle: &[1_000, 5_000, 10_000],
    after: Duration::from_mins(1),
    reload: Duration::from_mins(10),
};

pub(super) const QUICK: Sizes = Sizes {
    rounds: 2,
    handshakes: Duration::from_millis(700),
    strangers: 4_000,
    bulk: Duration::from_millis(700),
    requests: Duration::from_secs(1),
    memory_rounds: 1,
    idle: &[1_000, 2_000],
    after: Duration::from_secs(5),
    reload: Duration::from_secs(20),
};
