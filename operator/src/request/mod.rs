//! CertificateRequests: CSRs of others, whose private keys never come here.
//!
//! A request is decided once and for good: issued, failed or denied. `decide` is pure; `reconcile`
//! reads, signs and writes, in one write.

mod decide;
mod reconcile;

pub use reconcile::{Error, error_policy, reconcile};
