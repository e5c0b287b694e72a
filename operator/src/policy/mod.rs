//! AccessPolicies: who may reach which pods, and whether that is in force.
//!
//! `compile` makes one document of all policies of a namespace, within `bounds`; `documents` holds what was compiled,
//! on every replica. The one that reconciles writes it into a ConfigMap that the pods mount
//! (`publish`), has their kubelets look at it (`touch` decides), and says on each policy's status
//! (`status`, `conflict`) how many follow it and whom it refuses, as sidecars report (`reports`).

mod authorities;
mod bounds;
mod compile;
mod compiled;
mod conflict;
mod defaults;
mod documents;
mod error;
mod modes;
mod observe;
mod publish;
mod reconcile;
mod refresh;
mod reports;
mod status;
#[cfg(test)]
pub(crate) mod support;
mod tell;
mod touch;

pub use compile::compile;
pub use compiled::Compiled;
pub use defaults::{DefaultAccess, DefaultUnmeshed, Defaults};
pub use documents::{Documents, document};
pub use error::Error;
pub use reconcile::{Policies, error_policy, reconcile, wake};
pub use reports::{Hearing, Replica, Reports, believed};
#[cfg(test)]
pub(crate) use support::settings as settings_for_tests;
