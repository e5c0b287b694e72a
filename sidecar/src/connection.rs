//! What every connection has in common: how it is counted, copied, and told at its end.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Instant;

use countersign_contract::Refusal;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tracing::{info, warn};

use crate::metrics::{Direction, DirectionLabels, Metrics};

/// Several TLS records fit; peers of a proxy that copies 8 KiB at a time wait a third longer.
const BUFFER: usize = 32 * 1024;

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
    labels: DirectionLabels,
    client: SocketAddr,
    started: Instant,
}

impl<'a> Connection<'a> {
    pub(crate) fn open(metrics: &'a Metrics, direction: Direction, client: SocketAddr) -> Self {
        let labels = DirectionLabels { direction };
        metrics.opened.get_or_create(&labels).inc();
        metrics.live.get_or_create(&labels).inc();
        Self { metrics, labels, client, started: Instant::now() }
    }

    /// Says why a connection was refused: the one log line that it gets.
    pub(crate) fn refuse(&self, refused: &Refused) {
        let reason = refused.reason;
        self.metrics.refused(self.labels.direction, reason);
        warn!(
            direction = ?self.labels.direction,
            reason = reason.as_str(),
            detail = refused.detail,
            client = %self.client,
            "refused"
        );
    }

    /// Copies both ways until both ends are done, each end on its own, and tells how it ended.
    pub(crate) async fn copy<A, B>(
        &self,
        mut here: A,
        mut there: B,
        peer: &(dyn Display + Sync),
        to: &(dyn Display + Sync),
    ) where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        let copied = copy_bidirectional_with_sizes(&mut here, &mut there, BUFFER, BUFFER).await;
        let (bytes_in, bytes_out) = *copied.as_ref().unwrap_or(&(0, 0));
        self.metrics.bytes.get_or_create(&self.labels).inc_by(bytes_in + bytes_out);
        let end = copied.err().map_or_else(|| "closed".to_owned(), |error| error.to_string());
        info!(
            direction = ?self.labels.direction,
            %peer,
            client = %self.client,
            %to,
            bytes_in,
            bytes_out,
            duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            end,
            "connection"
        );
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.metrics.closed.get_or_create(&self.labels).inc();
        self.metrics.live.get_or_create(&self.labels).dec();
    }
}
