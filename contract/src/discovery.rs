//! What sidecars ask the operator, and what they tell it: messages of a gRPC service with one method
//! for them, a stream in both directions that lives as long as the sidecar can keep it, and one by
//! which the operator's replicas tell the one that leads what sidecars told them.
//!
//! `docs/discovery.md` has the same as a .proto file. Fields are only ever added.

use prost::{Enumeration, Message};

/// The path of the method: `/package.Service/Method`.
pub const PATH: &str = "/countersign.discovery.v1.Discovery/Follow";

/// The path of the method by which replicas tell the leader: nobody else may call it.
pub const RELAY_PATH: &str = "/countersign.discovery.v1.Discovery/Relay";

/// How many destinations one sidecar may follow at once.
pub const MOST_DESTINATIONS: usize = 4096;

/// The longest message that either side takes, in bytes.
pub const LONGEST_MESSAGE: usize = 1024 * 1024;

/// From a sidecar.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// Who asks; in the first message.
    #[prost(message, optional, tag = "1")]
    pub hello: Option<Hello>,
    /// Destinations to be followed from now on, `IP:PORT`.
    #[prost(string, repeated, tag = "2")]
    pub follow: Vec<String>,
    /// Destinations that need be followed no longer.
    #[prost(string, repeated, tag = "3")]
    pub forget: Vec<String>,
    /// What the sidecar has to tell.
    #[prost(message, optional, tag = "4")]
    pub report: Option<Report>,
}

/// Who asks, beside what its certificate says.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    /// The name of its pod, in the namespace of its identity.
    #[prost(string, tag = "1")]
    pub pod: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// What a sidecar tells of itself.
#[derive(Clone, PartialEq, Message)]
pub struct Report {
    /// The revision of the policies that are in force.
    #[prost(string, tag = "1")]
    pub policy_revision: String,
    /// Who was refused, or would have been, since the report before.
    #[prost(message, repeated, tag = "2")]
    pub denials: Vec<Denial>,
}

/// Somebody was refused by policies, or would have been if audited ones held.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Denial {
    /// Who.
    #[prost(string, tag = "1")]
    pub peer: String,
    /// On which port.
    #[prost(uint32, tag = "2")]
    pub port: u32,
    /// By which policies.
    #[prost(string, repeated, tag = "3")]
    pub policies: Vec<String>,
    /// How often.
    #[prost(uint64, tag = "4")]
    pub count: u64,
    /// Whether it passed all the same: the policies are only audited.
    #[prost(bool, tag = "5")]
    pub audited: bool,
}

/// To a sidecar.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// What is known now of destinations that it follows.
    #[prost(message, repeated, tag = "1")]
    pub answers: Vec<Answer>,
    /// Which addresses may be of the cluster, in the first message and whenever that changes. An
    /// operator that does not send them has its sidecars ask about every address.
    #[prost(message, optional, tag = "2")]
    pub ranges: Option<Ranges>,
}

/// The addresses of pods and Services, and those that Services may claim.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Ranges {
    /// Blocks of addresses (CIDR); one of them may hold more than the cluster uses.
    #[prost(string, repeated, tag = "1")]
    pub inside: Vec<String>,
    /// Whether the operator vouches for it that an address outside of all of them is outside of the
    /// cluster. If not, earlier ones hold no longer.
    #[prost(bool, tag = "2")]
    pub whole: bool,
}

/// The most blocks that a sidecar takes.
pub const MOST_RANGES: usize = 1024;

/// A name of a peer in a report has so many bytes at most; longer ones are cut.
pub const LONGEST_PEER: usize = 256;

/// The longest message that a sidecar should send, in bytes: operators take no longer ones.
pub const LONGEST_REQUEST: usize = 256 * 1024;

/// How many destinations one message may name, to be followed and to be forgotten.
pub const MOST_NAMED: usize = 2 * MOST_DESTINATIONS;

/// What is known of a destination. It stands until another one comes.
#[derive(Clone, PartialEq, Message)]
pub struct Answer {
    /// `IP:PORT`, as it was asked for.
    #[prost(string, tag = "1")]
    pub destination: String,
    /// What it is.
    #[prost(enumeration = "Kind", tag = "2")]
    pub kind: i32,
    /// Whose it is, for people: `Service shop/web`, `Pod shop/web-0`.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Who answers there now.
    #[prost(message, repeated, tag = "4")]
    pub endpoints: Vec<Endpoint>,
    /// Whether one client always gets the same endpoint (a Service's sessionAffinity).
    #[prost(bool, tag = "5")]
    pub sticky: bool,
}

/// What a destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// Nothing is said: never taken for an answer.
    Unspecified = 0,
    /// Nothing of the cluster's that we know: it is called as it is.
    Outside = 1,
    /// A Service: one of its endpoints is called.
    Service = 2,
    /// A pod: the one endpoint is it.
    Pod = 3,
}

/// Somebody who answers for a destination.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Endpoint {
    /// `IP:PORT`.
    #[prost(string, tag = "1")]
    pub address: String,
    /// How it is called.
    #[prost(enumeration = "Protocol", tag = "2")]
    pub protocol: i32,
    /// The SPIFFE ID that it must prove; empty where it is called as it is.
    #[prost(string, tag = "3")]
    pub identity: String,
}

/// How an endpoint is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Protocol {
    /// Nothing is said: such an endpoint is never called.
    Unspecified = 0,
    /// As it is: it is not in the mesh, or this port of its is not.
    Plain = 1,
    /// By mutual TLS.
    Mutual = 2,
}

/// From a replica that does not lead. The next one is sent once this one was heard.
#[derive(Clone, PartialEq, Message)]
pub struct Relay {
    /// What sidecars told it.
    #[prost(message, repeated, tag = "1")]
    pub told: Vec<Told>,
    /// The name of the replica's pod; in the first message, which is sent at once.
    #[prost(string, tag = "2")]
    pub replica: String,
}

/// What a sidecar told a replica.
#[derive(Clone, PartialEq, Message)]
pub struct Told {
    /// The namespace of its pod.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Its pod; none where denials of several pods are told.
    #[prost(string, tag = "2")]
    pub pod: String,
    /// What it reported.
    #[prost(message, optional, tag = "3")]
    pub report: Option<Report>,
    /// Its stream to this replica has ended.
    #[prost(bool, tag = "4")]
    pub gone: bool,
}

/// To a replica: the message before is in the leader's memory.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Heard {}
