//! What both programs cost on this machine, as tables beside what they must reach.
//!
//! `statistics`, `counters` and `table` are pure; `process` builds the programs and reads what the
//! kernel counts about them. `sidecar` needs nothing but a sidecar; `operator` runs the released
//! operator on a control plane of its own, one measurement a file; `mesh` needs a cluster.

#[cfg(any(feature = "bench", feature = "soak"))]
pub mod background;
pub mod counters;
#[cfg(feature = "bench")]
pub mod mesh;
#[cfg(feature = "bench")]
pub mod operator;
pub mod process;
#[cfg(feature = "bench")]
mod schedule;
#[cfg(feature = "bench")]
pub mod sidecar;
pub mod statistics;
pub mod table;
