//! The sidecar's figures beside those of its peers, in one run: each terminator alone on the first
//! core, load and backend on the second, one after the other, round after round.
//!
//! `site` is what all share, `peers` sets the programs up, `terminator` runs one, `load` is the load;
//! `handshakes`, `bulk`, `requests`, `memory`, `start` and `reload` measure, `floor` what nobody can
//! be below, and `rounds` calls them in turn; `figure` says what must be reached, `found` keeps, `report` and `plot` show it.

#![expect(clippy::cast_precision_loss, reason = "what is counted here is far below 2^52")]

mod bulk;
mod contender;
pub(super) mod cores;
mod credentials;
mod figure;
mod floor;
mod found;
mod handshakes;
mod load;
mod memory;
mod peers;
mod plot;
mod reload;
mod report;
mod requests;
mod rounds;
mod sightings;
mod site;
mod sizes;
mod start;
mod terminator;
mod usage;
mod volume;
mod window;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use super::process::{machine, released};
use crate::cluster::repository;
use found::Found;
use report::Report;
use site::Site;
use sizes::{QUICK, WHOLE};

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Measurement {
    /// New mutual handshakes.
    Handshakes,
    /// Bytes, as fast as they go.
    Bulk,
    /// Small requests at a steady rate.
    Requests,
    /// Memory, idle and with idle connections.
    Memory,
    /// Start and size.
    Start,
    /// Certificates replaced under load.
    Reload,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Two short runs, to see whether it works; the bars are for the whole.
    pub quick: bool,
    /// Measure this alone.
    pub only: Option<Measurement>,
    /// Draw the figures into this file.
    pub plot: Option<PathBuf>,
    /// Measure this program; the released one unless it is said.
    pub program: Option<PathBuf>,
    /// Measure no peer.
    pub alone: bool,
}

/// Measures the sidecar and its peers, prints the table, and writes it to
/// `target/bench/sidecar.json`.
///
/// # Errors
/// When something cannot be measured, or a connection fails. A bar that is missed is no error: the
/// table says so.
pub fn run(options: Options) -> anyhow::Result<()> {
    let built = || released("countersign-sidecar");
    let sidecar = options.program.clone().map_or_else(built, Ok)?;
    let sizes = if options.quick { QUICK } else { WHOLE };
    let machine = machine();
    let kept = cores::Kept::to_one_core()?;
    let mut site = Site::start(sidecar, sizes.strangers)?;
    site.programs.retain(|program| !(options.alone && program.contender.is_peer()));
    let found = rounds::run(&site, options.only, &sizes);
    drop(kept);
    let versions = site.programs.iter();
    let report = Report {
        head: head(&site, &options, &machine),
        versions: versions.map(|one| (one.contender.name(), one.version.clone())).collect(),
        foot: foot(&site, &found),
        found: &found,
    };
    println!("\n{report}");
    write(&report, &options)?;
    ensure!(found.failures.is_empty(), "not everything went well: {}", found.failures.join("; "));
    Ok(())
}

fn head(site: &Site, options: &Options, machine: &str) -> Vec<String> {
    let programs: Vec<String> = site
        .programs
        .iter()
        .map(|program| format!("{} {}", program.contender, program.version))
        .collect();
    let mut head = vec![
        format!("sidecar, on {machine}"),
        programs.join(", "),
        "terminator on core 0, load and backend on core 1; TLS 1.3, AES-128-GCM, ECDSA P-256; \
         medians, and below them the least and the greatest"
            .to_owned(),
    ];
    if options.quick {
        head.push("short runs: the bars are for the whole".to_owned());
    }
    head
}

fn foot(site: &Site, found: &Found) -> Vec<String> {
    let mut foot = site.missing.clone();
    let slow = found.not_saturated();
    if !slow.is_empty() {
        foot.push(
            "the terminator did not have its core busy, so that times of the clock do not hold:"
                .to_owned(),
        );
    }
    foot.extend(slow.iter().map(|row| format!("  {row}")));
    let failures = found.failures.iter().chain(&found.of_peers);
    foot.extend(failures.map(|failure| format!("FAILED: {failure}")));
    foot
}

fn write(report: &Report<'_>, options: &Options) -> anyhow::Result<()> {
    let folder = repository().join("target/bench");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let path = folder.join("sidecar.json");
    fs::write(&path, format!("{:#}\n", report.as_json()))
        .with_context(|| format!("writing {}", path.display()))?;
    if let Some(path) = &options.plot {
        fs::write(path, plot::svg(report.found))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
