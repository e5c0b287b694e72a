//! Injection: a mutating admission webhook that adds the sidecar to pods that ask for it.
//!
//! `patch` is pure: from a pod to what is added to it, or why it is not. `review` wraps it in
//! Kubernetes' AdmissionReview. `server` speaks HTTPS over `connections`, with a certificate of
//! `own_certificate`, which `keep` renews, together with the caBundle by which the API server
//! knows it.

mod args;
mod connections;
mod keep;
mod own_certificate;
mod patch;
mod review;
mod server;
mod sidecar;

pub use args::InjectArgs;
pub use patch::{Injection, Skip, inject};
pub use server::{Error, serve};
