//! The cluster, API tests, end-to-end tests and benchmarks; may import everything.

pub mod bench;
pub mod cluster;
#[cfg(feature = "mesh")]
pub mod mesh;
pub mod scenario;
#[cfg(feature = "soak")]
pub mod soak;
