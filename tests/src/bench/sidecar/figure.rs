//! Everything that is measured, and what must be reached.

use super::load::client::Group;

/// Whether the terminator has met the client's certificate before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// One chain, again and again.
    SeenBefore,
    /// A leaf of its own for every connection.
    NeverSeen,
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

/// A row of the table, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    HandshakeCpu(Group, Peer),
    HandshakeRate(Group, Peer),
    /// With this many connections.
    BulkCpu(Way, u32),
    BulkRate(Way, u32),
    /// At this rate.
    RequestCpu(u32),
    /// In thousandths.
    RequestTime(u32, u16),
    MemoryIdle,
    /// With this many connections.
    MemoryEach(u32),
    /// After they closed.
    MemoryAfter(u32),
    Ready,
    Binary,
    ReloadFailed,
    ReloadDropped,
    ReloadSeen,
}

/// What must be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bar {
    /// This share of the least that a peer takes.
    OfBest(f64),
    /// This share of what the cryptography alone takes.
    OfFloor(f64),
    AtMost(f64),
}

impl Figure {
    pub(super) fn what(self) -> String {
        match self {
            Self::HandshakeCpu(group, peer) => format!("handshake, {}: CPU", case(group, peer)),
            Self::HandshakeRate(group, peer) => format!("handshake, {}", case(group, peer)),
            Self::BulkCpu(way, connections) => format!("{}: CPU", stream(way, connections)),
            Self::BulkRate(way, connections) => stream(way, connections),
            Self::RequestCpu(rate) => format!("{rate} requests/s: CPU each"),
            Self::RequestTime(rate, 999) => format!("{rate} requests/s: p99.9"),
            Self::RequestTime(rate, share) => format!("{rate} requests/s: p{}", share / 10),
            Self::MemoryIdle => "memory, idle".to_owned(),
            Self::MemoryEach(count) => format!("memory each of {count} idle connections"),
            Self::MemoryAfter(count) => format!("memory after {count} closed, of idle"),
            Self::Ready => "from start to ready".to_owned(),
            Self::Binary => "binary".to_owned(),
            Self::ReloadFailed => "reload each second: handshakes failed".to_owned(),
            Self::ReloadDropped => "reload each second: connections dropped".to_owned(),
            Self::ReloadSeen => "reload each second: new serial after".to_owned(),
        }
    }

    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::HandshakeCpu(..) | Self::RequestCpu(_) | Self::RequestTime(..) => "µs",
            Self::HandshakeRate(..) => "/s",
            Self::BulkCpu(..) => "s/GB",
            Self::BulkRate(..) => "Gbit/s",
            Self::MemoryIdle | Self::Binary => "MB",
            Self::MemoryEach(_) => "kB",
            Self::MemoryAfter(_) => "%",
            Self::Ready => "ms",
            Self::ReloadSeen => "s",
            Self::ReloadFailed | Self::ReloadDropped => "",
        }
    }

    pub(super) fn bars(self) -> Vec<Bar> {
        use Bar::{AtMost, OfBest, OfFloor};
        match self {
            Self::HandshakeCpu(Group::X25519, Peer::SeenBefore) => vec![OfBest(0.55), OfFloor(1.2)],
            Self::HandshakeCpu(Group::X25519, Peer::NeverSeen) => vec![OfBest(0.68), OfFloor(1.5)],
            Self::HandshakeCpu(Group::X25519MlKem768, Peer::SeenBefore) => vec![OfBest(0.6)],
            Self::HandshakeCpu(Group::X25519MlKem768, Peer::NeverSeen) => vec![OfBest(0.72)],
            Self::BulkCpu(..) => vec![OfBest(0.7)],
            Self::RequestCpu(_) => vec![OfBest(0.8)],
            Self::RequestTime(_, 990) => vec![OfBest(0.9)],
            Self::MemoryIdle => vec![AtMost(6.0)],
            Self::MemoryEach(1_000 | 5_000) => vec![AtMost(14.0)],
            Self::MemoryAfter(_) => vec![AtMost(110.0)],
            Self::Ready => vec![AtMost(60.0)],
            Self::Binary => vec![AtMost(10.0)],
            Self::ReloadFailed | Self::ReloadDropped => vec![AtMost(0.0)],
            Self::ReloadSeen => vec![AtMost(2.0)],
            Self::HandshakeRate(..)
            | Self::BulkRate(..)
            | Self::RequestTime(..)
            | Self::MemoryEach(_) => Vec::new(),
        }
    }
}

fn case(group: Group, peer: Peer) -> String {
    let group = match group {
        Group::X25519 => "X25519",
        Group::X25519MlKem768 => "X25519MLKEM768",
    };
    let peer = match peer {
        Peer::SeenBefore => "seen before",
        Peer::NeverSeen => "never seen",
    };
    format!("{group}, {peer}")
}

fn stream(way: Way, connections: u32) -> String {
    let way = match way {
        Way::ToServer => "to the server",
        Way::ToClient => "to the client",
    };
    format!("bulk {way}, {connections} conn.")
}
