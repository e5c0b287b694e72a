//! Injection: a mutating admission webhook that adds the sidecar to pods that ask for it.
//!
//! `patch` is pure: from a pod to what is added to it, or why it is not. `annotations` reads what the
//! pod asks for, and `known` says what becomes of a mistake; `probes` turns the kubelet's questions to
//! the sidecar; `dress` gives the containers of `sidecar` what was asked for. `review` wraps it in
//! Kubernetes' AdmissionReview. `server` speaks HTTPS over `connections`, with a certificate of
//! `own_certificate`, which `keep` renews, together with the caBundle by which the API server
//! knows it. `notes` tells of mistakes once the pod is there; `audit` finds pods that were missed.

mod annotations;
mod args;
pub mod audit;
mod connections;
mod dress;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod keep;
mod known;
mod notes;
mod own_certificate;
mod patch;
mod probes;
mod quantity;
mod resources;
mod review;
mod server;
mod sidecar;

pub use args::InjectArgs;
pub use notes::tell;
pub use patch::{Injection, Skip, inject};
pub use server::{Error, serve};
