//! The sidecar: terminates and originates mutual TLS for its pod.
//!
//! It does not know that Kubernetes exists: files, flags and sockets are all that it is given.
//! Read `inbound` first, the story of one connection from first byte to last, then `transparent`, its
//! mirror, and `outbound`, the same for upstreams that were named. `credentials` are published whole or not at all; without them every handshake fails.

mod admin;
mod admission;
pub mod args;
mod call;
mod carrier;
mod connection;
mod connection_limits;
mod connections;
pub mod credentials;
mod descriptors;
pub mod detect;
mod dial;
mod discovery;
mod edges;
mod essential;
mod file;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod http_memory;
mod inbound;
mod listen;
mod live;
mod memory_limit;
pub mod metrics;
mod original_dst;
mod outbound;
mod own_addresses;
mod pacing;
mod pending;
pub mod policy;
pub mod probe;
mod proxy_header;
pub mod record;
pub mod redirect;
mod refusal_log;
mod relay;
pub mod run;
#[cfg(test)]
mod sizes;
mod source_ports;
mod sweep;
pub mod telemetry;
pub mod tls;
mod traces;
mod transparent;
mod worker;
