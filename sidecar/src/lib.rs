//! The sidecar: terminates and originates mutual TLS for its pod.
//!
//! It does not know that Kubernetes exists: files, flags and sockets are all that it is given.
//! Read `inbound` first, the story of one connection from first byte to last, then `outbound`, its
//! mirror. `credentials` are published whole or not at all; without them every handshake fails.

pub mod admin;
pub mod args;
mod connection;
pub mod credentials;
pub mod detect;
mod dial;
mod file;
pub mod inbound;
mod listen;
pub mod metrics;
mod original_dst;
pub mod outbound;
pub mod policy;
pub mod redirect;
pub mod run;
pub mod telemetry;
pub mod tls;
