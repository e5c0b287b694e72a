//! TLS: one provider, one way to serve, one way to call, and names for what goes wrong.

mod client;
mod peer;
pub mod provider;
mod refusal;
mod server;

pub use client::configuration as client_configuration;
pub use peer::Peer;
pub use refusal::of_error;
pub use server::{mutual, server_only};
