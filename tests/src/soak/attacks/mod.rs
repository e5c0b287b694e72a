//! Attacks on a sidecar, and what good clients notice of them.
//!
//! A first minute without attackers says how long a good client takes. Then all attacks run together:
//! strangers that hold connections, a flood of handshakes that come to nothing, as many connections as use
//! up a small limit of descriptors, and a log that is read no more. Good clients come at the same rate
//! throughout. Not one of them may fail, and their 99th percentile may at most double.

mod good;
mod strangers;
mod verdict;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::{Instant, interval};

use self::good::{Good, Phase};
use self::strangers::{Attack, Strangers};
use self::verdict::Figures;
use super::application::Application;
use super::client::Door;
use super::sidecar::{Handicap, Sidecar};
use super::site::{self, Site};
use super::told_to_end;
use crate::bench::process::{machine, released};

const MINUTE: Duration = Duration::from_secs(60);

/// The limit of descriptors of a sidecar whose descriptors are attacked: the usual one of a login shell.
const DESCRIPTORS: u32 = 1024;

/// How long, how much, and by whom.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// For how many minutes, after a first one without attackers.
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// New connections of good clients a second; a fourth as many come through the outbound sidecar.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// Leave an attack out; may be given several times.
    #[arg(long, value_enum, value_name = "ATTACK")]
    without: Vec<Attack>,
    /// A sidecar that is built already.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Attacks, and says what good clients noticed.
///
/// # Errors
/// When it was too much.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let program = match &options.program {
        Some(program) => program.clone(),
        None => released("countersign-sidecar")?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let site = Site::new()?;
    let complaints = runtime.block_on(async {
        tokio::select! {
            complaints = attack(&site, options, program) => complaints,
            interrupted = told_to_end() => bail!("{interrupted:?}"),
        }
    })?;
    if complaints.is_empty() {
        println!("good clients noticed nothing");
        std::fs::remove_dir_all(&site.folder).context("removing what was written")?;
        return Ok(());
    }
    bail!("{}\nlogs: {}", complaints.join("\n"), site.folder.display())
}

async fn attack(site: &Site, options: &Options, program: PathBuf) -> anyhow::Result<Vec<String>> {
    let attacks: Vec<Attack> =
        Attack::ALL.into_iter().filter(|attack| !options.without.contains(attack)).collect();
    let mut application = Application::start(site::port()?).await?;
    let mut sidecars = sidecars(site, &application, &program, &attacks).await?;
    let (inbound, outbound) = (sidecars[0].listen, sidecars[1].listen);
    let doors = [Door::Mutual(inbound, site.client(true)?), Door::Plain(outbound)];
    println!("soak with attacks: {}; {attacks:?}", machine());
    println!("{}", Figures::HEADING);
    let good = Arc::new(Good::new(doors, options.rate));
    let mut all = vec![];
    let calm = minute(&good, &mut sidecars, "calm").await?;
    println!("{calm}");
    let strangers = Strangers::start(&attacks, inbound, &site.client(false)?)?;
    if attacks.contains(&Attack::Log) {
        sidecars.iter().for_each(Sidecar::stop_reading_log);
    }
    for number in 1..=options.minutes {
        let figures = minute(&good, &mut sidecars, &format!("attacks {number}")).await?;
        println!("{figures}   {}", strangers.done());
        all.push(figures);
    }
    drop(strangers);
    application.goes().await;
    for sidecar in sidecars {
        sidecar.stop().await?;
    }
    Ok(verdict::complaints(&calm, &all))
}

async fn sidecars(
    site: &Site,
    application: &Application,
    program: &std::path::Path,
    attacks: &[Attack],
) -> anyhow::Result<Vec<Sidecar>> {
    let folder = site.credentials();
    let folder = folder.to_str().context("a strange folder")?;
    let is = |attack| attacks.contains(&attack);
    let handicap = Handicap {
        descriptors: is(Attack::Descriptors).then_some(DESCRIPTORS),
        has_log_reader: is(Attack::Log),
    };
    let to = application.address.to_string();
    let args = ["--credentials", folder, "--to", &to];
    let inbound = Sidecar::start_with(handicap, "inbound", program, &site.folder, &args).await?;
    let to = inbound.listen.to_string();
    let args = ["--credentials", folder, "--to", &to, "--peer", site::WHO];
    let handicap = Handicap { descriptors: None, ..handicap };
    let outbound = Sidecar::start_with(handicap, "outbound", program, &site.folder, &args).await?;
    Ok(vec![inbound, outbound])
}

/// One minute of good clients, and what they saw.
async fn minute(good: &Arc<Good>, sidecars: &mut [Sidecar], when: &str) -> anyhow::Result<Figures> {
    let phase = Phase::default();
    let until = Instant::now() + MINUTE;
    good.clone().run(&phase, until).await;
    let mut memory: f64 = 0.0;
    let mut descriptors = 0;
    for sidecar in sidecars {
        let seen = sidecar.seen().await?;
        memory = memory.max(seen.memory);
        descriptors = descriptors.max(seen.descriptors);
    }
    Ok(Figures::new(when, phase.take(), memory, descriptors))
}

/// A steady beat that does not make up for what it missed.
fn beat(period: Duration) -> tokio::time::Interval {
    let mut beat = interval(period);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    beat
}
