//! What the operator and the sidecar both rely on, and nothing else.
//!
//! Names that both must spell the same (annotations, files, ports), the form of an identity, the
//! syntax of an upstream, of a served port and of a log filter, the policy document, the labels that people write, the
//! probes of a pod, the reasons for which a connection is refused, how the sections of a PEM text are found, and
//! how a container's memory limit is read.
//! No kube, no tokio, no rustls: a change here is a change of the agreement between two programs
//! that may be of different versions.

pub mod access;
pub mod chain;
pub mod covered;
pub mod discovery;
pub mod ending;
pub mod health;
pub mod identity;
pub mod labels;
pub mod log_filter;
pub mod log_queue;
pub mod memory_limit;
pub mod names;
pub mod pem;
pub mod policy;
pub mod probe;
pub mod refusal;
pub mod served;
pub mod upstream;

pub use ending::Ending;
pub use identity::{ExpectedPeer, SpiffeId, TrustDomain};
pub use probe::ProbeDocument;
pub use refusal::Refusal;
pub use served::Served;
pub use upstream::Upstream;
