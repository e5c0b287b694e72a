//! How a connection ended; pure.

use std::io;

use countersign_contract::Ending;

use crate::record::{self, alert};

/// How a connection ended, and what was seen.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) how: Ending,
    pub(crate) detail: Option<String>,
    /// What the peer is told of it.
    pub(crate) alert: Option<u8>,
}

impl Ended {
    pub(crate) fn new(how: Ending) -> Self {
        Self { how, detail: None, alert: None }
    }

    /// A sweep found that the connection may not go on.
    pub(crate) fn judged(how: Ending) -> Self {
        let alert = (how == Ending::PeerExpired).then_some(alert::CERTIFICATE_EXPIRED);
        Self { alert, ..Self::new(how) }
    }

    pub(crate) fn peer(error: &io::Error) -> Self {
        Self { detail: Some(error.to_string()), ..Self::new(of(error, Ending::PeerReset)) }
    }

    pub(crate) fn app(error: &io::Error) -> Self {
        Self { detail: Some(error.to_string()), ..Self::new(of(error, Ending::AppReset)) }
    }

    /// The client broke HTTP, where that is what is spoken.
    pub(crate) fn http(detail: String) -> Self {
        Self { detail: Some(detail), ..Self::new(Ending::HttpProtocol) }
    }

    pub(crate) fn records(error: &record::Error) -> Self {
        let how = match error {
            record::Error::Alert(_) => Ending::PeerAlert,
            _ => Ending::TlsProtocol,
        };
        Self { how, detail: Some(error.to_string()), alert: error.alert() }
    }
}

fn of(error: &io::Error, reset: Ending) -> Ending {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => reset,
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable => Ending::Unreachable,
        _ => Ending::Failed,
    }
}
