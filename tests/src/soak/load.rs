//! Mixed load for some time: who comes, how often, and what became of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::client::{Door, Story, play};
use super::stranger::Stranger;
use super::weather::Weather;

/// How many clients stay for some seconds, at each door.
const LIVE: usize = 40;

/// How many of the failures are told of.
const TOLD: usize = 10;

/// What became of clients.
#[derive(Debug, Default)]
pub(super) struct Tally {
    served: BTreeMap<Story, u64>,
    /// Those whose failure a fault explains.
    pub(super) excused: u64,
    pub(super) cut: u64,
    /// Those that should not have failed, or should have been cut.
    pub(super) failures: u64,
    pub(super) told: Vec<String>,
}

impl Tally {
    pub(super) fn served(&self) -> u64 {
        self.served.values().sum()
    }

    fn fails(&mut self, what: String) {
        self.failures += 1;
        if self.told.len() < TOLD {
            self.told.push(what);
        }
    }
}

/// Whoever comes, and where to.
pub(super) struct Load {
    pub(super) mutual: Door,
    pub(super) plain: Door,
    pub(super) strangers: (std::net::SocketAddr, Arc<ClientConfig>),
    /// New mutual connections a second.
    pub(super) rate: u32,
    pub(super) weather: Arc<Weather>,
    pub(super) tally: Mutex<Tally>,
}

impl Load {
    /// Loads until then, and waits for the last to be done.
    pub(super) async fn run(self: &Arc<Self>, until: Instant) {
        let stories = [Story::EndsFirst, Story::EndsLast, Story::IsReset, Story::Resets];
        let every = |period_ms: u64| Duration::from_millis(period_ms);
        let mut all = JoinSet::new();
        let second = Duration::from_secs(1);
        all.spawn(self.clone().come(false, Story::Fresh, second / self.rate.max(1), until));
        all.spawn(self.clone().come(true, Story::Fresh, 4 * second / self.rate.max(1), until));
        for is_plain in [false, true] {
            all.spawn(self.clone().come(is_plain, Story::Bulk, every(1500), until));
            for story in stories {
                all.spawn(self.clone().come(is_plain, story, every(130), until));
            }
            for _ in 0..LIVE {
                all.spawn(self.clone().stay(is_plain, until));
            }
        }
        all.spawn(self.clone().intrude(every(70), until));
        while all.join_next().await.is_some() {}
    }

    /// One after the other at a steady rate, however long each takes.
    async fn come(self: Arc<Self>, is_plain: bool, story: Story, period: Duration, until: Instant) {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut clients = JoinSet::new();
        while ticks.tick().await < until {
            clients.spawn(self.clone().one(is_plain, story));
            while clients.try_join_next().is_some() {}
        }
        while clients.join_next().await.is_some() {}
    }

    async fn stay(self: Arc<Self>, is_plain: bool, until: Instant) {
        while Instant::now() < until {
            self.clone().one(is_plain, Story::Live).await;
        }
    }

    async fn intrude(self: Arc<Self>, period: Duration, until: Instant) {
        let mut ticks = interval(period);
        let mut strangers = JoinSet::new();
        for stranger in Stranger::ALL.iter().cycle() {
            if ticks.tick().await >= until {
                break;
            }
            let load = self.clone();
            strangers.spawn(async move {
                let (at, without) = &load.strangers;
                let cut = stranger.tries(*at, without).await;
                let mut tally = load.lock();
                match cut {
                    Ok(()) => tally.cut += 1,
                    Err(error) => tally.fails(format!("stranger: {error:#}")),
                }
            });
            while strangers.try_join_next().is_some() {}
        }
        while strangers.join_next().await.is_some() {}
    }

    async fn one(self: Arc<Self>, is_plain: bool, story: Story) {
        let mark = self.weather.mark();
        let door = if is_plain { &self.plain } else { &self.mutual };
        let played = play(door, story).await;
        let mut tally = self.lock();
        match played {
            Ok(()) => *tally.served.entry(story).or_default() += 1,
            Err(_) if self.weather.was_rough(mark) => tally.excused += 1,
            Err(error) => {
                let door = if is_plain { "plain" } else { "mutual" };
                tally.fails(format!("{story:?}, {door}: {error:#}"));
            }
        }
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
