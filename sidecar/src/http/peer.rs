//! The client's end, as hyper reads and writes it, and as it is ended.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::line::Line;
use super::side::Side;
use crate::record::Session;
use crate::relay::Ended;

/// How long a client may take to read the last that it was sent: what is closed with bytes unread is
/// reset, and takes the answer with it.
const PARTING: Duration = Duration::from_secs(1);

/// Clones are the same connection.
#[derive(Clone)]
pub(super) struct Peer(Arc<Mutex<Side>>);

impl Peer {
    pub(super) fn new(
        stream: TcpStream,
        session: Option<Box<Session>>,
        early: Vec<u8>,
        line: Arc<Line>,
    ) -> Self {
        Self(Arc::new(Mutex::new(Side::new(stream, session, early, line))))
    }

    fn lock(&self) -> MutexGuard<'_, Side> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what comes first without taking it, until `is_enough` says so or there is no more.
    pub(super) async fn peek<T>(
        &self,
        is_enough: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Option<T>> {
        std::future::poll_fn(|cx| self.lock().poll_peek(cx, &is_enough)).await
    }

    /// Waits until the client breaks off, whether or not hyper reads.
    pub(super) async fn broken(&self) {
        std::future::poll_fn(|cx| self.lock().poll_broken(cx)).await;
    }

    /// Whether all that there was to say was said, and the end behind it.
    pub(super) fn is_shut(&self) -> bool {
        self.lock().is_shut()
    }

    /// Ends as one should, and waits until the client can have read it.
    pub(super) async fn close(mut self) {
        if let Ok(Ok(())) = timeout(PARTING, self.shutdown()).await {
            self.linger().await;
        }
    }

    /// Waits for the end of a client that was told of ours.
    pub(super) async fn linger(self) {
        let rest = std::future::poll_fn(|cx| self.lock().poll_rest(cx));
        drop(timeout(PARTING, rest).await);
    }

    /// Says why if that can be said, and resets what must not look whole.
    pub(super) fn break_off(&self, ended: &Ended) {
        self.lock().break_off(ended);
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.lock().poll_read(cx, room)
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_drain(cx, false)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_shutdown(cx)
    }
}
