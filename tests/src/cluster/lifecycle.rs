//! From nothing to a cluster, and back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::control_plane::{self, Addresses};
use super::network::{self, Network};
use super::node::Node;
use super::process::wait_until;
use super::tools::{self, Tools};
use super::{MOST_NODES, Mode, Site, cache, controllers, dns, ending, images};

/// A cluster that runs.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    run: PathBuf,
    tools: Tools,
    /// Those that this process started, to be waited for when they end.
    children: Vec<Child>,
}

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
            mode == Mode::ControlPlane || matches!(mode, Mode::Nodes(1..=MOST_NODES)),
            "a cluster has 1 to {MOST_NODES} nodes"
        );
        ensure!(
            mode == Mode::ControlPlane || is_root(),
            "a node needs root: run this as root, or with sudo"
        );
        let tools = match mode {
            Mode::ControlPlane => tools::of_control_plane()?,
            Mode::Nodes(_) => tools::all()?,
        };
        let run = cache()?.join("run").join(name);
        let mut cluster = Self { name: name.to_owned(), run, tools, children: Vec::new() };
        cluster.take_away()?;
        fs::create_dir_all(cluster.run.join("log"))?;
        let started = match mode {
            Mode::ControlPlane => cluster.start_control_plane(),
            Mode::Nodes(nodes) => cluster.start_nodes(nodes),
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
        // What kubectl remembers of the kinds that are served goes with the cluster.
        command.env("KUBECACHEDIR", self.run.join("kubectl"));
        command
    }

    /// Makes an image known to every node.
    ///
    /// # Errors
    /// When there is no node, or a containerd refuses it.
    pub fn load_image(&self, archive: &Path) -> anyhow::Result<()> {
        let nodes = ending::nodes(&self.run);
        ensure!(!nodes.is_empty(), "cluster {} has no node", self.name);
        let mut folders = nodes.iter().map(|node| self.run.join(node));
        folders.try_for_each(|node| images::import(&node, &self.tools, archive))
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
        control_plane::credentials(&self.run, &addresses, &[])?;
        let started = control_plane::start(&self.run, &self.tools, &addresses, &|program| {
            Command::new(program)
        })?;
        self.children.extend(started);
        Ok(())
    }

    fn start_nodes(&mut self, nodes: u8) -> anyhow::Result<()> {
        let pause = images::pause()?;
        let networks = network::make(&self.name, nodes)?;
        let first = networks.first().context("a cluster without nodes")?;
        let addresses = Addresses::of_node(first);
        control_plane::credentials(&self.run, &addresses, &networks)?;
        let command = |program: &Path| first.command(program);
        let started = control_plane::start(&self.run, &self.tools, &addresses, &command)?;
        self.children.extend(started);
        let site = Site { run: &self.run, tools: &self.tools };
        self.children.extend(controllers::start(site, first)?);
        let nodes: Result<Vec<_>, _> =
            networks.iter().map(|network| Node::new(site, &self.name, network)).collect();
        let nodes = nodes?;
        for node in &nodes {
            self.children.push(node.start_runtime()?);
        }
        for node in &nodes {
            self.children.extend(node.join(&pause)?);
        }
        self.children.push(dns::start(site, first)?);
        wait_ready(site, &networks)?;
        networks.iter().try_for_each(|network| tell_range(site, network))
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
        if self.run.exists() {
            ending::end(Site { run: &self.run, tools: &self.tools }, &self.name)?;
        }
        for child in &mut self.children {
            let _status = child.wait()?;
        }
        self.children.clear();
        if is_root() {
            ending::remove_places(&self.name)?;
        }
        if self.run.exists() {
            fs::remove_dir_all(&self.run)
                .with_context(|| format!("removing {}", self.run.display()))?;
        }
        Ok(())
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

/// Tells of a node's addresses for pods, as whoever gives them out does.
fn tell_range(site: Site<'_>, Network { node, pods, .. }: &Network) -> anyhow::Result<()> {
    let spec = format!(r#"{{"spec":{{"podCIDR":"{pods}","podCIDRs":["{pods}"]}}}}"#);
    let output = site.kubectl()?.args(["patch", "node", node, "--patch", &spec]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "telling of the addresses of node {node}: {}", said.trim());
    Ok(())
}

/// Waits until every node takes pods, and pods can have their ServiceAccount.
fn wait_ready(site: Site<'_>, networks: &[Network]) -> anyhow::Result<()> {
    let succeeds = |arguments: &[&str]| {
        let Ok(mut ask) = site.kubectl() else { return false };
        let status = ask.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let takes_pods = |Network { node, .. }: &Network| {
        succeeds(&["wait", "--for=condition=Ready", &format!("node/{node}"), "--timeout=10s"])
    };
    let ready =
        || networks.iter().all(takes_pods) && succeeds(&["get", "serviceaccount", "default"]);
    let logs = site.run.join("log");
    ensure!(
        wait_until(Duration::from_secs(180), ready),
        "not every node becomes ready; the kubelets' logs are in {}",
        logs.display()
    );
    Ok(())
}
