//! Discovery: who is behind an address, told to sidecars that are known by their own certificates,
//! and kept up to date for as long as they follow it. Every replica serves it.
//!
//! `directory` has the indexes (`claims` says who has an address), `answer` is pure, `hub` tells `followers`
//! of changes, `stream` is one sidecar, `session` what it asks for within its budgets (`bucket`), `server`
//! its connection, `places` how many of these there may be, `own` the certificate by which sidecars know
//! us. `plain` and `strangers` ask the API server, in turns (`fair`); `published` says which ranges sidecars
//! can rely on. What sidecars tell, `relay` tells the replica that leads (over `call`), which hears it in
//! `relayed`.

mod answer;
mod bucket;
mod call;
mod claims;
mod directory;
mod fair;
mod followers;
mod home;
mod hub;
mod methods;
mod own;
mod pending;
mod places;
mod plain;
mod published;
mod ranges;
mod rarely;
mod relay;
mod relayed;
mod server;
mod session;
pub(crate) mod short_chains;
mod strangers;
mod stream;
mod topology;

pub use home::HomeAddresses;
pub use hub::Hub;
pub use own::keep;
pub use relay::Leader;
pub use server::{Error, listen, serve};
