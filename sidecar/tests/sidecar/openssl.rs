//! OpenSSL's own client, whose lines of input are data or commands.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use crate::authority::{Authority, Folder, Set};
use crate::program::PATIENCE;

/// `openssl s_client`, until this goes.
pub(crate) struct Openssl {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    seen: Vec<String>,
    _folder: Folder,
}

/// The command line; `folder` holds what it presents and trusts.
fn command(at: SocketAddr, folder: &Folder, more: &[&str]) -> Command {
    let file = |name: &str| folder.path().join(name);
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &at.to_string(), "-verify_return_error", "-CAfile"]);
    command.arg(file("ca.crt")).arg("-cert").arg(file("tls.crt")).arg("-key").arg(file("tls.key"));
    command.args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Openssl {
    /// Calls with commands understood, and everything told.
    pub(crate) fn call(at: SocketAddr, authority: &Authority, set: &Set, more: &[&str]) -> Self {
        let folder = Folder::of(&Set { ca: authority.pem(), ..set.clone() });
        let mut child = command(at, &folder, more).spawn().expect("this test needs openssl");
        let (sender, lines) = channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                BufReader::new(output).lines().map_while(Result::ok).for_each(|line| {
                    drop(sender.send(line));
                });
            });
        }
        let stdin = child.stdin.take().unwrap();
        Self { child, stdin, lines, seen: Vec::new(), _folder: folder }
    }

    pub(crate) fn types(&mut self, line: &str) {
        self.stdin.write_all(line.as_bytes()).unwrap();
        self.stdin.flush().unwrap();
    }

    /// Waits until it has said something that contains this.
    pub(crate) fn says(&mut self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.has_said(what) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(_) => panic!("openssl did not say {what:?}, but {:#?}", self.seen),
            }
        }
        self.seen.clear();
    }

    fn has_said(&self, what: &str) -> bool {
        self.seen.iter().any(|line| line.contains(what))
    }

    /// Waits for its end; all that it said since it was last asked.
    pub(crate) fn ends(mut self) -> String {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
        std::mem::take(&mut self.seen).join("\n")
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Calls, sends this, and returns what came back until the other side ended; or what it complains of.
pub(crate) fn carries(
    at: SocketAddr,
    authority: &Authority,
    set: &Set,
    more: &[&str],
    bytes: &[u8],
) -> Result<Vec<u8>, String> {
    let folder = Folder::of(&Set { ca: authority.pem(), ..set.clone() });
    let mut command = command(at, &folder, &[&["-quiet"], more].concat());
    let mut child = command.spawn().expect("this test needs openssl");
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(bytes)));
        child.wait_with_output().unwrap()
    });
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(output.stdout) } else { Err(said) }
}
