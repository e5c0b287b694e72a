//! Who signs: one file an issuer type, and the reconciler that says whether it can.

mod authorities;
pub mod authority;
pub mod guard;
mod namespace;
pub mod policy;
mod reconcile;
mod requesters_key;
mod scope;
mod sign;
mod verifiable;

pub use authorities::{Authorities, Reading};
pub use guard::Requester;
pub use reconcile::{AnyIssuer, Error, error_policy, reconcile};
pub use requesters_key::{KeyUnavailable, load as load_requesters_key};
pub use scope::Scope;
pub use sign::{Denied, Job, SignError, Signed, sign, sign_temporary, spec_of};
