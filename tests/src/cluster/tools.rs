//! The programs that a cluster consists of: versions pinned by go.mod, contents by go.sum, built
//! once into the cache.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::{cache, repository};

/// One Go module whose `tool` lines are programs of the cluster.
#[derive(Debug)]
struct Toolchain {
    /// Its folder beside the cluster's sources.
    folder: &'static str,
    /// The module whose version it is named by.
    module: &'static str,
    /// Build tags.
    tags: &'static str,
    /// Roughly how long it takes on two cores.
    usually: &'static str,
    /// What must be there at the end.
    programs: &'static [&'static str],
    /// Whether a control plane does without it.
    is_for_nodes: bool,
}

const TOOLCHAINS: &[Toolchain] = &[
    Toolchain {
        folder: "kubernetes",
        module: "k8s.io/kubernetes",
        tags: "",
        usually: "6 to 8 minutes",
        programs: &[
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kube-proxy",
            "kubelet",
            "kubectl",
        ],
        is_for_nodes: false,
    },
    Toolchain {
        folder: "containerd",
        module: "github.com/containerd/containerd/v2",
        tags: "no_btrfs,no_devmapper,no_zfs",
        usually: "1 minute",
        programs: &["containerd", "containerd-shim-runc-v2", "ctr"],
        is_for_nodes: true,
    },
    Toolchain {
        folder: "coredns",
        module: "github.com/coredns/coredns",
        tags: "",
        usually: "2 minutes",
        programs: &["coredns"],
        is_for_nodes: true,
    },
    Toolchain {
        folder: "helm",
        module: "helm.sh/helm/v4",
        tags: "",
        usually: "2 minutes",
        programs: &["helm"],
        is_for_nodes: false,
    },
];

/// The folders with every program, built first where they are not there yet.
///
/// # Errors
/// When a program cannot be built; says which, and where its log is.
pub fn all() -> anyhow::Result<Tools> {
    those(|_| true)
}

/// The folders with the programs of a control plane, which need not wait for those of a node.
///
/// # Errors
/// When a program cannot be built; says which, and where its log is.
pub fn of_control_plane() -> anyhow::Result<Tools> {
    those(|toolchain| !toolchain.is_for_nodes)
}

fn those(are_needed: impl Fn(&Toolchain) -> bool) -> anyhow::Result<Tools> {
    let mut folders = Vec::new();
    for (place, toolchain) in TOOLCHAINS.iter().enumerate() {
        if are_needed(toolchain) {
            folders.push(toolchain.ready(place + 1)?);
        }
    }
    Ok(Tools { folders })
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Tools {
    folders: Vec<PathBuf>,
}

impl Tools {
    /// The path of a program.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let found = self.folders.iter().map(|folder| folder.join(name)).find(|path| path.exists());
        found.with_context(|| format!("no program {name} was built"))
    }

    /// A PATH with the programs before all others.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "PATH is what is extended")]
    pub fn path(&self) -> String {
        let mut path: Vec<_> = self.folders.iter().map(|f| f.display().to_string()).collect();
        path.push(std::env::var("PATH").unwrap_or_default());
        path.join(":")
    }
}

impl Toolchain {
    fn ready(&self, place: usize) -> anyhow::Result<PathBuf> {
        let sources = repository().join("tests/cluster/toolchain").join(self.folder);
        let version = self.version(&sources)?;
        let done = cache()?.join(format!("{}-{version}", self.folder));
        if self.is_complete(&done) {
            return Ok(done);
        }
        fs::create_dir_all(cache()?)?;
        // Of two processes that need it, one builds and the other waits.
        let lock = fs::File::create(cache()?.join(format!("{}.lock", self.folder)))?;
        lock.lock().context("waiting for another build of the same tools")?;
        if !self.is_complete(&done) {
            self.build(place, &version, &sources, &done)?;
        }
        Ok(done)
    }

    fn is_complete(&self, folder: &Path) -> bool {
        self.programs.iter().all(|program| folder.join(program).exists())
    }

    fn version(&self, sources: &Path) -> anyhow::Result<String> {
        let path = sources.join("go.mod");
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut words = text.lines().map(|line| line.trim().trim_start_matches("require "));
        let required = words.find_map(|line| line.strip_prefix(self.module)?.strip_prefix(' '));
        let version = required.and_then(|rest| rest.split_whitespace().next());
        version
            .map(str::to_owned)
            .with_context(|| format!("{} is not in {}", self.module, path.display()))
    }

    fn build(
        &self,
        place: usize,
        version: &str,
        sources: &Path,
        done: &Path,
    ) -> anyhow::Result<()> {
        let part = done.with_extension("part");
        if part.exists() {
            fs::remove_dir_all(&part)?;
        }
        let log = done.with_extension("log");
        let what = format!("[{place}/{}] building {} {version}", TOOLCHAINS.len(), self.folder);
        println!("{what} (once; usually {} on two cores)", self.usually);
        let output = fs::File::create(&log)?;
        let mut go = Command::new("go");
        go.arg("install").arg("-trimpath").arg(format!("-ldflags={}", self.linker_flags(version)));
        if !self.tags.is_empty() {
            go.args(["-tags", self.tags]);
        }
        go.arg("tool").current_dir(sources).env("CGO_ENABLED", "0").env("GOBIN", &part);
        go.env("GOFLAGS", "-mod=readonly").env("GOTOOLCHAIN", "auto");
        go.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        watch(&mut go, &what).with_context(|| format!("{what}: its log is {}", log.display()))?;
        if part.join("server").exists() {
            fs::rename(part.join("server"), part.join("etcd"))?;
        }
        ensure!(
            self.is_complete(&part),
            "{what}: a program is missing; its log is {}",
            log.display()
        );
        if done.exists() {
            fs::remove_dir_all(done)?;
        }
        fs::rename(&part, done).with_context(|| format!("renaming {}", part.display()))
    }

    /// Kubernetes tells its version only when it is linked in.
    fn linker_flags(&self, version: &str) -> String {
        if self.folder != "kubernetes" {
            return "-s -w".to_owned();
        }
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, minor) = (numbers.next().unwrap_or(""), numbers.next().unwrap_or(""));
        let set = [
            ("gitVersion", version),
            ("gitMajor", major),
            ("gitMinor", minor),
            ("gitTreeState", "clean"),
            ("buildDate", "1970-01-01T00:00:00Z"),
        ];
        let set =
            set.map(|(name, value)| format!("-X k8s.io/component-base/version.{name}={value}"));
        format!("-s -w {}", set.join(" "))
    }
}

/// Runs a command, and says now and then that it still does.
fn watch(command: &mut Command, what: &str) -> anyhow::Result<()> {
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            anyhow::anyhow!("no go on the PATH: run `make prerequisites`, which gets one")
        }
        _ => error.into(),
    })?;
    let started = Instant::now();
    let on_terminal = std::io::stdout().is_terminal();
    let mut told = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_secs(1));
        let seconds = started.elapsed().as_secs();
        if on_terminal {
            print!("\r{what}: {seconds} s");
            std::io::stdout().flush()?;
        } else if seconds / 30 > told {
            told = seconds / 30;
            println!("{what}: {seconds} s so far");
        }
    };
    if !status.success() {
        bail!("it ended with {status}");
    }
    let end = if on_terminal { "\r" } else { "" };
    println!("{end}{what}: done in {} s", started.elapsed().as_secs());
    Ok(())
}
