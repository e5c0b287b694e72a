//! One sidecar as it is released, and what is seen of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::bench::process::memory;

/// What it may take to start, and to answer about itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// A sidecar that runs until this goes.
pub(super) struct Sidecar {
    pub(super) name: &'static str,
    pub(super) listen: SocketAddr,
    admin: SocketAddr,
    child: Child,
    id: u32,
}

/// What is seen of it at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) descriptors: usize,
    /// In kB.
    pub(super) memory: f64,
    /// By name, labels included.
    pub(super) metrics: BTreeMap<String, f64>,
}

impl Sidecar {
    /// Starts it with arguments of its own, and waits until it can serve.
    pub(super) async fn start(
        name: &'static str,
        program: &Path,
        folder: &Path,
        args: &[&str],
    ) -> anyhow::Result<Self> {
        let (listen, admin) = (super::site::port()?, super::site::port()?);
        let log = folder.join(format!("{name}.log"));
        let child = Command::new(program)
            .arg("--log-format=json")
            .arg(name)
            .args(["--listen", &listen.to_string(), "--admin", &admin.to_string()])
            .args(["--first-byte-timeout", "2s", "--handshake-timeout", "3s", "--workers", "2"])
            .args(args)
            .stdout(File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let id = child.id().context("it ended at once")?;
        let sidecar = Self { name, listen, admin, child, id };
        let started = Instant::now();
        while sidecar.get("/readyz").await.is_err() {
            ensure!(started.elapsed() < PATIENCE, "{name} is not ready after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(sidecar)
    }

    /// Numbers of the kernel's first: to be asked costs a descriptor.
    pub(super) async fn seen(&mut self) -> anyhow::Result<Seen> {
        ensure!(self.child.try_wait()?.is_none(), "{} ended", self.name);
        let memory = memory(self.id)?.resident * 1e3 / 1.024;
        let descriptors = self.descriptors()?;
        let text = self.get("/metrics").await.with_context(|| format!("asking {}", self.name))?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let metrics = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(Seen { descriptors, memory, metrics: metrics.collect() })
    }

    fn descriptors(&self) -> anyhow::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.id))?.count())
    }

    /// Leaves it as many descriptors as it has; what it could have before is returned.
    pub(super) fn starve(&self) -> anyhow::Result<Rlimit> {
        let limit = rustix::process::getrlimit(Resource::Nofile);
        let has = self.descriptors()? as u64;
        self.limit(Rlimit { current: Some(has), maximum: limit.maximum })
    }

    pub(super) fn limit(&self, limit: Rlimit) -> anyhow::Result<Rlimit> {
        let id = i32::try_from(self.id).ok().and_then(Pid::from_raw);
        prlimit(id, Resource::Nofile, limit).with_context(|| format!("limiting {}", self.name))
    }

    async fn get(&self, path: &str) -> anyhow::Result<String> {
        let asked = async {
            let mut stream = TcpStream::connect(self.admin).await?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            anyhow::Ok(answer)
        };
        let answer = tokio::time::timeout(PATIENCE, asked).await??;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer of HTTP")?;
        ensure!(head.split(' ').nth(1) == Some("200"), "{path}: {head}");
        Ok(body.to_owned())
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("ending {}", self.name))
    }
}

impl Seen {
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.labelled(name).map(|(_, value)| value).sum()
    }

    /// The values of one metric, by their labels.
    pub(super) fn labelled<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.metrics.iter().filter_map(move |(full, value)| {
            let labels = full.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
        })
    }
}
