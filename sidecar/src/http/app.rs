//! The application's socket, as hyper reads and writes it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::line::Line;
use crate::live::Way;
use crate::relay::{Ended, reset, socket};

/// How much is read at once: hyper keeps room for twice as much.
const MOST: usize = 32 * 1024;

/// Clones are the same socket.
#[derive(Clone)]
pub(super) struct App {
    stream: Arc<TcpStream>,
    line: Arc<Line>,
}

impl App {
    pub(super) fn new(stream: TcpStream, line: Arc<Line>) -> Self {
        Self { stream: Arc::new(stream), line }
    }

    /// What was written so far must not look whole.
    pub(super) fn reset(&self) {
        reset(&self.stream);
    }

    fn breaks(&self, error: &io::Error) -> io::Error {
        self.line.breaks(Ended::app(error))
    }
}

impl AsyncRead for App {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx)).map_err(|error| self.breaks(&error))?;
            let read =
                socket::read(&self.stream, room.initialize_unfilled_to(room.remaining().min(MOST)));
            if let Some(read) = read.map_err(|error| self.breaks(&error))? {
                room.advance(read);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for App {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = socket::poll_write(&self.stream, cx, bytes, false);
        match written {
            Poll::Pending => self.line.live.blocks(Way::Up),
            Poll::Ready(_) => self.line.live.flows(Way::Up),
        }
        if let Poll::Ready(Ok(written)) = &written {
            self.line.writes(Way::Up, *written);
        }
        written.map_err(|error| self.breaks(&error))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket::end(&self.stream).map_err(|error| self.breaks(&error)))
    }
}
