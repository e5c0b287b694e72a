//! The client of the API server: every answer has a deadline (`deadline`), and writes need a Lease that
//! was renewed lately (`fence`).

mod deadline;
mod fence;

pub(crate) use deadline::is_watch;
pub use deadline::{Deadlines, TimedBody, TimedOut};
pub use fence::{Fence, Fenced, Refused};
