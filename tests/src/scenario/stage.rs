//! Where a scenario plays: a cluster that `kubectl` and `helm` on the PATH talk to.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Where a scenario plays.
#[derive(Debug)]
pub struct Stage {
    root: PathBuf,
    narrates: bool,
}

/// The end of a command's output that is shown.
const SHOWN_LINES: usize = 12;

impl Stage {
    /// A stage; commands run in the repository's root.
    #[must_use]
    pub fn new(narrates: bool) -> Self {
        Self { root: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".."), narrates }
    }

    /// Runs a shell command that must succeed; returns what it printed.
    ///
    /// # Errors
    /// When it does not succeed, with what it printed.
    pub fn run(&self, command: &str) -> anyhow::Result<String> {
        match self.shell(command)? {
            (true, output) => Ok(output),
            (false, output) => bail!("`{command}` failed: {}", output.trim()),
        }
    }

    /// Runs a shell command that must fail; returns what it printed.
    ///
    /// # Errors
    /// When it succeeds, with what it printed.
    pub fn fails(&self, command: &str) -> anyhow::Result<String> {
        match self.shell(command)? {
            (false, output) => Ok(output),
            (true, output) => bail!("`{command}` should have failed: {}", output.trim()),
        }
    }

    /// Runs a shell command until it succeeds, for so many seconds at most.
    ///
    /// # Errors
    /// When it did not succeed in time, with what it printed last.
    pub fn until(&self, seconds: u32, command: &str) -> anyhow::Result<String> {
        let quoted = command.replace('\'', r"'\''");
        self.say(&format!("until {command}"));
        let waiting = format!(
            "timeout {seconds} sh -c 'until ({quoted}) >/tmp/countersign-until.$$ 2>&1; do sleep 0.2; done; cat /tmp/countersign-until.$$; rm /tmp/countersign-until.$$'"
        );
        let (done, output) = self.execute(&waiting)?;
        self.show(&output);
        if done {
            return Ok(output);
        }
        let (_, last) = self.execute(command)?;
        bail!("`{command}` did not succeed within {seconds} s: {}", last.trim())
    }

    /// Says something to whoever watches.
    pub fn say(&self, text: &str) {
        if self.narrates {
            println!("  \x1b[2m$\x1b[0m {text}");
        }
    }

    fn shell(&self, command: &str) -> anyhow::Result<(bool, String)> {
        self.say(command);
        let (succeeded, output) = self.execute(command)?;
        self.show(&output);
        Ok((succeeded, output))
    }

    fn execute(&self, command: &str) -> anyhow::Result<(bool, String)> {
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-c", &format!("exec 2>&1; {command}")])
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("starting `{command}`"))?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    fn show(&self, output: &str) {
        if !self.narrates {
            return;
        }
        let lines: Vec<&str> = output.lines().collect();
        for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
            println!("    {line}");
        }
    }
}
