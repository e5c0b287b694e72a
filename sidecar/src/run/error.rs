//! Why nothing is served, or no longer.

use std::path::PathBuf;

use crate::essential::TaskEnded;
use crate::{listen, policy, probe};

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum Error {
    #[error("{0} {1}: there is no such folder")]
    NoFolder(&'static str, PathBuf),
    #[error("--policy {path}: {source}")]
    ReadPolicy { path: PathBuf, source: std::io::Error },
    #[error("--policy {path}: {source}")]
    Policy { path: PathBuf, source: policy::Error },
    #[error("--probes: {0}")]
    Probes(#[from] probe::Error),
    #[error(transparent)]
    Listen(#[from] listen::Error),
    #[error("starting: {0}")]
    Start(#[from] std::io::Error),
    #[error("the machine gives no random numbers")]
    Random,
    #[error(transparent)]
    TaskEnded(#[from] TaskEnded),
}

impl Error {
    /// Whether it is the caller's mistake: status 2.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Start(_) | Self::Random | Self::TaskEnded(_))
    }
}
