//! A terminator that runs: ours or a peer's, kept to the first core, ended when it is dropped.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::load::client::Client;
use super::usage::{self, Spent, family};

/// Where a terminator listens and passes on, and where its files are.
pub(super) struct Setting<'a> {
    pub(super) listen: SocketAddr,
    pub(super) to: SocketAddr,
    /// With tls.crt, tls.key, ca.crt and server.pem.
    pub(super) credentials: &'a Path,
    /// For its configuration, and what it says.
    pub(super) folder: &'a Path,
}

impl Setting<'_> {
    pub(super) fn credential(&self, name: &str) -> String {
        self.credentials.join(name).display().to_string()
    }

    /// Writes the configuration, and tells where it is.
    pub(super) fn configure(&self, content: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join("config");
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

/// What starts it.
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(&'static str, &'static str)>,
}

/// A process that serves.
pub(super) struct Terminator {
    pub(super) listen: SocketAddr,
    /// When it was started.
    pub(super) started: Instant,
    child: Child,
    log: PathBuf,
}

impl Terminator {
    /// Starts it; it dies with the bench, even where that is killed.
    pub(super) fn start(launch: &Launch, setting: &Setting<'_>) -> anyhow::Result<Self> {
        let log = setting.folder.join("log");
        let output = File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        let started = Instant::now();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "taskset", "-c", "0"])
            .arg(&launch.program)
            .args(&launch.arguments)
            .envs(launch.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {}", launch.program.display()))?;
        Ok(Self { listen: setting.listen, started, child, log })
    }

    /// Waits until it accepts connections.
    pub(super) fn accepts(&mut self) -> anyhow::Result<()> {
        let target = self.listen;
        self.wait_for(|| TcpStream::connect(target).map(drop).context("connecting"))
    }

    /// Waits until it serves.
    pub(super) fn serves(&mut self, client: &Client) -> anyhow::Result<()> {
        self.wait_for(|| client.echo(0).map(drop))
    }

    fn wait_for(&mut self, what: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
        loop {
            let Err(error) = what() else { return Ok(()) };
            let ended = self.child.try_wait()?;
            if ended.is_some() || self.started.elapsed() > Duration::from_secs(10) {
                let said = fs::read_to_string(&self.log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(5).collect();
                bail!("it does not serve: {error:#}; it says: {}", last.join(" / "));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    pub(super) fn spent(&self) -> anyhow::Result<Spent> {
        usage::spent(self.child.id())
    }

    pub(super) fn resident(&self) -> anyhow::Result<f64> {
        usage::resident(self.child.id())
    }

    fn has_ended(&mut self, within: Duration) -> bool {
        let asked = Instant::now();
        while asked.elapsed() < within {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }
}

impl Drop for Terminator {
    /// Asks it to end, so that it takes its children along, and insists soon.
    fn drop(&mut self) {
        let family = family(self.child.id()).unwrap_or_default();
        for (signal, patience) in [(Signal::TERM, 500), (Signal::KILL, 5_000)] {
            for id in &family {
                let id = i32::try_from(*id).ok().and_then(Pid::from_raw);
                let _gone = id.map(|id| kill_process(id, signal));
            }
            if self.has_ended(Duration::from_millis(patience)) {
                return;
            }
        }
    }
}

/// A port that is free now.
pub(super) fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
