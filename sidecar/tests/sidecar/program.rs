//! The program as a child process: its log lines, its metrics and its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// Longer than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A port that is ours until this goes: it is bound but not listened on, and the program, which
/// shares its ports with other workers, can listen on it.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    _held: Socket,
}

impl Port {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { address, _held: socket }
    }
}

pub(crate) fn program(args: &[&str]) -> Command {
    program_at(env!("CARGO_BIN_EXE_countersign-sidecar").as_ref(), args)
}

/// A copy of the program, for users who may not read the build folder. Another process makes it: what
/// a thread of ours writes may still be open in the child that another one starts just then, and what
/// is open for writing cannot be run.
pub(crate) fn copied(to: &Path) -> PathBuf {
    let copy = to.join("countersign-sidecar");
    let from = env!("CARGO_BIN_EXE_countersign-sidecar");
    assert!(Command::new("cp").arg(from).arg(&copy).status().unwrap().success());
    copy
}

/// The same, of a copy.
pub(crate) fn program_at(path: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(path);
    command.args(args).env("COUNTERSIGN_LOG", "info").env("COUNTERSIGN_LOG_FORMAT", "json");
    command
}

/// A sidecar that runs until this goes.
pub(crate) struct Sidecar {
    child: Child,
    lines: Receiver<Value>,
    seen: Vec<Value>,
    admin: SocketAddr,
    /// What it complains of: a panic, for one, which ends a connection and not the program.
    complaints: Option<JoinHandle<String>>,
}

impl Sidecar {
    pub(crate) fn start(args: &[&str], admin: SocketAddr) -> Self {
        Self::of(program(args), admin)
    }

    /// A sidecar of a command that is there already.
    pub(crate) fn of(mut command: Command, admin: SocketAddr) -> Self {
        let mut child = command
            .args(["--admin", &admin.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let complaints = std::thread::spawn(move || {
            let mut said = String::new();
            drop(stderr.read_to_string(&mut said));
            said
        });
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let parsed = serde_json::from_str(&line).unwrap_or(Value::String(line));
                drop(sender.send(parsed));
            }
        });
        Self { child, lines, seen: Vec::new(), admin, complaints: Some(complaints) }
    }

    /// Waits until it says that it is ready.
    pub(crate) fn ready(mut self) -> Self {
        let line = self.line("message", "ready");
        assert!(line["ready_ms"].is_u64(), "{line}");
        self
    }

    /// Waits for a log line in which `field` is `value`; each line is found once.
    pub(crate) fn line(&mut self, field: &str, value: &str) -> Value {
        let is_it = |line: &Value| line[field] == value;
        if let Some(place) = self.seen.iter().position(is_it) {
            return self.seen.remove(place);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {field}={value:?}, but {:#?}", self.seen)
            };
            if is_it(&line) {
                return line;
            }
            self.seen.push(line);
        }
    }

    /// The status and the body of an answer of the admin server.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        until("the admin server answers", || get(self.admin, path))
    }

    /// The value of a metric, by its whole name and labels.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics");
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value)
    }

    pub(crate) fn refusals(&self, direction: &str, reason: &str) -> Option<f64> {
        let name = "countersign_sidecar_refusals_total";
        self.metric(&format!("{name}{{direction=\"{direction}\",reason=\"{reason}\"}}"))
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// How much time its threads have run (proc(5), stat: utime and stime, in ticks of 10 ms).
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// How much memory it holds, in bytes.
    pub(crate) fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Does something while it does nothing at all; signals that it is sent meanwhile come at the end.
    pub(crate) fn while_stopped<T>(&self, act: impl FnOnce() -> T) -> T {
        let stat = format!("/proc/{}/stat", self.child.id());
        self.signal(Signal::STOP);
        until("it is stopped", || {
            std::fs::read_to_string(&stat).unwrap().contains(") T ").then_some(())
        });
        let done = act();
        self.signal(Signal::CONT);
        done
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        until("the sidecar ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        let said = self.complaints.take().map(|complaints| complaints.join().unwrap());
        let said = said.unwrap_or_default();
        if std::thread::panicking() {
            eprint!("{said}");
        } else {
            assert!(!said.contains("panicked"), "{said}");
        }
    }
}

fn get(admin: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(admin).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: sidecar\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Asks again until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
