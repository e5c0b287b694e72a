//! The operator: turns Certificate resources into signed Secrets and injects the sidecar.
//!
//! Read in this order: `certificate` (observe, checks, decide, act, status: the heart), `issuer`
//! (who signs), `request` (a CSR of somebody else's), `identity` (a Certificate for every service
//! account with injected pods), `policy` (who may reach them), `inject` (the webhook that adds the
//! sidecar). Keys and certificates
//! are the crate `pki`, without kube.
//!
//! Only `observe` functions read the API, only `act` functions write it; what lies between is
//! pure, with `now` as an argument.

pub mod admin;
pub mod api_client;
pub mod args;
pub mod cabundle;
pub mod certificate;
pub mod clock;
mod connections;
pub mod context;
pub mod descriptors;
pub mod discovery;
mod duration;
pub mod event;
pub mod identity;
pub mod inject;
pub mod issuer;
pub mod issuer_kinds;
pub mod kept;
pub mod kubernetes;
pub mod last_word;
pub mod leader;
pub mod listen;
pub mod metrics;
pub mod own_credentials;
pub use countersign_pki as pki;
pub mod policy;
mod rate;
pub mod request;
mod retry;
pub mod role;
pub mod run;
pub mod story;
pub mod telemetry;
pub mod watch;
mod worker;
