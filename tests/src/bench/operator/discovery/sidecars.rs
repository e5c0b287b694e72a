//! Many streams, each of a pod of its own, which come back by themselves as a sidecar's does.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::super::super::sidecar::cores::files;
use super::FOLLOWED;
use super::population::Population;
use crate::mesh::{Credentials, Stream};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How soon after a failure a sidecar comes back: at once, and then less and less often.
const SOONEST: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(5);

/// The streams.
pub(super) struct Sidecars {
    count: usize,
    seen: UnboundedReceiver<Seen>,
    _running: JoinSet<()>,
}

/// What a stream saw.
#[derive(Debug)]
enum Seen {
    /// It has an answer for everything that it follows.
    Answered(usize),
    /// The destination that all follow has so many endpoints.
    Endpoints { stream: usize, count: usize, at: Instant },
}

/// One of them.
struct Sidecar {
    number: usize,
    address: SocketAddr,
    pod: String,
    credentials: Credentials,
    destinations: Vec<String>,
    to: UnboundedSender<Seen>,
}

impl Sidecars {
    /// Starts them.
    ///
    /// # Errors
    /// When not enough files may be open.
    pub(super) fn start(
        address: SocketAddr,
        population: &Population,
        count: usize,
    ) -> anyhow::Result<Self> {
        files()?;
        let (to, seen) = unbounded_channel();
        let mut running = JoinSet::new();
        for number in 0..count {
            let (pod, credentials) = population.pod(number * population.pods() / count);
            let destinations = followed(population.services(), number);
            let (credentials, to) = (credentials.clone(), to.clone());
            let sidecar = Sidecar { number, address, pod, credentials, destinations, to };
            running.spawn(sidecar.run());
        }
        Ok(Self { count, seen, _running: running })
    }

    /// Waits until each has an answer for everything that it follows.
    ///
    /// # Errors
    /// When that takes too long.
    pub(super) async fn all_answered(&mut self) -> anyhow::Result<()> {
        let mut answered = HashSet::new();
        let all = async {
            while answered.len() < self.count {
                if let Seen::Answered(stream) = self.seen.recv().await.context("no stream runs")? {
                    answered.insert(stream);
                }
            }
            anyhow::Ok(())
        };
        let waited = timeout(PATIENCE, all).await;
        match waited {
            Ok(waited) => waited,
            Err(_) => bail!("only {} of {} streams were answered", answered.len(), self.count),
        }
    }

    /// Waits until each has heard that the common destination has so many endpoints; returns when each
    /// did.
    ///
    /// # Errors
    /// When that takes too long.
    pub(super) async fn all_heard(&mut self, endpoints: usize) -> anyhow::Result<Vec<Instant>> {
        let mut heard = HashMap::new();
        let all = async {
            while heard.len() < self.count {
                match self.seen.recv().await.context("no stream runs")? {
                    Seen::Endpoints { stream, count, at } if count == endpoints => {
                        heard.entry(stream).or_insert(at);
                    }
                    _ => {}
                }
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, all).await.context("not every stream has heard of a change")??;
        Ok(heard.into_values().collect())
    }

    /// What was seen until now does not count: their streams have ended.
    pub(super) fn begin_anew(&mut self) {
        while self.seen.try_recv().is_ok() {}
    }
}

/// The first Service, and some of the others.
fn followed(services: &[SocketAddr], number: usize) -> Vec<String> {
    let others = services.len() - 1;
    let some = (0..FOLLOWED - 1).map(|place| 1 + (number * (FOLLOWED - 1) + place) % others);
    std::iter::once(0).chain(some).map(|at| services[at].to_string()).collect()
}

impl Sidecar {
    async fn run(self) {
        let mut wait = SOONEST;
        loop {
            if self.stream(&mut wait).await.is_ok() {
                return;
            }
            // Not all at once, as sidecars do: chance is as good as any spread here.
            let spread = f64::from(u32::try_from(self.number % 100).unwrap_or_default()) / 100.0;
            sleep(wait + wait.mul_f64(spread)).await;
            wait = (wait * 2).min(LATEST);
        }
    }

    /// Ends without an error once nobody listens.
    async fn stream(&self, wait: &mut Duration) -> anyhow::Result<()> {
        let mut stream = Stream::open(self.address, Some(&self.credentials), &self.pod).await?;
        stream.follow(&self.destinations).await?;
        let mut missing: HashSet<&String> = self.destinations.iter().collect();
        loop {
            let answers = stream.next().await?;
            *wait = SOONEST;
            let at = Instant::now();
            for answer in answers {
                let (stream, count) = (self.number, answer.endpoints.len());
                let was_last = missing.remove(&answer.destination) && missing.is_empty();
                let is_common = answer.destination == self.destinations[0];
                let common = is_common.then_some(Seen::Endpoints { stream, count, at });
                let last = was_last.then_some(Seen::Answered(stream));
                if common.into_iter().chain(last).any(|seen| self.to.send(seen).is_err()) {
                    return Ok(());
                }
            }
        }
    }
}
