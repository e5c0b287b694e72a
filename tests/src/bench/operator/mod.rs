//! The operator's figures, on a control plane of their own: the released program with the chart's
//! rights, one measurement after the other, so that nobody else writes meanwhile.
//!
//! `site` is the control plane, `program` the operator, `watch` what users see; `latency`, `burst`,
//! `request`, `standing` and, on another control plane, `discovery` measure; `rows` says what must be
//! reached. `attacks` is a soak: what good clients notice while strangers do their worst.

#![expect(clippy::cast_precision_loss, reason = "what is counted here is far below 2^52")]

pub mod attacks;
mod burst;
mod discovery;
mod latency;
mod program;
mod request;
mod rows;
mod site;
mod standing;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::process::{machine, released};
use super::table::{Bar, Table};
use program::Operator;
use rows::{Figure, Found};
use site::Site;

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Measurement {
    /// One Certificate after the other.
    Latency,
    /// A thousand at once: time, CPU and writes, and those of their renewal.
    Burst,
    /// What somebody must approve.
    Request,
    /// Ten thousand at once.
    Scale,
    /// Memory, and what unrelated Secrets add.
    Memory,
    /// A restart with ten thousand.
    Restart,
    /// Nothing to do.
    Idle,
    /// Many pods, and many sidecars that ask.
    Discovery,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// A tenth of everything, to see whether it works; the bars are for the whole.
    pub quick: bool,

    /// Measure this alone.
    pub only: Option<Measurement>,

    /// The program to be measured, instead of the one that is released.
    pub program: Option<PathBuf>,
}

impl Options {
    fn wants(&self, measurements: &[Measurement]) -> bool {
        self.only.is_none_or(|only| measurements.contains(&only))
    }
}

/// How much of everything.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    in_turn: usize,
    burst: usize,
    requests: usize,
    standing: usize,
    foreign: usize,
    idle_seconds: usize,
    discovery: discovery::Sizes,
}

const WHOLE: Sizes = Sizes {
    in_turn: 200,
    burst: 1_000,
    requests: 100,
    standing: 10_000,
    foreign: 10_000,
    idle_seconds: 120,
    discovery: discovery::Sizes {
        pods: 5_000,
        streams: 1_000,
        lookups: 50_000,
        changes: 20,
        idle_seconds: 60,
    },
};

const QUICK: Sizes = Sizes {
    in_turn: 20,
    burst: 100,
    requests: 10,
    standing: 1_000,
    foreign: 1_000,
    idle_seconds: 12,
    discovery: discovery::Sizes {
        pods: 500,
        streams: 100,
        lookups: 5_000,
        changes: 4,
        idle_seconds: 6,
    },
};

/// Measures the operator, prints its table, and writes it to `target/bench/operator.json`.
///
/// # Errors
/// When something cannot be measured. A bar that is missed is no error: the table says so.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let given = options.program.clone();
    let program = given.map_or_else(|| released("countersign-operator"), Ok)?;
    let head = format!("operator, on {}", machine());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let (folder, mut found) = runtime.block_on(measured(&program, options))?;
    found.sort_by_key(|found| found.of);
    let rows = found.into_iter().map(|found| found.row).collect();
    let mut table = Table { head: vec![head], rows, foot: vec![rows::PEER.to_owned()] };
    if options.quick {
        table.head.push("a tenth of everything: the bars are for the whole".to_owned());
    }
    println!("\n{table}");
    let path = folder.join("operator.json");
    std::fs::write(&path, as_json(&table)).with_context(|| format!("{}", path.display()))
}

async fn measured(program: &Path, options: &Options) -> anyhow::Result<(PathBuf, Vec<Found>)> {
    let sizes = if options.quick { QUICK } else { WHOLE };
    let (mut found, mut folder) = (Vec::new(), PathBuf::new());
    if options.only != Some(Measurement::Discovery) {
        let site = start().await?;
        let measured = on_site(program, &site, options, sizes).await;
        folder.clone_from(&site.folder);
        site.stop()?;
        found.extend(measured?);
    }
    if options.wants(&[Measurement::Discovery]) {
        let site = start().await?;
        let measured = discovery::measure(program, &site, sizes.discovery).await;
        folder.clone_from(&site.folder);
        site.stop()?;
        found.extend(measured?);
    }
    Ok((folder, found))
}

async fn start() -> anyhow::Result<Site> {
    println!("starting etcd and the API server");
    Site::start().await
}

/// Everything that is wanted, one after the other.
async fn on_site(
    program: &Path,
    site: &Site,
    options: &Options,
    sizes: Sizes,
) -> anyhow::Result<Vec<Found>> {
    use Measurement::{Burst, Idle, Latency, Memory, Request, Restart, Scale};
    let mut found = Vec::new();
    let operator = Operator::start(program, site, &[]).await?;
    site.make_authority()?;
    let before = site.counters().await?;
    if options.wants(&[Latency]) {
        found.extend(latency::measure(site, sizes.in_turn).await?);
    }
    let burst = if options.wants(&[Burst, Scale]) {
        Some(thousand(site, &operator, sizes.burst, &mut found).await?)
    } else {
        None
    };
    operator.stop().await?;
    if options.wants(&[Request]) {
        let asking = Operator::start(program, site, &["--auto-approval=false"]).await?;
        found.extend(request::measure(site, &asking, sizes.requests).await?);
        asking.stop().await?;
    }
    if options.wants(&[Scale, Memory, Restart, Idle]) {
        found.extend(standing(program, site, options, sizes, burst).await?);
    }
    let conflicts = site.counters().await?.since(&before).conflicts;
    found.push(Figure::Conflicts.row(conflicts as f64, 0, ""));
    Ok(found)
}

/// A burst, and the renewal of all that it brought.
async fn thousand(
    site: &Site,
    operator: &Operator,
    count: usize,
    found: &mut Vec<Found>,
) -> anyhow::Result<Duration> {
    let first = burst::create(site, operator, "burst", count).await?;
    let renewed = burst::renew(site, operator, "burst", count).await?;
    let note = format!("{}; of renewals: {}", first.each(count), renewed.each(count));
    let renewal = renewed.written.to_string();
    let renewal_time = format!("their renewal: {:.1} s", renewed.time.as_secs_f64());
    found.extend([
        Figure::Burst.row(first.time.as_secs_f64(), count, renewal_time),
        Figure::CpuEach.row(first.cpu_each(count), count, note),
        Figure::WritesFirst.row(first.written.per(count), count, first.written.to_string()),
        Figure::WritesRenewal.row(renewed.written.per(count), count, renewal),
    ]);
    Ok(first.time)
}

/// Everything with many Certificates that stand there, and none beside them.
async fn standing(
    program: &Path,
    site: &Site,
    options: &Options,
    sizes: Sizes,
    burst: Option<Duration>,
) -> anyhow::Result<Vec<Found>> {
    let Sizes { standing: count, foreign, idle_seconds, .. } = sizes;
    let mut found = Vec::new();
    site.clear(&["latency", "burst", "request"]).await?;
    let operator = Operator::start(program, site, &[]).await?;
    let great = burst::create(site, &operator, "standing", count).await?;
    if let Some(burst) = burst {
        found.push(great_burst(&great, burst, sizes));
    }
    found.push(standing::memory(&operator, count)?);
    let mut restarted = standing::restart(program, site, operator).await?;
    found.extend(restarted.rows(count));
    if options.wants(&[Measurement::Memory]) {
        let (after, rows) = standing::foreign_secrets(program, site, restarted, foreign).await?;
        restarted = after;
        found.extend(rows);
    }
    if options.wants(&[Measurement::Idle]) {
        found.extend(standing::idle(site, &restarted.operator, idle_seconds).await?);
    }
    restarted.operator.stop().await?;
    Ok(found)
}

/// Ten times as many may take ten times as long, and a fifth more.
fn great_burst(great: &burst::Burst, burst: Duration, sizes: Sizes) -> Found {
    let times = sizes.standing as f64 / sizes.burst as f64;
    let (time, burst) = (great.time.as_secs_f64(), burst.as_secs_f64());
    let note = format!("{:.1} times as long; {}", time / burst, great.each(sizes.standing));
    let mut found = Figure::GreatBurst.row(time, sizes.standing, note);
    found.row.bar = Bar::Under(burst * times * 1.2);
    found
}

/// The table for programs.
fn as_json(table: &Table) -> String {
    let rows = table.rows.iter().map(|row| {
        let (Bar::Under(bar) | Bar::AtMost(bar)) = row.bar;
        json!({
            "what": row.what.trim(), "figure": row.figure, "unit": row.unit, "bar": bar,
            "reached": !row.misses(), "cert-manager": row.peer, "note": row.note,
        })
    });
    let rows: Vec<_> = rows.collect();
    format!("{:#}\n", json!({ "head": table.head, "rows": rows }))
}
