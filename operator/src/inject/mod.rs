//! Injection: a mutating admission webhook that adds the sidecar to pods that ask for it.
//!
//! `patch` is pure: from a pod to what is added to it, or why it is not. `annotations` reads what the
//! pod asks for, and `known` says what becomes of a mistake; `probes` turns the kubelet's questions to
//! the sidecar; `dress` gives the containers of `sidecar` what was asked for. `review` reads Kubernetes'
//! AdmissionReview, as far as `pod` needs it, and answers it. `server` speaks HTTPS on `threads` of its
//! own, within the `budget` of bytes for all reviews, with a certificate that `serving` follows; `client_authority` says which clients may connect. The
//! controller issues it (`own_certificate`), and `keep` renews it, together with the caBundle by which the
//! API server knows it. `notes` reports mistakes once the pod is there; `audit` finds pods that were missed.

mod again;
mod annotations;
mod api_server;
mod args;
pub mod audit;
mod bounded;
mod budget;
mod client_authority;
mod dress;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod keep;
mod known;
mod notes;
mod own_certificate;
mod patch;
mod pod;
mod probes;
mod quantity;
mod resources;
mod review;
mod server;
mod serving;
mod sidecar;
mod threads;
mod time_limits;

pub use args::InjectArgs;
pub use keep::keep;
pub use notes::tell;
pub use patch::{Injection, Skip, inject};
pub use pod::Pod;
pub use server::{Error, serve};
