//! What is on its way to a socket.

use std::io;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;

use super::{buffers, socket};

/// Less than this is copied into a buffer of its own size, so that a slow reader does not hold a
/// large one for little.
const SMALL: usize = 32 * 1024;

/// Bytes that the socket has not taken yet.
#[derive(Default)]
pub(super) struct Outlet {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Outlet {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes the first `len` bytes of a buffer; only when it is empty.
    pub(super) fn push(&mut self, buffer: Box<[u8]>, len: usize) {
        debug_assert!(self.is_empty(), "bytes would be lost");
        *self = Self { bytes: buffer, start: 0, end: len };
        if self.is_empty() {
            self.give_back();
        }
    }

    /// How much is left to write.
    pub(super) fn left(&self) -> usize {
        self.end - self.start
    }

    /// Writes until nothing is left.
    pub(super) fn poll_flush(
        &mut self,
        stream: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let written = socket::poll_write(stream, cx, &self.bytes[self.start..self.end]);
            if written.is_pending() {
                self.shrink();
            }
            self.start += ready!(written)?;
        }
        self.give_back();
        Poll::Ready(Ok(()))
    }

    fn shrink(&mut self) {
        let left = self.left();
        if left < SMALL && self.bytes.len() == buffers::SIZE {
            let small = Box::from(&self.bytes[self.start..self.end]);
            let large = std::mem::replace(self, Self { bytes: small, start: 0, end: left });
            buffers::give(large.bytes);
        }
    }

    fn give_back(&mut self) {
        if !self.bytes.is_empty() {
            buffers::give(std::mem::take(self).bytes);
        }
    }
}
