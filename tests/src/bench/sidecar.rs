//! What the sidecar costs on this machine: memory, time to ready, CPU time per mutual handshake.
//!
//! CPU time is the sidecar's own, user and system; the load is `openssl s_time`, so that neither
//! figure depends on how fast the client is.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

use super::process::{cpu, memory, released};
use super::statistics::{median, range};

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

/// Measures the sidecar and prints its table.
///
/// # Errors
/// When it does not build, or does not serve.
pub fn run() -> anyhow::Result<()> {
    let sidecar = released("countersign-sidecar")?;
    let folder = std::env::temp_dir().join(format!("countersign-bench-{}", std::process::id()));
    credentials(&folder)?;
    let runs: anyhow::Result<Vec<_>> = (0..RUNS).map(|_| measure(&sidecar, &folder)).collect();
    fs::remove_dir_all(&folder)?;
    let runs = runs?;
    let row = |what: &str, unit: &str, figure: fn(&Figures) -> f64| {
        let values: Vec<f64> = runs.iter().map(figure).collect();
        if let (Some(middle), Some((least, most))) = (median(&values), range(&values)) {
            println!("{what:<44} {middle:>9.1} {unit}   ({least:.1} to {most:.1})");
        }
    };
    println!("sidecar, medians of {RUNS} runs of {SECONDS} s (least to most)");
    row("from start to ready", "ms", |run| run.ready_ms);
    row("memory, idle", "MB", |run| run.idle_mb);
    row("CPU per new mutual TLS 1.3 handshake", "µs", |run| run.handshake_us);
    row("handshakes in a run", "", |run| run.handshakes);
    Ok(())
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
    let idle_mb = memory(child.id())?.resident;
    let before = cpu(child.id())?;
    let output = Command::new("openssl")
        .args(["s_time", "-new", "-tls1_3", "-connect", listen, "-time", SECONDS])
        .arg("-cert")
        .arg(folder.join("tls.crt"))
        .arg("-key")
        .arg(folder.join("tls.key"))
        .arg("-CAfile")
        .arg(folder.join("ca.crt"))
        .output()?;
    let spent = (cpu(child.id())? - before).as_secs_f64() * 1e6;
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
