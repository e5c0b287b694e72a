//! From the peer to the application.

use std::task::{Context, Poll};

use countersign_contract::Ending;

use super::buffers::{self, INLET};
use super::socket::{self, end};
use super::{Ended, Relay, Stage, THIN, THIN_READ, TURN, Turn, WRITES};
use crate::live::Way;
use crate::record::Opened;

/// What is thrown away, of a peer that goes on after it said that it would not.
const MAX_AFTER_END: usize = 64 * 1024;

impl Relay {
    pub(super) fn turn_up(&mut self, cx: &mut Context<'_>) -> Result<Turn, Ended> {
        let (mut moved, mut writes) = (0, 0);
        loop {
            if !self.to_app.is_empty() {
                let before = self.to_app.left();
                match self.to_app.poll_flush(&self.app, cx, self.up == Stage::Ends) {
                    Poll::Ready(flushed) => flushed.map_err(|error| Ended::app(&error))?,
                    Poll::Pending => return Ok(self.blocked(Way::Up, &self.to_app, before)),
                }
                self.live.flows(Way::Up);
            }
            match self.up {
                Stage::Done => return self.watch_peer(cx),
                Stage::Ends => self.end_up()?,
                Stage::Flows if moved >= TURN || writes == self.writes_up() => {
                    return Ok(Turn::More);
                }
                Stage::Flows => {
                    if !self.gather(Way::Up, |relay| relay.read_up(cx))? {
                        return Ok(Turn::Blocked);
                    }
                    moved += self.to_app.left();
                    writes += 1;
                }
            }
        }
    }

    /// A peer whose records hold next to nothing has its turn more often, and not for longer.
    fn writes_up(&self) -> usize {
        if self.is_thin { 1 } else { WRITES }
    }

    fn read_up(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        // What came along with the handshake is looked at before anything is waited for.
        match self.live.is_new() {
            true => self.open(0),
            false => self.read_peer(cx),
        }
    }

    /// Reads from the peer what there is; whether there was anything.
    fn read_peer(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        loop {
            match self.peer.poll_read_ready(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(ready) => ready.map_err(|error| Ended::peer(&error))?,
            }
            let mut buffer = buffers::take(INLET);
            let before = self.partial.len();
            let most = if self.is_thin { THIN_READ } else { buffers::most(INLET) };
            let end = (before + most).min(INLET);
            let read = socket::read(&self.peer, &mut buffer[before..end]);
            match read {
                Ok(Some(0)) => {
                    buffers::give(buffer);
                    return self.peer_ended();
                }
                Ok(Some(read)) => return self.open_buffer(buffer, read),
                Ok(None) => buffers::give(buffer),
                Err(error) => return Err(Ended::peer(&error)),
            }
        }
    }

    /// Without TLS the end of a stream is an end. With it, only a `close_notify` is.
    fn peer_ended(&mut self) -> Result<bool, Ended> {
        if self.session.is_some() {
            return Err(Ended::new(Ending::Truncated));
        }
        self.up = Stage::Ends;
        Ok(true)
    }

    /// Opens what is in `partial` alone.
    fn open(&mut self, read: usize) -> Result<bool, Ended> {
        self.open_buffer(buffers::take(INLET), read)
    }

    /// Opens what is in `partial` and what was read behind it.
    fn open_buffer(&mut self, mut buffer: Box<[u8]>, read: usize) -> Result<bool, Ended> {
        let before = self.partial.len();
        buffer[..before].copy_from_slice(&self.partial);
        let end = before + read;
        let opened = match &mut self.session {
            Some(session) => session.open(&buffer[..end], self.to_app.room()),
            None => Ok(through(&buffer[..end], self.to_app.room())),
        };
        let Opened { used, plain, closed } = opened.map_err(|error| {
            self.to_app.put(0);
            Ended::records(&error)
        })?;
        self.to_app.put(plain);
        self.is_thin = used > THIN_READ / THIN && plain < used / THIN;
        self.keep(&buffer[if closed { end } else { used }..end]);
        buffers::give(buffer);
        if closed {
            self.up = Stage::Ends;
        }
        self.live.moved(Way::Up, plain);
        Ok(true)
    }

    /// Keeps the beginning of a record, no more of it than there is.
    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() && self.partial.capacity() == 0 {
            return;
        }
        self.partial = Vec::from(rest);
    }

    fn end_up(&mut self) -> Result<(), Ended> {
        self.up = Stage::Done;
        self.live.half_closes();
        if self.down == Stage::Done {
            return Ok(());
        }
        end(&self.app).map_err(|error| Ended::app(&error))
    }

    /// A peer that is done may still break off; what else it sends is thrown away, for a while.
    fn watch_peer(&mut self, cx: &mut Context<'_>) -> Result<Turn, Ended> {
        if self.down == Stage::Done || self.after_end == usize::MAX {
            return Ok(Turn::Done);
        }
        while self.peer.poll_read_ready(cx).is_ready() {
            let mut buffer = buffers::take(INLET);
            let read = socket::read(&self.peer, &mut buffer);
            buffers::give(buffer);
            match read.map_err(|error| Ended::peer(&error))? {
                None => {}
                Some(0) => {
                    self.after_end = usize::MAX;
                    break;
                }
                Some(more) => self.after_end += more,
            }
            if self.after_end > MAX_AFTER_END && self.after_end != usize::MAX {
                let detail = Some("the peer goes on after its close_notify".to_owned());
                return Err(Ended { detail, ..Ended::new(Ending::TlsProtocol) });
            }
        }
        Ok(Turn::Done)
    }
}

/// Plaintext is carried as it is.
fn through(bytes: &[u8], out: &mut [u8]) -> Opened {
    out[..bytes.len()].copy_from_slice(bytes);
    Opened { used: bytes.len(), plain: bytes.len(), closed: false }
}
