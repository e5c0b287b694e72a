//! One sidecar as it is released, and what is seen of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::bench::process::memory;

/// What it may take to start, and to answer about itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is taken from a sidecar from the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handicap {
    /// How many descriptors it may have, at most.
    pub(super) descriptors: Option<u32>,
    /// Whether its log goes through a pipe whose reader can be stopped.
    pub(super) has_log_reader: bool,
}

/// A sidecar that runs until this goes.
pub(super) struct Sidecar {
    pub(super) name: &'static str,
    pub(super) listen: SocketAddr,
    admin: SocketAddr,
    child: Child,
    id: u32,
    log_reader: Option<LogReader>,
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
        Self::start_with(Handicap::default(), name, program, folder, args).await
    }

    /// The same, of one that has not all that it could wish for.
    pub(super) async fn start_with(
        handicap: Handicap,
        name: &'static str,
        program: &Path,
        folder: &Path,
        args: &[&str],
    ) -> anyhow::Result<Self> {
        let (listen, admin) = (super::site::port()?, super::site::port()?);
        let log = File::create(folder.join(format!("{name}.log")))?;
        let (stdout, file) = match handicap.has_log_reader {
            true => (Stdio::piped(), Some(log)),
            false => (Stdio::from(log), None),
        };
        let mut child = command(program, handicap.descriptors)
            .arg("--log-format=json")
            .arg(name)
            .args(["--listen", &listen.to_string(), "--admin", &admin.to_string()])
            .args(["--first-byte-timeout", "2s", "--handshake-timeout", "3s", "--workers", "2"])
            .args(args)
            .stdout(stdout)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let id = child.id().context("it ended at once")?;
        let log_reader = child.stdout.take().zip(file).map(|(log, file)| LogReader::new(log, file));
        let sidecar = Self { name, listen, admin, child, id, log_reader };
        let started = Instant::now();
        while sidecar.get("/readyz").await.is_err() {
            ensure!(started.elapsed() < PATIENCE, "{name} is not ready after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(sidecar)
    }

    /// Reads nothing of its log any more, and leaves the pipe open.
    pub(super) fn stop_reading_log(&self) {
        if let Some(reader) = &self.log_reader {
            reader.stop.notify_one();
        }
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

/// A program with a limit of its own, which it cannot raise.
fn command(program: &Path, descriptors: Option<u32>) -> Command {
    let Some(most) = descriptors else { return Command::new(program) };
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -n {most} && exec \"$0\" \"$@\"")).arg(program);
    command
}

/// Copies a log into a file until it is told to stop.
struct LogReader {
    stop: Arc<Notify>,
    reading: JoinHandle<()>,
}

impl LogReader {
    fn new(mut log: ChildStdout, file: File) -> Self {
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let reading = tokio::spawn(async move {
            let mut file = tokio::fs::File::from_std(file);
            tokio::select! {
                () = stopped.notified() => {}
                copied = tokio::io::copy(&mut log, &mut file) => drop(copied),
            }
            // The pipe stays open: the sidecar must not learn from its end that it is not read.
            std::future::pending::<()>().await;
            drop(log);
        });
        Self { stop, reading }
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        self.reading.abort();
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
