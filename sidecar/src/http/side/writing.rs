//! What goes to the client.

use std::io;
use std::task::{Context, Poll, ready};

use super::Side;
use crate::live::Way;
use crate::record::{self, alert};
use crate::relay::buffers::{self, INLET};
use crate::relay::{Ended, socket};

impl Side {
    /// A client that asks for our next key gets it, along with what is written next if something is.
    pub(super) fn answer(&mut self) -> io::Result<()> {
        let owes = self.session.as_ref().is_some_and(|session| session.owes());
        if owes && self.outlet.is_empty() {
            return self.seal(&[]);
        }
        Ok(())
    }

    /// Seals what goes out next. Only if nothing waits to go.
    fn seal(&mut self, plain: &[u8]) -> io::Result<()> {
        let room = self.outlet.room();
        let sealed = match &mut self.session {
            Some(session) => session.seal(plain, room),
            None => {
                room[..plain.len()].copy_from_slice(plain);
                Ok(plain.len())
            }
        };
        self.outlet.put(*sealed.as_ref().unwrap_or(&0));
        sealed.map(drop).map_err(|error| self.breaks(Ended::records(&error)))
    }

    pub(in crate::http) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        is_last: bool,
    ) -> Poll<io::Result<()>> {
        if self.outlet.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let before = self.outlet.left();
        match self.outlet.poll_flush(&self.stream, cx, is_last) {
            Poll::Ready(Ok(())) => {
                self.line.live.flows(Way::Down);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.cannot_write(&error))),
            Poll::Pending => {
                // A reader that takes a little at a time is slow, and not stalled.
                if self.outlet.left() < before {
                    self.line.live.flows(Way::Down);
                }
                self.line.live.blocks(Way::Down);
                Poll::Pending
            }
        }
    }

    /// Whoever refuses us says why and closes: that is worth more than that we could not write.
    fn cannot_write(&mut self, error: &io::Error) -> io::Error {
        let (mut buffer, mut plain) = (buffers::take(INLET), buffers::take(INLET));
        let before = self.partial.len();
        buffer[..before].copy_from_slice(&self.partial);
        let read = socket::read_now(&self.stream, &mut buffer[before..]).unwrap_or_default();
        let said = self.session.as_mut().map(|it| it.open(&buffer[..before + read], &mut plain));
        buffers::give(buffer);
        buffers::give(plain);
        match said {
            Some(Err(said @ record::Error::Alert(_))) => self.breaks(Ended::records(&said)),
            _ => self.breaks(Ended::peer(error)),
        }
    }

    pub(in crate::http) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx, false))?;
        let len = bytes.len().min(buffers::plaintext());
        self.seal(&bytes[..len])?;
        self.line.live.moved(Way::Down, len);
        self.line.writes(Way::Down, len);
        // What the socket does not take now goes before whatever is written next.
        if let Poll::Ready(Err(error)) = self.poll_drain(cx, false) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(len))
    }

    pub(in crate::http) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            ready!(self.poll_drain(cx, false))?;
            self.is_shut = true;
            if let Some(session) = &mut self.session {
                let sealed = session.seal_alert(alert::CLOSE_NOTIFY, self.outlet.room());
                self.outlet.put(*sealed.as_ref().unwrap_or(&0));
            }
        }
        ready!(self.poll_drain(cx, true))?;
        Poll::Ready(socket::end(&self.stream).map_err(|error| self.breaks(Ended::peer(&error))))
    }

    /// An alert goes out only between two records, and only if the socket takes it at once.
    pub(super) fn tells(&mut self, ended: &Ended) -> bool {
        let (Some(alert), Some(session)) = (ended.alert, &mut self.session) else { return false };
        let mut said = [0; 64];
        let Ok(len) = session.seal_alert(alert, &mut said) else { return false };
        self.outlet.is_empty() && self.stream.try_write(&said[..len]).is_ok_and(|sent| sent == len)
    }
}
