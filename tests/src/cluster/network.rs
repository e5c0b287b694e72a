//! The network namespaces of a cluster's nodes. Nothing that happens in them leaves the machine: the
//! one link out of them ends on this host, which forwards nothing for it.
//!
//! The first node has that link. Every other one has a link to the first, which routes between them,
//! so that no bridge and no rule of the host's is in the way. Nobody masquerades: who is called by a
//! pod of another node sees that pod's own address.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context as _, bail};

use super::MOST_NODES;

/// The network of one node.
#[derive(Clone, Debug)]
pub(super) struct Network {
    /// The node's name in its cluster.
    pub(super) node: String,
    namespace: String,
    pub(super) address: Ipv4Addr,
    /// Where its pods get their addresses from.
    pub(super) pods: String,
}

/// What a node of a cluster is called.
pub(super) fn name(number: u8) -> String {
    if number == 1 { "node".to_owned() } else { format!("node-{number}") }
}

/// The name of a node's network namespace. No cluster's name has a dot: another cluster's first node
/// cannot be meant.
fn namespace(cluster: &str, number: u8) -> String {
    if number == 1 {
        format!("countersign-{cluster}")
    } else {
        format!("countersign-{cluster}.{}", name(number))
    }
}

/// Makes the namespaces of so many nodes, and the links between them.
pub(super) fn make(cluster: &str, nodes: u8) -> anyhow::Result<Vec<Network>> {
    let subnet = free_subnet()?;
    let networks: Vec<_> =
        (1..=nodes).map(|number| Network::new(cluster, subnet, number)).collect();
    let Some((first, others)) = networks.split_first() else { bail!("a cluster without nodes") };
    first.make_first(subnet)?;
    others.iter().try_for_each(|other| other.make_beside(first))?;
    Ok(networks)
}

impl Network {
    fn new(cluster: &str, subnet: u8, number: u8) -> Self {
        Self {
            node: name(number),
            namespace: namespace(cluster, number),
            address: Ipv4Addr::new(172, 30, subnet, number + 1),
            pods: format!("10.244.{}.0/24", number - 1),
        }
    }

    /// With an `eth0` whose other end is on the host, so that the API server can be reached from here.
    fn make_first(&self, subnet: u8) -> anyhow::Result<()> {
        let (host, link) = (Ipv4Addr::new(172, 30, subnet, 1), format!("countersign{subnet}"));
        self.make_namespace()?;
        let other_end = ["peer", "name", "eth0", "netns", &self.namespace];
        ip(&[&["link", "add", &link, "type", "veth"], &other_end[..]].concat())?;
        ip(&["addr", "add", &format!("{host}/24"), "dev", &link])?;
        ip(&["link", "set", &link, "up"])?;
        self.ip(&["addr", "add", &format!("{}/24", self.address), "dev", "eth0"])?;
        self.ip(&["link", "set", "eth0", "up"])?;
        // The kubelet wants a default route; nobody answers on this one.
        self.ip(&["route", "add", "default", "dev", "eth0"])
    }

    /// With an `eth0` whose other end is in the first node's namespace and bears this node's name.
    fn make_beside(&self, first: &Self) -> anyhow::Result<()> {
        let (here, there) = (self.address.to_string(), first.address.to_string());
        self.make_namespace()?;
        let other_end = ["peer", "name", "eth0", "netns", &self.namespace];
        first.ip(&[&["link", "add", &self.node, "type", "veth"], &other_end[..]].concat())?;
        first.ip(&["addr", "add", &format!("{there}/32"), "dev", &self.node])?;
        first.ip(&["link", "set", &self.node, "up"])?;
        first.ip(&["route", "add", &here, "dev", &self.node])?;
        first.ip(&["route", "add", &self.pods, "via", &here])?;
        self.ip(&["addr", "add", &format!("{here}/32"), "dev", "eth0"])?;
        self.ip(&["link", "set", "eth0", "up"])?;
        self.ip(&["route", "add", &there, "dev", "eth0"])?;
        self.ip(&["route", "add", "default", "via", &there])
    }

    fn make_namespace(&self) -> anyhow::Result<()> {
        ip(&["netns", "add", &self.namespace])?;
        self.ip(&["link", "set", "lo", "up"])?;
        ip(&["netns", "exec", &self.namespace, "sysctl", "-qw", "net.ipv4.ip_forward=1"])
    }

    fn ip(&self, arguments: &[&str]) -> anyhow::Result<()> {
        ip(&[&["-n", &self.namespace], arguments].concat())
    }

    /// A command that runs in the namespace. `ip netns exec` would remount /sys and hide the
    /// cgroups from the kubelet.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).arg(program);
        command
    }
}

/// Takes the namespaces of a cluster away, as many as there are, and their links with them.
pub(super) fn remove(cluster: &str) -> anyhow::Result<()> {
    (1..=MOST_NODES).try_for_each(|number| remove_namespace(&namespace(cluster, number)))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_nodes_of_any_clusters_share_a_namespace() {
        let clusters = ["two", "two-node", "two-node-2"];
        let all: BTreeSet<_> = clusters
            .iter()
            .flat_map(|cluster| (1..=MOST_NODES).map(|number| namespace(cluster, number)))
            .collect();
        assert_eq!(all.len(), clusters.len() * usize::from(MOST_NODES), "{all:?}");
    }

    #[test]
    fn each_node_has_an_address_and_pods_of_its_own() {
        let seen: Vec<_> = (1..=MOST_NODES)
            .map(|number| Network::new("two", 7, number))
            .map(|network| format!("{} {} {}", network.node, network.address, network.pods))
            .collect();
        assert_eq!(
            seen,
            [
                "node 172.30.7.2 10.244.0.0/24",
                "node-2 172.30.7.3 10.244.1.0/24",
                "node-3 172.30.7.4 10.244.2.0/24",
                "node-4 172.30.7.5 10.244.3.0/24",
            ]
        );
    }
}
