//! From the application to the peer.

use std::task::{Context, Poll};

use super::buffers::{self, INLET};
use super::socket::{self, end};
use super::{Ended, Relay, Stage, TURN, Turn, WRITES};
use crate::live::Way;
use crate::record::alert;

impl Relay {
    pub(super) fn turn_down(&mut self, cx: &mut Context<'_>) -> Result<Turn, Ended> {
        let (mut moved, mut writes) = (0, 0);
        loop {
            if !self.to_peer.is_empty() {
                let before = self.to_peer.left();
                match self.to_peer.poll_flush(&self.peer, cx, self.down == Stage::Ends) {
                    Poll::Ready(flushed) => flushed.map_err(|error| Ended::peer(&error))?,
                    Poll::Pending => return Ok(self.blocked(Way::Down, &self.to_peer, before)),
                }
                self.live.flows(Way::Down);
            }
            match self.down {
                Stage::Done => return Ok(Turn::Done),
                Stage::Ends => self.end_down()?,
                Stage::Flows if moved >= TURN || writes == WRITES => return Ok(Turn::More),
                Stage::Flows => {
                    if !self.gather(Way::Down, |relay| relay.read_down(cx))? {
                        return Ok(Turn::Blocked);
                    }
                    moved += self.to_peer.left();
                    writes += 1;
                }
            }
        }
    }

    fn end_down(&mut self) -> Result<(), Ended> {
        self.down = Stage::Done;
        self.live.half_closes();
        if self.up == Stage::Done {
            return Ok(());
        }
        end(&self.peer).map_err(|error| Ended::peer(&error))
    }

    /// Reads from the application what there is; whether there was anything to do.
    fn read_down(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        if self.session.as_ref().is_some_and(|session| session.owes()) {
            return self.seal(&[]);
        }
        loop {
            match self.app.poll_read_ready(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(ready) => ready.map_err(|error| Ended::app(&error))?,
            }
            let mut buffer = buffers::take(INLET);
            let room = buffers::most(buffers::plaintext());
            match socket::read(&self.app, &mut buffer[..room]) {
                Ok(Some(0)) => {
                    buffers::give(buffer);
                    return self.app_ended();
                }
                Ok(Some(read)) => {
                    self.live.moved(Way::Down, read);
                    let sealed = self.seal(&buffer[..read]);
                    buffers::give(buffer);
                    return sealed;
                }
                Ok(None) => buffers::give(buffer),
                Err(error) => return Err(Ended::app(&error)),
            }
        }
    }

    /// Seals into what is gathered.
    fn seal(&mut self, plain: &[u8]) -> Result<bool, Ended> {
        let room = self.to_peer.room();
        let sealed = match &mut self.session {
            Some(session) => session.seal(plain, room),
            None => {
                room[..plain.len()].copy_from_slice(plain);
                Ok(plain.len())
            }
        };
        self.to_peer.put(*sealed.as_ref().unwrap_or(&0));
        sealed.map(|_| true).map_err(|error| Ended::records(&error))
    }

    fn app_ended(&mut self) -> Result<bool, Ended> {
        self.down = Stage::Ends;
        if let Some(session) = &mut self.session {
            let sealed = session.seal_alert(alert::CLOSE_NOTIFY, self.to_peer.room());
            self.to_peer.put(*sealed.as_ref().unwrap_or(&0));
            sealed.map_err(|error| Ended::records(&error))?;
        }
        Ok(true)
    }
}
