//! What is kept of the objects of which a cluster has many: a Pod of Kubernetes' own type takes seven
//! kilobytes, mostly of room for what nobody set.
//!
//! They are read into these types at once, so that what is left out is never there, not even while a
//! list is read.

mod metadata;
mod pod;
mod service;
mod slice;

pub use pod::MeshPod;
pub use service::{MeshPort, MeshService};
pub use slice::{EndpointState, Hints, MeshEndpoint, MeshSlice, SERVICE_NAME, TargetPod};
