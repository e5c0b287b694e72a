//! Workload identities: for every service account with injected pods, one Certificate with the
//! SPIFFE URI of that account, and the DNS names of the Services that its pods are behind.
//!
//! `desired` is pure; `reconcile` applies it where it is not there yet; `refresh` tells the
//! kubelet of pods whose credentials were renewed.

pub mod desired;
mod labels;
mod reconcile;
mod refresh;

pub use desired::is_identity;
pub use reconcile::{Error, ensure, error_policy, injected, reconcile};
pub(crate) use reconcile::{is_over, service_names};
pub use refresh::{Refreshes, refresh_pods};
