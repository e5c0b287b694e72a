//! The operator that is measured: the released program, as a process of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::super::process::{Memory, cpu, memory};
use super::site::Site;

/// How long it may take to become ready, to end, or to have nothing to do any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// It has nothing to do once it takes no more than one clock tick (10 ms) in so long.
const QUIET: Duration = Duration::from_secs(1);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What it logs once everything was read that it decides upon.
const RECONCILES: &str = "\"reconciling\"";

/// An operator that runs.
pub(super) struct Operator {
    child: Child,
    /// Where it says how it is.
    pub(super) admin: SocketAddr,
    /// Where it answers the API server.
    pub(super) webhook: SocketAddr,
    /// Where it answers sidecars.
    pub(super) discovery: SocketAddr,
    log: PathBuf,
    started: Instant,
}

/// How long it took until it had nothing to do any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    /// From its start.
    pub(super) after: Duration,
    /// The time of the processor that it took until then.
    pub(super) cpu: Duration,
}

impl Operator {
    /// Starts it with the chart's arguments and these, and waits until it reconciles and is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub(super) async fn start(
        program: &Path,
        site: &Site,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        Self::start_at(program, site, arguments, free()?).await
    }

    /// The same, where sidecars know it to be.
    ///
    /// # Errors
    /// When it does not become ready.
    pub(super) async fn start_at(
        program: &Path,
        site: &Site,
        arguments: &[&str],
        discovery: SocketAddr,
    ) -> anyhow::Result<Self> {
        let (admin, webhook) = (free()?, free()?);
        let log = site.folder.join("operator.log");
        let output = fs::File::create(&log).with_context(|| format!("{}", log.display()))?;
        let mut command = Command::new(program);
        command.env("KUBECONFIG", &site.kubeconfig).args(["--log=info", "--log-format=json"]);
        command.arg(format!("--admin-listen={admin}")).arg(format!("--webhook-listen={webhook}"));
        command.arg(format!("--discovery-listen={discovery}"));
        command.args(arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let mut operator = Self { child, admin, webhook, discovery, log, started };
        operator.until_ready().await?;
        Ok(operator)
    }

    async fn until_ready(&mut self) -> anyhow::Result<()> {
        while !(self.reconciles() && self.is_ready()) {
            ensure!(self.child.try_wait()?.is_none(), "it ended: see {}", self.log.display());
            let waited = self.started.elapsed();
            ensure!(waited < PATIENCE, "it is not ready: see {}", self.log.display());
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn reconciles(&self) -> bool {
        fs::read_to_string(&self.log).is_ok_and(|text| text.contains(RECONCILES))
    }

    fn is_ready(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut connection = TcpStream::connect(self.admin)?;
            connection.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.0 200"))
    }

    /// Waits until it has nothing to do any more.
    ///
    /// # Errors
    /// When that takes too long, or it is gone.
    pub(super) async fn settled(&self) -> anyhow::Result<Settled> {
        let asked = Instant::now();
        let mut quiet = Settled { after: self.started.elapsed(), cpu: self.cpu()? };
        loop {
            tokio::time::sleep(LOOK).await;
            let (after, cpu) = (self.started.elapsed(), self.cpu()?);
            if cpu - quiet.cpu > Duration::from_millis(10) {
                quiet = Settled { after, cpu };
            } else if after - quiet.after > QUIET {
                return Ok(quiet);
            }
            if asked.elapsed() > PATIENCE {
                bail!("it does not come to rest: see {}", self.log.display());
            }
        }
    }

    /// The time of the processor that it took so far.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu(self.child.id())
    }

    /// What it holds in memory.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn memory(&self) -> anyhow::Result<Memory> {
        memory(self.child.id())
    }

    /// Ends it as Kubernetes would.
    ///
    /// # Errors
    /// When it does not end.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().to_string();
        let _sent = Command::new("kill").args(["-s", "TERM", &id]).status()?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(asked.elapsed() < PATIENCE, "the operator does not end");
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

impl Drop for Operator {
    /// Where a measurement fails, it does not outlive it.
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
