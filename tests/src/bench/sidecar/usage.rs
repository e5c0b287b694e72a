//! What a terminator takes: time of the processor, and memory, of its process and all its children.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::super::process::{cpu, memory};

/// Time of the processor, user and system, counted in two ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spent {
    /// By the scheduler, to the nanosecond; it forgets threads that have ended.
    pub(super) exact: Duration,
    /// In ticks of 10 ms, late by one at most; threads that have ended are in it.
    pub(super) ticks: Duration,
}

impl Spent {
    pub(super) fn since(self, before: Self) -> Self {
        let exact = self.exact.saturating_sub(before.exact);
        Self { exact, ticks: self.ticks.saturating_sub(before.ticks) }
    }

    /// The scheduler's count, unless threads have ended meanwhile: `stunnel` has one a connection.
    pub(super) fn time(self) -> Duration {
        let slack = Duration::from_millis(20) + self.ticks / 50;
        if self.ticks > self.exact + slack { self.ticks } else { self.exact }
    }

    pub(super) fn microseconds(self) -> f64 {
        self.time().as_secs_f64() * 1e6
    }
}

/// What a process and its children have taken until now.
pub(super) fn spent(id: u32) -> anyhow::Result<Spent> {
    family(id)?.into_iter().try_fold(Spent::default(), |sum, id| {
        let one = spent_alone(id)?;
        Ok(Spent { exact: sum.exact + one.exact, ticks: sum.ticks + one.ticks })
    })
}

/// What a process has taken, without its children.
pub(super) fn spent_alone(id: u32) -> anyhow::Result<Spent> {
    // A thread may end between the two readings.
    let run = |thread| {
        let path = format!("/proc/{id}/task/{thread}/schedstat");
        fs::read_to_string(path).ok().and_then(|text| on_cpu(&text))
    };
    let exact = threads(id)?.into_iter().filter_map(run).sum();
    Ok(Spent { exact, ticks: cpu(id)? })
}

/// What a process and its children hold, in megabytes.
pub(super) fn resident(id: u32) -> anyhow::Result<f64> {
    family(id)?.into_iter().try_fold(0.0, |sum, id| Ok(sum + memory(id)?.resident))
}

/// A process and all that it started, itself first.
pub(super) fn family(id: u32) -> anyhow::Result<Vec<u32>> {
    let mut family = vec![id];
    let mut next = 0;
    while let Some(id) = family.get(next).copied() {
        next += 1;
        for thread in threads(id)? {
            let path = format!("/proc/{id}/task/{thread}/children");
            let children = fs::read_to_string(path).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        ensure!(family.len() < 1_000, "too many processes");
    }
    Ok(family)
}

fn threads(id: u32) -> anyhow::Result<Vec<u32>> {
    let path = format!("/proc/{id}/task");
    let entries = fs::read_dir(&path).with_context(|| format!("reading {path}"))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// The first figure of a schedstat: the nanoseconds that a thread ran. Pure.
fn on_cpu(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_schedstat_begins_with_the_time_on_the_processor() {
        assert_eq!(on_cpu("814247 12 1\n"), Some(Duration::from_nanos(814_247)));
        assert_eq!(on_cpu(""), None);
        assert_eq!(on_cpu("no figure"), None);
    }

    #[test]
    fn ticks_count_where_threads_have_ended() {
        let cases = [(ms(1_000), ms(1_010), ms(1_000)), (ms(200), ms(1_000), ms(1_000))];
        for (exact, ticks, expected) in cases {
            assert_eq!(Spent { exact, ticks }.time(), expected, "{exact:?} {ticks:?}");
        }
    }

    #[test]
    fn this_very_process_is_of_its_own_family_and_takes_time() {
        let id = std::process::id();
        assert_eq!(family(id).expect("a family").first(), Some(&id));
        assert!(spent(id).expect("its time").exact > Duration::ZERO);
        assert!(resident(id).expect("its memory") > 0.1);
    }
}
