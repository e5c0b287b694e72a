//! Discovery: who is behind an address, told to sidecars that are known by their own certificates,
//! and kept up to date for as long as they follow it. Every replica serves it.
//!
//! `directory` has the indexes, `answer` is pure, `hub` tells `followers` of changes, `stream` is one
//! sidecar, `server` its connection, `places` how many of these there may be, `own` the certificate by
//! which sidecars know us. What sidecars tell, `relay` tells the replica that leads (over `call`), which
//! hears it in `relayed`.

mod answer;
mod call;
mod directory;
mod followers;
mod hub;
mod methods;
mod own;
mod pending;
mod places;
mod plain;
mod ranges;
mod relay;
mod relayed;
mod server;
mod strangers;
mod stream;
mod topology;

pub use hub::Hub;
pub use own::keep;
pub use relay::Leader;
pub use server::{Error, listen, serve};
