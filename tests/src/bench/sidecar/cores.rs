//! Which core the bench keeps to, how many files it may open, and how exactly it wakes up.

use std::num::NonZeroU64;

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity, set_current_timer_slack};

/// The terminator has the first core alone; load and backend share this one.
const LOAD: usize = 1;

/// 10,000 connections have two ends in the bench, and in a terminator.
const FILES: u64 = 65_536;

/// Where the bench may run afterwards.
pub(super) struct Kept(CpuSet);

impl Kept {
    /// Keeps this thread, and those that it starts, to their core.
    pub(super) fn to_one_core() -> anyhow::Result<Self> {
        let before = sched_getaffinity(None).context("asking for the cores")?;
        let both = before.is_set(0) && before.is_set(LOAD);
        ensure!(both, "the bench needs two cores: one for the terminator, one for its load");
        let mut one = CpuSet::new();
        one.set(LOAD);
        sched_setaffinity(None, &one).context("keeping to a core")?;
        // Else the kernel wakes up whoever sleeps until a request is due 50 µs late.
        set_current_timer_slack(NonZeroU64::new(1)).context("setting the timer's slack")?;
        files()?;
        Ok(Self(before))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _as_before = sched_setaffinity(None, &self.0);
        let _default = set_current_timer_slack(None);
    }
}

/// Raises the limit as far as is needed and allowed; the terminators inherit it.
pub(in crate::bench) fn files() -> anyhow::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum.map_or(FILES, |most| most.min(FILES));
    let limit = Rlimit { current: Some(current), maximum };
    setrlimit(Resource::Nofile, limit).context("raising the limit of open files")
}

/// How many connections a terminator can have: two files each, and some for itself. stunnel leaves
/// 3 in 128 of its files alone.
pub(super) fn most_connections() -> u32 {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(FILES);
    u32::try_from(files * 123 / 256 / 100 * 100).unwrap_or(u32::MAX)
}
