//! What comes from the client.

use std::io;
use std::task::{Context, Poll, ready};

use countersign_contract::Ending;
use tokio::io::ReadBuf;

use super::Side;
use crate::live::Way;
use crate::record::{HEADER, MAX_PLAINTEXT, Opened};
use crate::relay::buffers::{self, INLET, OUTLET};
use crate::relay::{Ended, socket};

/// What is read at once at least: one record of the largest size that either version has.
const ONE_RECORD: usize = HEADER + MAX_PLAINTEXT + 2048;

/// How much a client may send that nobody will look at.
const UNREAD: usize = 64 * 1024;

impl Side {
    pub(in crate::http) fn poll_peek<T>(
        &mut self,
        cx: &mut Context<'_>,
        is_enough: &impl Fn(&[u8]) -> Option<T>,
    ) -> Poll<io::Result<Option<T>>> {
        loop {
            let found = is_enough(&self.plain[self.taken..]);
            if found.is_some() || self.has_ended {
                return Poll::Ready(Ok(found));
            }
            ready!(self.poll_more(cx, &mut ReadBuf::new(&mut [])))?;
        }
    }

    /// Reads a record ahead where hyper reads nothing, as while a response is awaited: ready once the
    /// client has broken off.
    pub(in crate::http) fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.has_ended && self.taken == self.plain.len() {
            if ready!(self.poll_more(cx, &mut ReadBuf::new(&mut []))).is_err() {
                return Poll::Ready(());
            }
            // hyper may wait for what was taken off the socket just now.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    pub(in crate::http) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        loop {
            self.give(room);
            if room.filled().len() > before || self.has_ended || room.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_more(cx, room))?;
            // A key that was asked for goes out whether or not anything is written.
            if let Poll::Ready(Err(error)) = self.poll_drain(cx, false) {
                return Poll::Ready(Err(error));
            }
        }
    }

    /// Gives what was opened before.
    fn give(&mut self, room: &mut ReadBuf<'_>) {
        let fits = (self.plain.len() - self.taken).min(room.remaining());
        room.put_slice(&self.plain[self.taken..self.taken + fits]);
        self.taken += fits;
        if self.taken == self.plain.len() {
            (self.plain, self.taken) = (Vec::new(), 0);
        }
    }

    /// Throws away what a client sends that was told of our end, until it ends.
    pub(in crate::http) fn poll_rest(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut unread = 0;
        while unread < UNREAD && self.stream.poll_read_ready(cx).is_ready() {
            match socket::read(&self.stream, &mut [0; 4096]) {
                Ok(None) => {}
                Ok(Some(0)) | Err(_) => return Poll::Ready(()),
                Ok(Some(read)) => unread += read,
            }
        }
        if unread < UNREAD { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Reads once, and opens what came: into `room`, and behind `plain` what does not fit there.
    fn poll_more(&mut self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.is_new) && !self.partial.is_empty() {
            return Poll::Ready(self.open(buffers::take(INLET), 0, room));
        }
        loop {
            let ready = ready!(self.stream.poll_read_ready(cx));
            ready.map_err(|error| self.breaks(Ended::peer(&error)))?;
            let most = (self.partial.len() + room.remaining()).clamp(ONE_RECORD, INLET);
            let mut buffer = buffers::take(INLET);
            let read = socket::read(&self.stream, &mut buffer[self.partial.len()..most]);
            match read {
                Ok(Some(0)) => {
                    buffers::give(buffer);
                    return Poll::Ready(self.ends());
                }
                Ok(Some(read)) => return Poll::Ready(self.open(buffer, read, room)),
                Ok(None) => buffers::give(buffer),
                Err(error) => return Poll::Ready(Err(self.breaks(Ended::peer(&error)))),
            }
        }
    }

    /// Without TLS the end of a stream is an end. With it, only a `close_notify` is.
    fn ends(&mut self) -> io::Result<()> {
        if self.session.is_some() {
            return Err(self.breaks(Ended::new(Ending::Truncated)));
        }
        self.has_ended = true;
        self.line.live.half_closes();
        Ok(())
    }

    fn open(
        &mut self,
        mut buffer: Box<[u8]>,
        read: usize,
        room: &mut ReadBuf<'_>,
    ) -> io::Result<()> {
        let before = self.partial.len();
        buffer[..before].copy_from_slice(&self.partial);
        let bytes = &buffer[..before + read];
        let mut plain = buffers::take(OUTLET);
        let opened = match &mut self.session {
            Some(session) => session.open(bytes, &mut plain),
            None => {
                plain[..bytes.len()].copy_from_slice(bytes);
                Ok(Opened { used: bytes.len(), plain: bytes.len(), closed: false })
            }
        };
        if let Ok(opened) = &opened {
            self.partial = Vec::from(&bytes[opened.used..]);
            self.take(&plain[..opened.plain], opened.closed, room);
        }
        buffers::give(buffer);
        buffers::give(plain);
        opened.map_err(|error| self.breaks(Ended::records(&error)))?;
        self.answer()
    }

    fn take(&mut self, plain: &[u8], is_last: bool, room: &mut ReadBuf<'_>) {
        if !plain.is_empty() {
            self.line.live.moved(Way::Up, plain.len());
            self.line.heard(plain);
        }
        let fits = plain.len().min(room.remaining());
        room.put_slice(&plain[..fits]);
        self.plain.extend_from_slice(&plain[fits..]);
        if is_last {
            self.has_ended = true;
            self.line.live.half_closes();
        }
    }
}
