//! Certificates: from a spec to a signed Secret, and again before it expires.
//!
//! One reconciliation is a straight line: `settled` sees whether anything changed at all,
//! [`observe`] reads, [`checks`] ask one question each,
//! [`decide`] makes one [`decide::Decision`], [`act`] carries it out, [`status`] says what the
//! status should now be. Everything between reading and writing is pure.

pub mod act;
mod adoption;
mod answer;
pub mod ask;
pub mod checks;
pub mod decide;
mod ending;
mod error;
pub mod extras;
pub mod keys;
pub mod names;
pub mod observe;
mod passwords;
pub mod pending;
mod reconcile;
pub mod reference;
pub mod renewal;
pub mod repairs;
pub mod request;
pub mod secret;
mod settled;
pub mod signer;
pub mod status;
mod stored;
mod successor;
#[cfg(test)]
pub(crate) mod support;
pub mod unfinished;
pub mod wanted;

pub use error::Error;
pub use passwords::inputs;
pub use reconcile::{error_policy, is_identity, reconcile, reconcile_identity};
