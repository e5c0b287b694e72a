//! Discovery: who is behind an address, told to sidecars that are known by their own certificates,
//! and kept up to date for as long as they follow it. Every replica serves it.
//!
//! `directory` has the indexes, `answer` is pure, `hub` tells followers of changes, `stream` is one
//! sidecar, `server` its connection, `own` the certificate by which sidecars know us.

mod answer;
mod directory;
mod hub;
mod own;
mod plain;
mod server;
mod stream;

pub use hub::Hub;
pub use own::keep;
pub use server::{Error, listen, serve};
