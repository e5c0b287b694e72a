//! Which rules a pod gets; pure.

use std::net::SocketAddr;

use countersign_contract::names;

use crate::args::RedirectArgs;

/// Where in the kernel a chain is called (netfilter hooks of the inet family).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// Before routing: what comes from outside.
    PreRouting,
    /// What the namespace itself sends.
    Output,
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
    /// The loopback interface.
    Loopback,
    /// Anything.
    Any,
}

/// What is done with a TCP connection that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It is left alone.
    Accept,
    /// It goes to this port instead.
    Redirect(u16),
}

/// A chain, whose first rule that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    pub(super) hook: Hook,
    pub(super) rules: Vec<(Match, Action)>,
}

pub(super) fn chains(args: &RedirectArgs) -> Vec<Chain> {
    let inbound = args.inbound.map(|port| inbound(args, port));
    let outbound = args.outbound.map(|port| outbound(args, port));
    inbound.into_iter().chain(outbound).collect()
}

fn inbound(args: &RedirectArgs, port: u16) -> Chain {
    // A connection to the port itself is left as it is: the sidecar refuses it by name.
    let mut left = vec![port, args.outbound.unwrap_or(names::OUTBOUND_PORT), names::ADMIN_PORT];
    left.extend(&args.skip_inbound);
    Chain { name: "inbound", hook: Hook::PreRouting, rules: all_but(&left, vec![], port) }
}

/// Name servers are asked before anything else can be: they are never redirected.
const DNS: u16 = 53;

fn outbound(args: &RedirectArgs, port: u16) -> Chain {
    let mut first =
        vec![(Match::User(args.uid), Action::Accept), (Match::Loopback, Action::Accept)];
    let mut leave = args.leave.clone();
    leave.sort_unstable();
    leave.dedup();
    first.extend(leave.into_iter().map(|to| (Match::Destination(to), Action::Accept)));
    let skipped = [args.skip_outbound.as_slice(), &[DNS]].concat();
    Chain { name: "outbound", hook: Hook::Output, rules: all_but(&skipped, first, port) }
}

fn all_but(left: &[u16], mut rules: Vec<(Match, Action)>, port: u16) -> Vec<(Match, Action)> {
    let mut left = left.to_vec();
    left.sort_unstable();
    left.dedup();
    rules.extend(left.into_iter().map(|port| (Match::Port(port), Action::Accept)));
    rules.push((Match::Any, Action::Redirect(port)));
    rules
}
