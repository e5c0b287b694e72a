//! `status certificate`: how a Certificate is, what it waits for, and what to do.
//!
//! `gather` reads, `report` picks what is told, `outlook` says what comes next, `text` writes it
//! for people. What may not be read is told, and the rest all the same.

mod gather;
mod outlook;
mod report;
mod text;

pub use self::gather::Seen;
pub use self::outlook::{Outlook, State};
pub use self::report::Report;

use crate::args::Global;
use crate::clock;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::output;

/// Reads a Certificate and what stands around it, and says how it is.
///
/// # Errors
/// When the Certificate cannot be read.
pub async fn run(global: &Global, name: &str) -> Result<(), Error> {
    let cluster = Cluster::of(global).await?;
    let seen = gather::gather(&cluster, name).await?;
    let now = clock::now();
    output::print(global.output, &report::report(&seen, now), |report| text::text(report, now))
}

#[cfg(test)]
mod tests;
