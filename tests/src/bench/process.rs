//! The programs as they are released, and what the kernel counts about a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::cluster::repository;

/// Builds the programs as the image has them.
///
/// # Errors
/// When they do not build.
pub fn released(program: &str) -> anyhow::Result<PathBuf> {
    println!("building {program}, optimised");
    let script = repository().join("tests/cluster/images/programs.sh");
    let built = Command::new("bash").arg(script).current_dir(repository()).output();
    let built = built.context("starting bash")?;
    let said = String::from_utf8_lossy(&built.stderr);
    ensure!(built.status.success(), "{program} does not build: {said}");
    Ok(repository().join(String::from_utf8_lossy(&built.stdout).trim()).join(program))
}

/// User and system time of a process, from its clock ticks of 10 ms (proc(5)). Linux scales both so
/// that their sum is the time that the scheduler counted: it is late by a tick, and never off.
///
/// # Errors
/// When there is no such process.
pub fn cpu(id: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{id}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let ticks = fields.get(11..13).context("a process's times")?;
    let ticks: u64 = ticks.iter().map(|ticks| ticks.parse().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// The memory of a process, in megabytes of 1,000,000 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// What it holds now (VmRSS).
    pub resident: f64,
    /// The most that it ever held (VmHWM).
    pub most: f64,
}

/// What a process holds in memory.
///
/// # Errors
/// When there is no such process.
pub fn memory(id: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{id}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let megabytes = |name: &str| -> anyhow::Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().context("a size")?;
        Ok(kilobytes * 1024.0 / 1e6)
    };
    Ok(Memory { resident: megabytes("VmRSS:")?, most: megabytes("VmHWM:")? })
}

/// Which machine this is, and how busy, in a line.
#[must_use]
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(Path::new(path)).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let models =
        cpuinfo.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let models: Vec<&str> = models.map(|(_, model)| model).collect();
    let model = models.first().copied().unwrap_or("of an unknown model");
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("unknown").to_owned();
    format!("{} cores {model}, Linux {}, load at the start {load}", models.len(), kernel.trim())
}
