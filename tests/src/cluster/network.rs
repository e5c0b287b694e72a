//! The network namespace of a node. Nothing that happens in it leaves the machine: its one link
//! ends on this host, which forwards nothing for it.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context as _, bail};

/// The network of one node.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) namespace: String,
    pub(super) node: Ipv4Addr,
}

/// The name of a cluster's network namespace.
pub(super) fn namespace(cluster: &str) -> String {
    format!("countersign-{cluster}")
}

impl Network {
    /// Makes the namespace, with an `eth0` whose other end is on the host, so that the API server
    /// can be reached from here.
    pub(super) fn make(cluster: &str) -> anyhow::Result<Self> {
        let namespace = namespace(cluster);
        let subnet = free_subnet()?;
        let (host, node) = (Ipv4Addr::new(172, 30, subnet, 1), Ipv4Addr::new(172, 30, subnet, 2));
        let link = format!("countersign{subnet}");
        ip(&["netns", "add", &namespace])?;
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
        ip(&["addr", "add", &format!("{host}/24"), "dev", &link])?;
        ip(&["link", "set", &link, "up"])?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        ip(&["-n", &namespace, "addr", "add", &format!("{node}/24"), "dev", "eth0"])?;
        ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
        // The kubelet wants a default route; nobody answers on this one.
        ip(&["-n", &namespace, "route", "add", "default", "dev", "eth0"])?;
        ip(&["netns", "exec", &namespace, "sysctl", "-qw", "net.ipv4.ip_forward=1"])?;
        Ok(Self { namespace, node })
    }

    /// A command that runs in the namespace. `ip netns exec` would remount /sys and hide the
    /// cgroups from the kubelet.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).arg(program);
        command
    }
}

/// Takes the namespace away, and its link with it.
pub(super) fn remove(cluster: &str) -> anyhow::Result<()> {
    remove_namespace(&namespace(cluster))
}

/// Takes a namespace away, if it is there.
pub(super) fn remove_namespace(name: &str) -> anyhow::Result<()> {
    if std::path::Path::new("/run/netns").join(name).exists() {
        ip(&["netns", "del", name])?;
    }
    Ok(())
}

/// A subnet of 172.30.0.0/16 that no link of this host is on.
fn free_subnet() -> anyhow::Result<u8> {
    let output = Command::new("ip").args(["-o", "-4", "addr"]).output().context("running ip")?;
    let taken = String::from_utf8_lossy(&output.stdout).into_owned();
    let free = |subnet: &u8| !taken.contains(&format!(" 172.30.{subnet}."));
    (0..=255).find(free).context("every subnet of 172.30.0.0/16 is taken")
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments).output().context("running ip")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("`ip {}`: {said}", arguments.join(" "));
    }
    Ok(())
}
