//! A soak: weeks of a sidecar's life in minutes, on loopback, and nothing left behind.
//!
//! An inbound sidecar stands before an `application`, an outbound one before the inbound one; both are
//! as they are released. Good clients (`client`) come through either at the rates of `load`, beside
//! strangers (`stranger`) and `faults`. A good client may fail only if it met a fault (`weather`). What
//! was seen of both sidecars before, after a first minute and at the end is judged by `verdict`.
//! `attacks` is another one: what good clients notice while strangers do their worst.

mod application;
pub mod attacks;
mod client;
mod faults;
mod load;
mod sidecar;
mod site;
mod stranger;
mod verdict;
mod weather;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::bench::process::{machine, released};
use application::Application;
use client::Door;
use load::{Load, Tally};
use sidecar::{Seen, Sidecar};
use site::Site;
use verdict::Times;
use weather::Weather;

const MINUTE: Duration = Duration::from_secs(60);

/// How long, and how much.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// For how many minutes, after a first one that is not judged.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// New mutual connections a second; a fourth as many come through the outbound sidecar.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// A sidecar that is built already.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Soaks, and says what is wrong.
///
/// # Errors
/// When anything is.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let program = match &options.program {
        Some(program) => program.clone(),
        None => released("countersign-sidecar")?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let site = Arc::new(Site::new()?);
    let complaints = runtime.block_on(async {
        let soak = Soak::start(site.clone(), program, options.rate).await?;
        tokio::select! {
            swapped = faults::swap(site.clone()) => bail!("{swapped:?}"),
            complaints = soak.run(options.minutes) => complaints,
            interrupted = told_to_end() => bail!("{interrupted:?}"),
        }
    })?;
    if complaints.is_empty() {
        println!("nothing was left behind");
        std::fs::remove_dir_all(&site.folder).context("removing what was written")?;
        return Ok(());
    }
    bail!("{}\nlogs: {}", complaints.join("\n"), site.folder.display())
}

/// What was started ends with this program, however it ends.
async fn told_to_end() -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
    Ok("told to end")
}

struct Soak {
    application: Application,
    sidecars: Vec<Sidecar>,
    load: Arc<Load>,
    since: Instant,
}

impl Soak {
    async fn start(site: Arc<Site>, program: PathBuf, rate: u32) -> anyhow::Result<Self> {
        let application = Application::start(site::port()?).await?;
        let folder = site.credentials();
        let credentials = ["--credentials", folder.to_str().context("a strange folder")?];
        let to = application.address.to_string();
        let args = [credentials[0], credentials[1], "--to", &to];
        let inbound = Sidecar::start("inbound", &program, &site.folder, &args).await?;
        let to = inbound.listen.to_string();
        let args = [credentials[0], credentials[1], "--to", &to, "--peer", site::WHO];
        let outbound = Sidecar::start("outbound", &program, &site.folder, &args).await?;
        let load = Arc::new(Load {
            mutual: Door::Mutual(inbound.listen, site.client(true)?),
            plain: Door::Plain(outbound.listen),
            strangers: (inbound.listen, site.client(false)?),
            rate,
            weather: Arc::new(Weather::default()),
            tally: Mutex::new(Tally::default()),
        });
        let since = Instant::now();
        println!("soak: {}", machine());
        println!(
            "{:>12} {:>8}   {:>11} {:>9} {:>5} {:>9} {:>9}   (served, cut, met a fault, failed)",
            "", "", "descriptors", "memory kB", "live", "opened", "refused"
        );
        Ok(Self { application, sidecars: vec![inbound, outbound], load, since })
    }

    async fn run(mut self, minutes: u64) -> anyhow::Result<Vec<String>> {
        let at_the_start = self.look("start").await?;
        self.minutes(1).await?;
        let after_a_minute = self.rest().await?;
        self.minutes(minutes).await?;
        let at_the_end = self.rest().await?;
        let seconds = self.since.elapsed().as_secs();
        let seen = at_the_start.into_iter().zip(after_a_minute).zip(at_the_end);
        let mut complaints = verdict::of_clients(&self.load.lock());
        for (sidecar, ((at_the_start, after_a_minute), at_the_end)) in
            self.sidecars.iter().zip(seen)
        {
            let times = Times { at_the_start, after_a_minute, at_the_end };
            complaints.extend(verdict::complaints(sidecar.name, &times, seconds));
        }
        self.application.goes().await;
        for sidecar in self.sidecars {
            sidecar.stop().await?;
        }
        Ok(complaints)
    }

    /// So many minutes of load, with faults; each is looked at while its load goes on.
    async fn minutes(&mut self, minutes: u64) -> anyhow::Result<()> {
        let until = Instant::now() + MINUTE * u32::try_from(minutes)?;
        let load = self.load.clone();
        let loading = tokio::spawn(async move { load.run(until).await });
        for minute in 1..=minutes {
            let weather = self.load.weather.clone();
            faults::minute(&mut self.application, &self.sidecars, &weather).await?;
            self.look(&format!("load {minute}")).await?;
        }
        loading.await.context("the load")
    }

    /// A minute in which nobody comes.
    async fn rest(&mut self) -> anyhow::Result<Vec<Seen>> {
        sleep(MINUTE).await;
        self.look("idle").await
    }

    async fn look(&mut self, when: &str) -> anyhow::Result<Vec<Seen>> {
        let mut all = Vec::new();
        for sidecar in &mut self.sidecars {
            let seen = sidecar.seen().await?;
            let sum = |name| seen.sum(name);
            println!(
                "{when:>12} {:>8}   {:>11} {:>9.0} {:>5} {:>9} {:>9}",
                sidecar.name,
                seen.descriptors,
                seen.memory,
                sum("countersign_sidecar_connections"),
                sum("countersign_sidecar_connections_opened_total"),
                sum("countersign_sidecar_refusals_total"),
            );
            all.push(seen);
        }
        let tally = self.load.lock();
        println!(
            "{:>12} {:>8}   ({}, {}, {}, {})",
            "",
            "clients",
            tally.served(),
            tally.cut,
            tally.excused,
            tally.failures
        );
        Ok(all)
    }
}
