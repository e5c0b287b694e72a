//! Discovery's figures: what a mesh of many pods and many streams costs one replica, and how soon its
//! streams hear of a change.
//!
//! `population` makes the objects, `sidecars` are the streams, `lookups` asks as fast as it is answered.

mod lookups;
pub(super) mod population;
mod sidecars;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::super::statistics::percentile;
use super::program::Operator;
use super::rows::{Figure, Found};
use super::site::Site;
use population::Population;
use sidecars::Sidecars;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) pods: usize,
    pub(super) streams: usize,
    pub(super) lookups: usize,
    pub(super) changes: usize,
    pub(super) idle_seconds: usize,
}

/// So many endpoints has each Service.
const ENDPOINTS: usize = 5;

/// So many destinations does a sidecar follow; the first is the same for all.
const FOLLOWED: usize = 20;

/// Measures on a control plane that has nothing else on it.
///
/// # Errors
/// When something cannot be made, or is not answered.
pub(super) async fn measure(
    program: &Path,
    site: &Site,
    sizes: Sizes,
) -> anyhow::Result<Vec<Found>> {
    let operator = Operator::start(program, site, &[]).await?;
    site.make_authority()?;
    let operator = restarted(program, site, operator).await?;
    let (mut found, empty) = (Vec::new(), operator.memory()?.resident);
    println!("{} pods, and a Service for each {ENDPOINTS}", sizes.pods);
    let population = Population::make(site, sizes.pods).await?;
    operator.settled().await?;
    let added = operator.memory()?.resident - empty;
    found.push(Figure::MeshRunning.row(added, sizes.pods, ""));
    let operator = restarted(program, site, operator).await?;
    let added = operator.memory()?.resident - empty;
    found.push(Figure::MeshRestarted.row(added, sizes.pods, ""));
    found.extend(streams(program, site, operator, &population, sizes).await?);
    Ok(found)
}

async fn restarted(program: &Path, site: &Site, before: Operator) -> anyhow::Result<Operator> {
    let address = before.discovery;
    before.stop().await?;
    let operator = Operator::start_at(program, site, &[], address).await?;
    operator.settled().await?;
    Ok(operator)
}

/// What streams cost, and what they hear.
async fn streams(
    program: &Path,
    site: &Site,
    operator: Operator,
    population: &Population,
    sizes: Sizes,
) -> anyhow::Result<Vec<Found>> {
    println!("{} streams", sizes.streams);
    let before = operator.memory()?.resident;
    let mut sidecars = Sidecars::start(operator.discovery, population, sizes.streams)?;
    sidecars.all_answered().await?;
    operator.settled().await?;
    let each = (operator.memory()?.resident - before) * 1000.0 / sizes.streams as f64;
    let mut found = vec![Figure::StreamMemory.row(each, sizes.streams, "")];
    found.push(idle(&operator, sizes.idle_seconds).await?);
    found.push(lookups::measure(&operator, population, sizes.lookups).await?);
    found.extend(changes(site, &mut sidecars, population, sizes).await?);
    found.extend(restart(program, site, operator, &mut sidecars, sizes.streams).await?);
    Ok(found)
}

async fn idle(operator: &Operator, seconds: usize) -> anyhow::Result<Found> {
    println!("{seconds} s idle, but for the streams");
    let before = operator.cpu()?;
    tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    let spent = operator.cpu()? - before;
    let percent = spent.as_secs_f64() / seconds as f64 * 100.0;
    Ok(Figure::StreamIdle.row(percent, seconds, format!("{} ms", spent.as_millis())))
}

/// Changes the Service that every stream follows, and waits each time until the last one has heard.
async fn changes(
    site: &Site,
    sidecars: &mut Sidecars,
    population: &Population,
    sizes: Sizes,
) -> anyhow::Result<Vec<Found>> {
    println!("{} changes of one Service", sizes.changes);
    let (mut all, mut lasts) = (Vec::new(), Vec::new());
    for number in 0..sizes.changes {
        // One endpoint less, and then all again.
        let endpoints = ENDPOINTS - (number + 1) % 2;
        let changed = Instant::now();
        population.change(site, endpoints).await?;
        let heard = sidecars.all_heard(endpoints).await?;
        let after = heard.iter().map(|heard| heard.duration_since(changed).as_secs_f64() * 1e3);
        let after: Vec<f64> = after.collect();
        lasts.push(percentile(&after, 100).context("nobody heard")?);
        all.extend(after);
    }
    let of = |share| percentile(&all, share).context("nobody heard");
    let last = percentile(&lasts, 50).context("nobody heard")?;
    let note = format!("{:.0} ms at worst", percentile(&lasts, 100).unwrap_or_default());
    Ok(vec![
        Figure::ChangeMedian.row(of(50)?, sizes.streams, ""),
        Figure::ChangeWorst.row(of(99)?, sizes.streams, ""),
        Figure::ChangeLast.row(last, sizes.streams, note),
    ])
}

/// Ends the operator, and starts another where it was: every stream comes back as a sidecar's does.
async fn restart(
    program: &Path,
    site: &Site,
    operator: Operator,
    sidecars: &mut Sidecars,
    streams: usize,
) -> anyhow::Result<Vec<Found>> {
    println!("a restart with {streams} streams");
    let address = operator.discovery;
    operator.stop().await?;
    sidecars.begin_anew();
    let started = Instant::now();
    let operator = Operator::start_at(program, site, &[], address).await?;
    sidecars.all_answered().await?;
    let after = started.elapsed();
    let cpu = operator.cpu()?;
    let settled = operator.settled().await?;
    let note = format!("{:.2} s until it rests", settled.cpu.as_secs_f64());
    operator.stop().await?;
    Ok(vec![
        Figure::StreamsBack.row(after.as_secs_f64(), streams, ""),
        Figure::StreamsBackCpu.row(cpu.as_secs_f64(), streams, note),
    ])
}
