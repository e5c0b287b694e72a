//! Many Certificates at once: how long until the last is Ready, what the operator takes for it, and
//! what it writes.

use std::time::{Duration, Instant};

use super::super::counters::{Counters, Kind};
use super::program::Operator;
use super::site::{GROUP, Site, path_of};
use super::watch::Watch;

/// What a burst took.
#[derive(Clone, Debug)]
pub(super) struct Burst {
    /// From just before the first request until the last Certificate was seen to be Ready.
    pub(super) time: Duration,
    /// The operator's time of the processor, until it had nothing to do any more: Events are
    /// written behind the work.
    pub(super) cpu: Duration,
    /// That of the API server meanwhile, whoever asked it.
    pub(super) api_server: Duration,
    /// What others than the bench wrote.
    pub(super) written: Counters,
}

/// Creates Certificates in a new namespace.
///
/// # Errors
/// When one does not become Ready.
pub(super) async fn create(
    site: &Site,
    operator: &Operator,
    ns: &str,
    count: usize,
) -> anyhow::Result<Burst> {
    println!("{count} Certificates at once");
    site.namespace(ns).await?;
    let own = Kind::new("POST", GROUP, "certificates");
    measured(site, operator, (ns, count, 1), own, site.make_certificates(ns, count)).await
}

/// Has the Certificates of a namespace renewed that were issued once.
///
/// # Errors
/// When one is not renewed.
pub(super) async fn renew(
    site: &Site,
    operator: &Operator,
    ns: &str,
    count: usize,
) -> anyhow::Result<Burst> {
    println!("{count} renewals at once");
    let own = Kind::new("PATCH", GROUP, "certificates/status");
    measured(site, operator, (ns, count, 2), own, site.renew_certificates(ns, count)).await
}

async fn measured(
    site: &Site,
    operator: &Operator,
    (ns, count, revision): (&str, usize, u64),
    own: Kind,
    asking: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Burst> {
    let mut watch = Watch::of(site.client(), path_of(ns, "certificates")).await?;
    operator.settled().await?;
    let (before, cpu) = (site.counters().await?, operator.cpu()?);
    let api_server = site.api_server_cpu()?;
    let start = Instant::now();
    let ((), last) = tokio::try_join!(asking, watch.all_ready(count, revision))?;
    let settled = operator.settled().await?;
    let api_server = site.api_server_cpu()? - api_server;
    let written = site.counters().await?.since(&before).without(&own, count as u64);
    let burst = Burst { time: last - start, cpu: settled.cpu - cpu, api_server, written };
    println!("  all Ready after {:.1} s; {}", burst.time.as_secs_f64(), burst.each(count));
    println!("  written: {}", burst.written);
    Ok(burst)
}

impl Burst {
    /// The operator's CPU for each of so many, in milliseconds.
    pub(super) fn cpu_each(&self, count: usize) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / count as f64
    }

    /// What each of so many took.
    pub(super) fn each(&self, count: usize) -> String {
        let api_server = self.api_server.as_secs_f64() * 1e3 / count as f64;
        format!("CPU each: operator {:.2} ms, API server {api_server:.1} ms", self.cpu_each(count))
    }
}
