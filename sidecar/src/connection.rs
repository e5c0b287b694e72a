//! What every connection has in common: how it is counted, and told at its end.

use std::net::SocketAddr;
use std::time::Instant;

use countersign_contract::{Ending, Refusal};
use tracing::{info, warn};

use crate::live::Entry;
use crate::metrics::{Direction, Metrics};
use crate::relay::Ended;
use crate::traces::Spans;

/// A refusal, and what was seen.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) reason: Refusal,
    pub(crate) detail: String,
}

impl Refused {
    pub(crate) fn new(reason: Refusal, detail: String) -> Self {
        Self { reason, detail }
    }
}

/// One connection, from when it was accepted.
pub(crate) struct Connection<'a> {
    metrics: &'a Metrics,
    direction: Direction,
    client: SocketAddr,
    started: Instant,
    spans: Option<&'a Spans>,
}

impl<'a> Connection<'a> {
    pub(crate) fn open(
        metrics: &'a Metrics,
        spans: Option<&'a Spans>,
        direction: Direction,
        client: SocketAddr,
    ) -> Self {
        metrics.opened(direction);
        Self { metrics, direction, client, started: Instant::now(), spans }
    }

    /// Says why a connection was refused: the one log line that it gets, if there were not too many of
    /// the same reason.
    pub(crate) fn refuse(&self, refused: &Refused) {
        let reason = refused.reason;
        self.metrics.refused(self.direction, reason);
        if !self.metrics.refusal_log.admits(self.direction, reason) {
            return;
        }
        warn!(
            direction = ?self.direction,
            reason = reason.as_str(),
            detail = refused.detail,
            client = %self.client,
            "refused"
        );
    }

    /// Says how a connection ended: the one log line that it gets. A TLS 1.3 server says only after
    /// the client's handshake that it refuses the client, so that an alert before any byte is a
    /// refusal.
    pub(crate) fn tell(&self, entry: &Entry, ended: &Ended) {
        if ended.how == Ending::PeerAlert && entry.bytes()[0] == 0 {
            let detail = format!("{}: {}", peer(entry), ended.detail.as_deref().unwrap_or("alert"));
            return self.refuse(&Refused::new(Refusal::RefusedByPeer, detail));
        }
        self.metrics.closed(self.direction, ended.how);
        let lasted = self.started.elapsed();
        if let Some(spans) = self.spans {
            spans.leave(entry, lasted, ended.how);
        }
        let [received, sent] = entry.bytes();
        let (bytes_in, bytes_out) = match self.direction {
            Direction::inbound => (received, sent),
            Direction::outbound => (sent, received),
        };
        info!(
            direction = ?self.direction,
            peer = %peer(entry),
            client = %self.client,
            to = %entry.about.to,
            bytes_in,
            bytes_out,
            duration_ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX),
            end = ended.how.as_str(),
            detail = ended.detail,
            "connection"
        );
    }
}

/// Who is at the other end.
fn peer(entry: &Entry) -> &dyn std::fmt::Display {
    entry.about.peer.as_ref().map_or(&"anonymous", |peer| &**peer as &dyn std::fmt::Display)
}
