//! What is on its way to a socket.

use std::io;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;

use super::buffers::{self, INLET, OUTLET};
use super::socket;

/// Bytes that the socket has not taken yet.
#[derive(Default)]
pub(crate) struct Outlet {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    /// Whether the socket made us wait last time.
    is_slow: bool,
}

impl Outlet {
    /// What is to go first.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        buffers::keep(bytes.len());
        Self { bytes: Box::from(bytes), start: 0, end: bytes.len(), is_slow: false }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How much is left to write.
    pub(crate) fn left(&self) -> usize {
        self.end - self.start
    }

    /// Whether what comes of one more read fits behind what is gathered. For a reader who is slow
    /// nothing is gathered: it would only lie here.
    pub(crate) fn has_room(&self) -> bool {
        match self.bytes.len() {
            0 => true,
            OUTLET => OUTLET - self.end >= INLET && (self.is_empty() || !self.is_slow),
            _ => false,
        }
    }

    /// Where more is to be put; [`Self::put`] says how much it was. Only if there is room.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = buffers::take(OUTLET);
        }
        &mut self.bytes[self.end..]
    }

    /// So much was put into the room.
    pub(crate) fn put(&mut self, len: usize) {
        self.end += len;
        if self.is_empty() {
            self.give_back();
        }
    }

    /// Writes until nothing is left; whoever says that it is the last ends the stream right after it.
    pub(crate) fn poll_flush(
        &mut self,
        stream: &TcpStream,
        cx: &mut Context<'_>,
        is_last: bool,
    ) -> Poll<io::Result<()>> {
        let was_slow = self.bytes.len() != OUTLET;
        while !self.is_empty() {
            let bytes = &self.bytes[self.start..self.end];
            let written = socket::poll_write(stream, cx, bytes, is_last);
            if written.is_pending() {
                self.shrink();
            }
            self.start += ready!(written)?;
        }
        self.is_slow = was_slow;
        self.give_back();
        Poll::Ready(Ok(()))
    }

    /// What must wait has as much memory as it needs.
    fn shrink(&mut self) {
        if self.bytes.len() == OUTLET {
            let rest: Box<[u8]> = Box::from(&self.bytes[self.start..self.end]);
            let end = self.left();
            if rest.len() != OUTLET {
                buffers::keep(rest.len());
            }
            buffers::give(std::mem::replace(&mut self.bytes, rest));
            (self.start, self.end) = (0, end);
        }
    }

    fn give_back(&mut self) {
        self.let_go();
        buffers::give(std::mem::take(&mut self.bytes));
        (self.start, self.end) = (0, 0);
    }

    /// What is kept for this outlet alone is counted.
    fn let_go(&self) {
        if self.bytes.len() != OUTLET {
            buffers::let_go(self.bytes.len());
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.let_go();
    }
}
