//! What is wrong with a peer's records.

use super::alert;

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum Error {
    #[error("a record was changed on its way, or sealed with another key")]
    Changed,
    #[error("a record is longer than TLS allows")]
    TooLong,
    #[error("the peer sent {0} where only data may come")]
    Unexpected(&'static str),
    #[error("{0} cannot be read")]
    Malformed(&'static str),
    #[error("the peer sent too many {0} without any data")]
    TooMany(&'static str),
    #[error("the peer sent the fatal alert {0}")]
    Alert(u8),
    #[error("the key has sealed as many records as it may")]
    Exhausted,
    #[error("the key schedule failed: {0}")]
    Keys(String),
}

impl Error {
    /// The alert that tells the peer of it; none where the peer spoke first.
    #[must_use]
    pub fn alert(&self) -> Option<u8> {
        match self {
            Self::Changed => Some(alert::BAD_RECORD_MAC),
            Self::TooLong => Some(alert::RECORD_OVERFLOW),
            Self::Unexpected(_) | Self::TooMany(_) => Some(alert::UNEXPECTED_MESSAGE),
            Self::Malformed(_) => Some(alert::DECODE_ERROR),
            Self::Exhausted | Self::Keys(_) => Some(alert::INTERNAL_ERROR),
            Self::Alert(_) => None,
        }
    }
}
