//! TLS: one provider, one way to serve, one way to call, and names for what goes wrong.

mod again;
mod client;
mod digest;
pub(crate) mod handshake;
mod peer;
pub mod provider;
mod refusal;
mod server;
mod signatures;
#[cfg(test)]
mod tests;
mod trust;
mod verified;

pub use client::configuration as client_configuration;
pub use peer::{Peer, SignedBy};
pub use refusal::{of_error, text};
pub use server::{Answer, Asked, configuration as server_configuration};
pub(crate) use trust::device_roots;
pub use trust::{InvalidDeviceRoots, InvalidList, Trust};
