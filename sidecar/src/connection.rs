//! What every connection has in common: how it is counted, copied, and told at its end.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use countersign_contract::Refusal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::metrics::{Direction, DirectionLabels, Metrics};
use crate::tls;

/// Several TLS records fit; peers of a proxy that copies 8 KiB at a time wait a third longer.
const BUFFER: usize = 32 * 1024;

/// How long a stream that broke may take to show what it received before: it is here already.
const LAST_WORD: Duration = Duration::from_millis(100);

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

/// Who is at the other end, and where the bytes go.
pub(crate) struct Ends<'a> {
    pub(crate) peer: &'a (dyn Display + Sync),
    pub(crate) to: &'a (dyn Display + Sync),
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
    ///
    /// # Errors
    /// When either end broke off. A TLS 1.3 server says only after the client's handshake that it
    /// refuses the client, so that an alert here is a refusal too.
    pub(crate) async fn copy<A, B>(
        &self,
        here: &mut A,
        there: &mut B,
        ends: &Ends<'_>,
    ) -> io::Result<()>
    where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        let copied = match copy_bidirectional_with_sizes(here, there, BUFFER, BUFFER).await {
            Err(error) => Err(last_word(there, error).await),
            copied => copied,
        };
        match &copied {
            Err(error) if tls::of_error(error) == Refusal::RefusedByPeer => {
                let detail = format!("{}: {error}", ends.peer);
                self.refuse(&Refused::new(Refusal::RefusedByPeer, detail));
            }
            _ => self.tell(ends, &copied),
        }
        copied.map(drop)
    }

    fn tell(&self, ends: &Ends<'_>, copied: &io::Result<(u64, u64)>) {
        let (bytes_in, bytes_out) = *copied.as_ref().unwrap_or(&(0, 0));
        self.metrics.bytes.get_or_create(&self.labels).inc_by(bytes_in + bytes_out);
        let end = copied.as_ref().err().map_or_else(|| "closed".to_owned(), ToString::to_string);
        info!(
            direction = ?self.labels.direction,
            peer = %ends.peer,
            client = %self.client,
            to = %ends.to,
            bytes_in,
            bytes_out,
            duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            end,
            "connection"
        );
    }
}

/// Whoever refuses us says why and closes, and a write of ours may fail before that is read.
async fn last_word<S: AsyncRead + Unpin>(stream: &mut S, error: io::Error) -> io::Error {
    let mut nothing = [0];
    match timeout(LAST_WORD, stream.read(&mut nothing)).await {
        Ok(Err(said)) if tls::of_error(&said) == Refusal::RefusedByPeer => said,
        _ => error,
    }
}

/// Ends a plain connection so that whoever reads from it cannot take what came for the whole.
pub(crate) fn reset(stream: &TcpStream) {
    let set = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
    if let Err(error) = set {
        tracing::debug!(%error, "resetting");
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.metrics.closed.get_or_create(&self.labels).inc();
        self.metrics.live.get_or_create(&self.labels).dec();
    }
}
