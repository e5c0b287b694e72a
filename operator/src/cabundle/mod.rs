//! Fills the caBundle of webhook configurations, of APIServices and of conversion webhooks, so that
//! the API server trusts who answers there: from the Secret of a Certificate, from any Secret that
//! allows it, or with the authority of the API server itself.
//!
//! `source` reads what an object asks for, `targets` knows where each kind has its bundles,
//! `observe` reads, `decide` is pure, `reconcile` writes, `run` says who is looked at and when.

mod decide;
mod observe;
mod reconcile;
mod run;
mod source;
mod targets;

pub use observe::ApiServerAuthority;
pub use run::run;
