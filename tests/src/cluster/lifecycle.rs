//! From nothing to a cluster, and back.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::control_plane::{self, Addresses};
use super::network::{self, Network};
use super::node::{Node, ctr};
use super::process::{self, Recorded, wait_until};
use super::tools::{self, Tools};
use super::{Mode, cache, images};

/// A cluster that runs.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    run: PathBuf,
    tools: Tools,
    /// Those that this process started, to be waited for when they end.
    children: Vec<Child>,
}

/// In this order they end: an API server whose etcd went first hangs for ever.
const ORDER: &[&str] = &[
    "kubelet",
    "kube-proxy",
    "coredns",
    "kube-scheduler",
    "kube-controller-manager",
    "containerd",
    "kube-apiserver",
    "etcd",
];

impl Cluster {
    /// Starts a cluster; one of the same name that was left behind is taken away first.
    ///
    /// # Errors
    /// When something does not start; what did is taken away again.
    pub fn start(name: &str, mode: Mode) -> anyhow::Result<Self> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            (1..=32).contains(&name.len()) && name.bytes().all(legal),
            "{name:?} is not a name for a cluster: use lower-case letters, digits and dashes, 32 at most"
        );
        ensure!(
            mode == Mode::ControlPlane || is_root(),
            "a node needs root: run this as root, or with sudo"
        );
        let tools = match mode {
            Mode::ControlPlane => tools::of_control_plane()?,
            Mode::Node => tools::all()?,
        };
        let run = cache()?.join("run").join(name);
        let mut cluster = Self { name: name.to_owned(), run, tools, children: Vec::new() };
        cluster.take_away()?;
        fs::create_dir_all(cluster.run.join("log"))?;
        let started = match mode {
            Mode::ControlPlane => cluster.start_control_plane(),
            Mode::Node => cluster.start_node(),
        };
        match started {
            Ok(()) => Ok(cluster),
            Err(error) => {
                let logs = cluster.keep_logs();
                cluster.take_away().context("taking away what had started")?;
                Err(error.context(format!("starting cluster {name} (logs: {})", logs.display())))
            }
        }
    }

    /// A cluster that another process started.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn find(name: &str) -> anyhow::Result<Self> {
        let run = cache()?.join("run").join(name);
        ensure!(run.exists(), "no cluster {name} runs: start it with `make cluster-up`");
        Ok(Self { name: name.to_owned(), run, tools: tools::all()?, children: Vec::new() })
    }

    /// Its administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.run.join("admin.conf")
    }

    /// A program with the cluster's tools on its PATH and its kubeconfig in its environment.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", self.kubeconfig()).env("PATH", self.tools.path());
        command
    }

    /// Makes an image known to the node.
    ///
    /// # Errors
    /// When containerd refuses it.
    pub fn load_image(&self, archive: &Path) -> anyhow::Result<()> {
        images::import(&self.run, &self.tools, archive)
    }

    /// Ends everything and leaves nothing behind.
    ///
    /// # Errors
    /// When a program does not end, or something cannot be unmounted.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.take_away()
    }

    fn start_control_plane(&mut self) -> anyhow::Result<()> {
        let addresses = Addresses::on_loopback()?;
        control_plane::credentials(&self.run, &addresses)?;
        let started = control_plane::start(&self.run, &self.tools, &addresses, &|program| {
            Command::new(program)
        })?;
        self.children.extend(started);
        Ok(())
    }

    fn start_node(&mut self) -> anyhow::Result<()> {
        let pause = images::pause()?;
        let network = Network::make(&self.name)?;
        let addresses = Addresses::of_node(&network);
        control_plane::credentials(&self.run, &addresses)?;
        let command = |program: &Path| network.command(program);
        let started = control_plane::start(&self.run, &self.tools, &addresses, &command)?;
        self.children.extend(started);
        let node = Node { run: &self.run, tools: &self.tools, network: &network };
        self.children.extend(node.start(&pause)?);
        Ok(())
    }

    fn keep_logs(&self) -> PathBuf {
        let kept = self.run.with_extension("failed");
        let _gone = fs::remove_dir_all(&kept);
        match fs::rename(self.run.join("log"), &kept) {
            Ok(()) => kept,
            Err(_) => self.run.join("log"),
        }
    }

    fn take_away(&mut self) -> anyhow::Result<()> {
        if !self.run.exists() {
            return if is_root() { network::remove(&self.name) } else { Ok(()) };
        }
        let recorded = |name: &str| process::recorded(&self.run, name);
        if let Some(kubelet) = recorded("kubelet") {
            // Otherwise it would start the pods again that end now.
            kubelet.end(Duration::from_secs(20))?;
        }
        self.end_pods()?;
        for name in ORDER {
            if let Some(program) = recorded(name) {
                program.end(Duration::from_secs(20))?;
            }
        }
        for child in &mut self.children {
            let _status = child.wait()?;
        }
        self.children.clear();
        unmount_below(&self.run)?;
        if is_root() {
            network::remove(&self.name)?;
        }
        fs::remove_dir_all(&self.run).with_context(|| format!("removing {}", self.run.display()))
    }

    /// Ends what runs in pods, and the shims that would outlive containerd.
    fn end_pods(&self) -> anyhow::Result<()> {
        let shims = self.shims();
        let mut networks = BTreeSet::new();
        if process::recorded(&self.run, "containerd").is_some_and(|one| one.runs()) {
            let listed = ctr(&self.run, &self.tools)?.args(["tasks", "list", "-q"]).output()?;
            networks = self.pod_networks()?;
            for task in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
                let mut remove = ctr(&self.run, &self.tools)?;
                remove.args(["tasks", "delete", "--force", task]);
                let _gone = remove.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
            }
        }
        wait_until(Duration::from_secs(5), || shims.iter().all(|shim| !shim.runs()));
        shims.iter().try_for_each(|shim| shim.end(Duration::from_secs(2)))?;
        networks.iter().try_for_each(|name| network::remove_namespace(name))
    }

    /// The network namespaces of pods: the runtime names them, and nobody else takes them away.
    fn pod_networks(&self) -> anyhow::Result<BTreeSet<String>> {
        let listed = ctr(&self.run, &self.tools)?.args(["containers", "list", "-q"]).output()?;
        let mut networks = BTreeSet::new();
        for container in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
            let info =
                ctr(&self.run, &self.tools)?.args(["containers", "info", container]).output()?;
            let text = String::from_utf8_lossy(&info.stdout);
            let paths = text.split('"').filter_map(|word| word.rsplit_once("/run/netns/"));
            networks.extend(
                paths.map(|(_, name)| name.to_owned()).filter(|name| name.starts_with("cni-")),
            );
        }
        Ok(networks)
    }

    /// Shims of this cluster's containerd: they name its socket.
    fn shims(&self) -> Vec<Recorded> {
        let socket = self.run.join("containerd.sock").display().to_string();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_ours = |id: &u32| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains("containerd-shim-runc-v2") && line.contains(&socket)
        };
        ids.filter(is_ours).filter_map(|id| Recorded::found("containerd-shim", id)).collect()
    }
}

impl Drop for Cluster {
    /// A control plane that a test started ends with it, also when the test fails.
    fn drop(&mut self) {
        if !self.children.is_empty() && !self.detached() {
            let _gone = self.take_away();
        }
    }
}

impl Cluster {
    /// Leaves the cluster running when this process ends.
    pub fn detach(mut self) {
        self.children.clear();
    }

    fn detached(&self) -> bool {
        self.children.is_empty()
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// Unmounts everything below a folder, the innermost first.
fn unmount_below(folder: &Path) -> anyhow::Result<()> {
    let folder = folder.display().to_string();
    let mounts = fs::read_to_string("/proc/mounts")?;
    let below = format!("{folder}/");
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut points: Vec<&str> = points.filter(|point| point.starts_with(&below)).collect();
    points.sort_unstable_by_key(|point| std::cmp::Reverse(point.len()));
    for point in points {
        let output = Command::new("umount").arg(point).output()?;
        if !output.status.success() {
            bail!("umount {point}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(())
}
