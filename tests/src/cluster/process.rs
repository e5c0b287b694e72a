//! Programs of a cluster, started in the background and ended by their recorded ids.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use std::os::unix::process::CommandExt as _;

/// A program that was started, as its record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) name: String,
    id: u32,
    /// Clock ticks since boot at which it started: an id may be used again, the pair not.
    started: u64,
}

/// Starts a program; its output goes to a log, its id to a record.
pub(super) fn start(run: &Path, name: &str, command: &mut Command) -> anyhow::Result<Child> {
    let log = fs::File::create(log(run, name)).with_context(|| format!("the log of {name}"))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // A group of its own, so that Ctrl-C at the terminal is ours to handle.
    let child = command.process_group(0).spawn().with_context(|| format!("starting {name}"))?;
    let started = started(child.id()).unwrap_or(0);
    fs::write(run.join(format!("{name}.pid")), format!("{} {started}\n", child.id()))?;
    Ok(child)
}

/// Where a program's output goes.
pub(super) fn log(run: &Path, name: &str) -> PathBuf {
    run.join("log").join(format!("{name}.log"))
}

/// The record of a program, if it was started.
pub(super) fn recorded(run: &Path, name: &str) -> Option<Recorded> {
    let text = fs::read_to_string(run.join(format!("{name}.pid"))).ok()?;
    let mut words = text.split_whitespace();
    let id = words.next()?.parse().ok()?;
    Some(Recorded { name: name.to_owned(), id, started: words.next()?.parse().ok()? })
}

impl Recorded {
    /// A process that is found running, for one that something else started.
    pub(super) fn found(name: &str, id: u32) -> Option<Self> {
        Some(Self { name: name.to_owned(), id, started: started(id)? })
    }

    pub(super) fn runs(&self) -> bool {
        started(self.id) == Some(self.started)
    }

    /// Ends it: politely, and after a while not.
    pub(super) fn end(&self, patience: Duration) -> anyhow::Result<()> {
        for (signal, wait) in [("TERM", patience), ("KILL", Duration::from_secs(10))] {
            if !self.runs() {
                return Ok(());
            }
            let _sent = Command::new("kill").args(["-s", signal, &self.id.to_string()]).status()?;
            if wait_until(wait, || !self.runs()) {
                return Ok(());
            }
        }
        bail!("{} ({}) does not end", self.name, self.id)
    }
}

/// When a process started; nothing for one that is gone, or a zombie.
fn started(id: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields that count come after it (proc(5)).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if fields.first() == Some(&"Z") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// Waits for a condition; false if it did not come true in time.
pub(crate) fn wait_until(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if started.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
