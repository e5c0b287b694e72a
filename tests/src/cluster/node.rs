//! A node: container runtime, kubelet and proxy, in a network namespace of its own.

mod configuration;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::network::Network;
use super::process::{self, wait_until};
use super::tools::Tools;
use super::{Site, cgroups};

/// A node that is being set up.
pub(super) struct Node<'a> {
    site: Site<'a>,
    network: &'a Network,
    /// Where its own files are.
    folder: PathBuf,
    /// The root of its control groups.
    group: String,
}

impl<'a> Node<'a> {
    /// A node of a cluster, with its files and control groups in place.
    pub(super) fn new(site: Site<'a>, cluster: &str, network: &'a Network) -> anyhow::Result<Self> {
        let folder = site.run.join(&network.node);
        let node = Self { site, network, folder, group: cgroups::root(cluster, &network.node) };
        node.configure()?;
        cgroups::make(&node.group)?;
        Ok(node)
    }

    fn configure(&self) -> anyhow::Result<()> {
        let write = |name: &str, text: String| {
            fs::write(self.folder.join(name), text).with_context(|| format!("writing {name}"))
        };
        fs::create_dir_all(self.folder.join("cni"))?;
        write("containerd.toml", configuration::containerd(&self.folder))?;
        write("cni/10-bridge.conflist", configuration::bridge(&self.folder, &self.network.pods))?;
        write("kubelet.yaml", configuration::kubelet(self.site.run, &self.folder, &self.group))?;
        write("proxy.yaml", configuration::proxy(self.site.run, &self.network.node))?;
        write("resolv.conf", "nameserver 127.0.0.1\n".to_owned())
    }

    fn command(&self, program: &str) -> anyhow::Result<Command> {
        Ok(self.network.command(self.site.tools.program(program)?))
    }

    fn start(&self, program: &str, command: &mut Command) -> anyhow::Result<Child> {
        process::start(self.site.run, &record(&self.network.node, program), command)
    }

    /// Starts what runs containers; it answers some time later.
    pub(super) fn start_runtime(&self) -> anyhow::Result<Child> {
        let mut containerd = self.command("containerd")?;
        containerd.arg("-c").arg(self.folder.join("containerd.toml"));
        containerd.env("PATH", self.site.tools.path());
        self.start("containerd", &mut containerd)
    }

    /// Waits for the runtime, then starts what makes a node of it.
    pub(super) fn join(&self, pause: &Path) -> anyhow::Result<[Child; 2]> {
        let tools = self.site.tools;
        let answers = || {
            let version = ctr(&self.folder, tools).map(|mut ctr| ctr.arg("version").output());
            version.is_ok_and(|output| output.is_ok_and(|output| output.status.success()))
        };
        let log = process::log(self.site.run, &record(&self.network.node, "containerd"));
        ensure!(
            wait_until(Duration::from_secs(60), answers),
            "containerd does not answer; its log is {}",
            log.display()
        );
        super::images::import(&self.folder, tools, pause)?;
        Ok([self.start_kubelet()?, self.start_proxy()?])
    }

    fn start_kubelet(&self) -> anyhow::Result<Child> {
        let (run, folder) = (self.site.run.display(), self.folder.display());
        let Network { node, address, .. } = self.network;
        let mut kubelet = self.command("kubelet")?;
        kubelet.args([
            format!("--config={folder}/kubelet.yaml"),
            format!("--kubeconfig={run}/{node}.conf"),
            format!("--root-dir={folder}/kubelet"),
            format!("--cert-dir={folder}/kubelet-pki"),
            format!("--node-ip={address}"),
            format!("--hostname-override={node}"),
        ]);
        self.start("kubelet", &mut kubelet)
    }

    fn start_proxy(&self) -> anyhow::Result<Child> {
        let mut proxy = self.command("kube-proxy")?;
        proxy.arg(format!("--config={}/proxy.yaml", self.folder.display()));
        self.start("kube-proxy", &mut proxy)
    }
}

/// By what name a program of a node is recorded, and its log found.
pub(super) fn record(node: &str, program: &str) -> String {
    format!("{node}.{program}")
}

/// The client of a node's own containerd, for its images and tasks.
pub(super) fn ctr(folder: &Path, tools: &Tools) -> anyhow::Result<Command> {
    let mut ctr = Command::new(tools.program("ctr")?);
    ctr.arg("-a").arg(socket(folder)).args(["-n", "k8s.io"]);
    Ok(ctr)
}

/// Where a node's containerd listens.
pub(super) fn socket(folder: &Path) -> PathBuf {
    folder.join("containerd.sock")
}
