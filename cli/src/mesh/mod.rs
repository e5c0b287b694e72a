//! The mesh, as people ask about it: `who` a pod is, `why` a call would be allowed or refused, and
//! `edges`, who talks to whom.
//!
//! `gather` reads pods and the policies that the operator compiled for their namespaces; who is
//! allowed is decided by the same functions that sidecars decide by (countersign-contract).

pub mod edges;
mod forward;
pub(crate) mod gather;
mod names;
pub mod who;
pub mod why;

pub use names::{Called, Caller};

#[cfg(test)]
mod support;
