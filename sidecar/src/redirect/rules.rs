//! Which rules a pod gets; pure.

use std::net::{IpAddr, SocketAddr};

use countersign_contract::names;

use crate::args::RedirectArgs;

/// Where in the kernel a chain is called (netfilter hooks of the inet family).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// Before routing: what comes from outside.
    PreRouting,
    /// What the namespace itself sends.
    Output,
    /// What is about to be delivered to a socket of the namespace.
    Input,
}

/// What a chain may do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Choose the destination of new connections.
    Nat,
    /// Drop packets.
    Filter,
}

/// What a rule looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// The destination port.
    Port(u16),
    /// The destination, address and port.
    Destination(SocketAddr),
    /// The user whose connection it is.
    User(u32),
    /// Packets that leave by the loopback interface.
    Loopback,
    /// Packets that came from another interface than the loopback one, with an address of it as
    /// destination (127.0.0.0/8). The kernel drops those of `::1` itself.
    LoopbackFromOutside,
    /// Packets that came from another interface than the loopback one, and belong to no connection
    /// that connection tracking knows.
    InvalidFromOutside,
    /// Destinations that are no address of this namespace.
    NotLocal,
    /// Packets from the loopback interface.
    FromLoopback,
    /// Packets of connections that were redirected.
    Redirected,
    /// Packets that begin no connection.
    NotNew,
    /// Anything.
    Any,
}

/// What is done with a TCP connection that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It is left alone.
    Accept,
    /// It is dropped.
    Drop,
    /// It goes to this port instead.
    Redirect(u16),
}

/// A chain, whose first rule that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    pub(super) hook: Hook,
    pub(super) kind: Kind,
    pub(super) rules: Vec<(Match, Action)>,
}

/// All chains; `name_servers` are those of the pod's `/etc/resolv.conf`.
pub(super) fn chains(args: &RedirectArgs, name_servers: &[IpAddr]) -> Vec<Chain> {
    let guard = (args.inbound.is_some() || args.outbound.is_some()).then(guard);
    let inbound = args.inbound.map(|port| [inbound(args, port), delivered(args, port)]);
    let outbound = args.outbound.map(|port| outbound(args, name_servers, port));
    guard.into_iter().chain(inbound.into_iter().flatten()).chain(outbound).collect()
}

/// Packets that no redirect may see. A packet to 127.0.0.0/8 from outside would be redirected before
/// the kernel drops it as a martian, and a packet that connection tracking calls invalid would reach
/// the application's port untranslated, which answers it with a reset.
fn guard() -> Chain {
    let rules =
        vec![(Match::LoopbackFromOutside, Action::Drop), (Match::InvalidFromOutside, Action::Drop)];
    Chain { name: "guard", hook: Hook::PreRouting, kind: Kind::Filter, rules }
}

/// Ports that are not redirected. A connection to the sidecar's own port is left as it is: the sidecar
/// refuses it by name.
fn left_inbound(args: &RedirectArgs, port: u16) -> Vec<u16> {
    let own = [port, args.outbound.unwrap_or(names::OUTBOUND_PORT), names::ADMIN_PORT];
    own.into_iter().chain(args.skip_inbound.iter().copied()).collect()
}

/// What is not for this namespace is forwarded or dropped by the kernel, and never redirected: the
/// sidecar would call it in the pod's name.
fn inbound(args: &RedirectArgs, port: u16) -> Chain {
    let first = vec![(Match::NotLocal, Action::Accept)];
    let rules = all_but(&left_inbound(args, port), first, Action::Redirect(port));
    Chain { name: "inbound", hook: Hook::PreRouting, kind: Kind::Nat, rules }
}

/// New connections that would reach a socket though they were not redirected: whatever the rules above
/// took for foreign, and the kernel for local.
fn delivered(args: &RedirectArgs, port: u16) -> Chain {
    let first = vec![
        (Match::FromLoopback, Action::Accept),
        (Match::Redirected, Action::Accept),
        (Match::NotNew, Action::Accept),
    ];
    let rules = all_but(&left_inbound(args, port), first, Action::Drop);
    Chain { name: "delivered", hook: Hook::Input, kind: Kind::Filter, rules }
}

/// The port of name servers, which are asked before anything else can be.
const DNS: u16 = 53;

/// Only the pod's own name servers are left alone: a server in the mesh on port 53 is called by mutual
/// TLS like any other.
fn outbound(args: &RedirectArgs, name_servers: &[IpAddr], port: u16) -> Chain {
    let mut first =
        vec![(Match::User(args.uid), Action::Accept), (Match::Loopback, Action::Accept)];
    let mut leave = args.leave.clone();
    leave.extend(name_servers.iter().map(|server| SocketAddr::new(*server, DNS)));
    leave.sort_unstable();
    leave.dedup();
    first.extend(leave.into_iter().map(|to| (Match::Destination(to), Action::Accept)));
    let rules = all_but(&args.skip_outbound, first, Action::Redirect(port));
    Chain { name: "outbound", hook: Hook::Output, kind: Kind::Nat, rules }
}

fn all_but(left: &[u16], mut rules: Vec<(Match, Action)>, others: Action) -> Vec<(Match, Action)> {
    let mut left = left.to_vec();
    left.sort_unstable();
    left.dedup();
    rules.extend(left.into_iter().map(|port| (Match::Port(port), Action::Accept)));
    rules.push((Match::Any, others));
    rules
}

/// The name servers of a `resolv.conf` (resolv.conf(5)); what is no address is passed over. Pure.
pub(super) fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let is_name_server = words.next() == Some("nameserver");
        let address = words.next().filter(|_| is_name_server)?;
        // A link-local address may name its interface.
        address.split('%').next()?.parse().ok()
    };
    resolv_conf.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_from_resolv_conf() {
        let text = "search a.svc b\nnameserver 10.96.0.10\n nameserver\tfe80::1%eth0 # comment\n\
                    #nameserver 1.1.1.1\nnameserver\nnameserver example.org\noptions ndots:5\n";
        let expected: [IpAddr; 2] = ["10.96.0.10".parse().unwrap(), "fe80::1".parse().unwrap()];
        assert_eq!(name_servers(text), expected);
        assert!(name_servers("").is_empty());
    }
}
