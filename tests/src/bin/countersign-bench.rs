//! What the sidecar costs on this machine: memory, time to ready, CPU time per mutual handshake.
//!
//! CPU time is the sidecar's own, user and system, from /proc; the load is `openssl s_time`, so
//! that neither figure depends on how fast the client is.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use countersign_tests::cluster::repository;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// How often everything is measured; the median is shown.
const RUNS: usize = 5;

/// How long each run lasts, in seconds.
const SECONDS: &str = "3";

struct Figures {
    ready_ms: f64,
    idle_mb: f64,
    handshake_us: f64,
    handshakes: f64,
}

fn main() -> anyhow::Result<()> {
    let sidecar = sidecar()?;
    let folder = std::env::temp_dir().join(format!("countersign-bench-{}", std::process::id()));
    credentials(&folder)?;
    let runs: anyhow::Result<Vec<_>> = (0..RUNS).map(|_| measure(&sidecar, &folder)).collect();
    fs::remove_dir_all(&folder)?;
    let runs = runs?;
    let row = |what: &str, unit: &str, figure: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (values[0], values[values.len() - 1]);
        println!("{what:<44} {:>9.1} {unit}   ({least:.1} to {most:.1})", values[values.len() / 2]);
    };
    println!("sidecar, medians of {RUNS} runs of {SECONDS} s (least to most)");
    row("from start to ready", "ms", |run| run.ready_ms);
    row("memory, idle", "MB", |run| run.idle_mb);
    row("CPU per new mutual TLS 1.3 handshake", "µs", |run| run.handshake_us);
    row("handshakes in a run", "", |run| run.handshakes);
    Ok(())
}

/// The optimised program of the image.
fn sidecar() -> anyhow::Result<std::path::PathBuf> {
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--release", "-p", "countersign-sidecar"])
        .current_dir(repository())
        .status()?;
    ensure!(status.success(), "the sidecar does not build");
    Ok(repository().join("target/release/countersign-sidecar"))
}

/// An authority and one leaf of it, for both sides.
fn credentials(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "bench root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = Issuer::new(params.clone(), KeyPair::generate()?);
    fs::write(folder.join("ca.crt"), params.self_signed(root.key())?.pem())?;
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned()])?;
    leaf.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    fs::write(folder.join("tls.crt"), leaf.signed_by(&key, &root)?.pem())?;
    fs::write(folder.join("tls.key"), key.serialize_pem())?;
    Ok(())
}

fn measure(program: &Path, folder: &Path) -> anyhow::Result<Figures> {
    let app = TcpListener::bind("127.0.0.1:0")?;
    let to = app.local_addr()?;
    // The application closes what it accepts: only the handshake is measured.
    let _app = std::thread::spawn(move || app.incoming().for_each(drop));
    let (listen, admin) = (free()?, free()?);
    let log = folder.join("log");
    let mut child = Command::new(program)
        .args(["--log-format=json", "inbound", "--listen", &listen, "--to", &to.to_string()])
        .arg("--credentials")
        .arg(folder)
        .args(["--admin", &admin])
        .stdout(fs::File::create(&log)?)
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let figures = under_load(&child, folder, &log, &listen);
    child.kill()?;
    let _status = child.wait()?;
    figures
}

fn under_load(child: &Child, folder: &Path, log: &Path, listen: &str) -> anyhow::Result<Figures> {
    let started = std::time::Instant::now();
    let ready_ms = loop {
        let text = fs::read_to_string(log)?;
        let found = text.split_once("\"ready_ms\":").and_then(|(_, rest)| rest.split('}').next());
        if let Some(ready) = found {
            break ready.trim().parse()?;
        }
        ensure!(started.elapsed().as_secs() < 10, "the sidecar does not become ready");
        std::thread::yield_now();
    };
    let idle_mb = resident_mb(child.id())?;
    let before = cpu_us(child.id())?;
    let output = Command::new("openssl")
        .args(["s_time", "-new", "-tls1_3", "-connect", listen, "-time", SECONDS])
        .arg("-cert")
        .arg(folder.join("tls.crt"))
        .arg("-key")
        .arg(folder.join("tls.key"))
        .arg("-CAfile")
        .arg(folder.join("ca.crt"))
        .output()?;
    let spent = cpu_us(child.id())? - before;
    let text = String::from_utf8_lossy(&output.stdout);
    let handshakes: f64 = text
        .lines()
        .find_map(|line| {
            line.strip_suffix("read per connection")
                .or(Some(line))?
                .split(" connections in")
                .next()?
                .trim()
                .parse()
                .ok()
        })
        .with_context(|| format!("openssl s_time said: {text}"))?;
    ensure!(handshakes > 0.0, "openssl s_time made no handshake: {text}");
    Ok(Figures { ready_ms, idle_mb, handshake_us: spent / handshakes, handshakes })
}

fn free() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn resident_mb(id: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024.0 / 1e6)
}

/// User and system time of a process, from its clock ticks of 10 ms (proc(5)).
fn cpu_us(id: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let ticks: f64 = fields
        .get(11..13)
        .context("a process's times")?
        .iter()
        .map(|t| t.parse().unwrap_or(0.0))
        .sum();
    Ok(ticks * 10_000.0)
}
