//! Carries bytes both ways between the application and its peer until both are done.
//!
//! Each way is the same story: what waits goes first, then the socket is read into a shared buffer,
//! opened or sealed into another, and that is written. An end is carried through as what it is:
//! FIN becomes `close_notify` and FIN, `close_notify` becomes FIN, and a stream that merely breaks
//! off becomes a reset, so that nobody takes a part for the whole.

pub(crate) mod buffers;
mod ended;
mod outlet;
pub(crate) mod socket;

use std::pin::Pin;
use std::task::{Context, Poll};

use countersign_contract::Ending;
use tokio::net::TcpStream;

pub(crate) use self::ended::Ended;
use self::outlet::Outlet;
use self::socket::end;
pub(crate) use self::socket::reset;
use crate::live::{Live, Way};
use crate::record::{self, Session, alert};

/// How many buffers one connection may move each way before the next one has its turn.
const ROUNDS: usize = 4;

/// What is thrown away, of a peer that goes on after it said that it would not.
const MAX_AFTER_END: usize = 64 * 1024;

/// How far one way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Flows,
    /// Its source is done; what waits is still to go.
    Ends,
    Done,
}

/// One connection, after its handshake.
pub(crate) struct Relay {
    app: TcpStream,
    peer: TcpStream,
    /// None where plaintext is carried as it is.
    session: Option<Box<Session>>,
    /// The beginning of a record whose end has not come yet.
    partial: Vec<u8>,
    to_app: Outlet,
    to_peer: Outlet,
    up: Stage,
    down: Stage,
    after_end: usize,
    live: Live,
}

/// What a turn of one way came to.
enum Turn {
    Blocked,
    More,
    Done,
}

impl Relay {
    /// `early` is what came from the peer behind the handshake; `greeting` what the application is
    /// sent before anything of the peer's.
    pub(crate) fn new(
        app: TcpStream,
        peer: TcpStream,
        session: Option<Box<Session>>,
        early: Vec<u8>,
        greeting: &[u8],
        live: Live,
    ) -> Self {
        let mut to_app = Outlet::default();
        to_app.push(Box::from(greeting), greeting.len());
        Self {
            app,
            peer,
            session,
            partial: early,
            to_app,
            to_peer: Outlet::default(),
            up: Stage::Flows,
            down: Stage::Flows,
            after_end: 0,
            live,
        }
    }

    /// Carries until the end, and makes sure that each side sees it as what it is.
    pub(crate) async fn run(&mut self) -> Ended {
        let ended = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_ended(cx)).await;
        if ended.how != Ending::Closed {
            self.break_off(&ended);
        }
        ended
    }

    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if let Some(how) = self.live.poll_verdict(cx) {
            return Poll::Ready(Ended::judged(how));
        }
        match self.turn(cx) {
            Ok(true) => Poll::Ready(Ended::new(Ending::Closed)),
            Ok(false) => Poll::Pending,
            Err(ended) => Poll::Ready(ended),
        }
    }

    /// Up before down: what the peer asks of our keys is answered in the same turn.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let up = self.turn_up(cx)?;
        let down = match self.turn_down(cx) {
            Err(ended) => return Err(self.last_word(ended)),
            Ok(down) => down,
        };
        match (up, down) {
            (Turn::Done, Turn::Done) => return Ok(true),
            (Turn::More, _) | (_, Turn::More) => cx.waker().wake_by_ref(),
            _ => {}
        }
        Ok(false)
    }

    /// Whoever refuses us says why and closes: a write of ours may fail before that was read, and
    /// before tokio knows that there is something to read.
    fn last_word(&mut self, ended: Ended) -> Ended {
        let Some(session) = &mut self.session else { return ended };
        let (mut buffer, mut plain) = (buffers::take(), buffers::take());
        let before = self.partial.len();
        buffer[..before].copy_from_slice(&self.partial);
        let read = socket::read_now(&self.peer, &mut buffer[before..]).unwrap_or_default();
        // Only the alert is of interest: the application may still have something in its way.
        let said = session.open(&buffer[..before + read], &mut plain);
        buffers::give(buffer);
        buffers::give(plain);
        match said {
            Err(error @ record::Error::Alert(_)) => Ended::records(&error),
            _ => ended,
        }
    }

    fn turn_up(&mut self, cx: &mut Context<'_>) -> Result<Turn, Ended> {
        for _ in 0..ROUNDS {
            if self.up == Stage::Done {
                return self.watch_peer(cx);
            }
            if !self.to_app.is_empty() {
                let before = self.to_app.left();
                match self.to_app.poll_flush(&self.app, cx) {
                    Poll::Ready(flushed) => flushed.map_err(|error| Ended::app(&error))?,
                    Poll::Pending => return Ok(self.blocked(Way::Up, &self.to_app, before)),
                }
                self.live.flows(Way::Up);
            }
            if self.up == Stage::Ends {
                self.end_up()?;
                continue;
            }
            // What came along with the handshake is looked at before anything is waited for.
            let moved = if self.live.is_new() { self.open(0) } else { self.read_up(cx) };
            if !moved? {
                return Ok(Turn::Blocked);
            }
        }
        Ok(Turn::More)
    }

    fn turn_down(&mut self, cx: &mut Context<'_>) -> Result<Turn, Ended> {
        for _ in 0..ROUNDS {
            if self.down == Stage::Done {
                return Ok(Turn::Done);
            }
            if !self.to_peer.is_empty() {
                let before = self.to_peer.left();
                match self.to_peer.poll_flush(&self.peer, cx) {
                    Poll::Ready(flushed) => flushed.map_err(|error| Ended::peer(&error))?,
                    Poll::Pending => return Ok(self.blocked(Way::Down, &self.to_peer, before)),
                }
                self.live.flows(Way::Down);
            }
            if self.down == Stage::Ends {
                self.end_down()?;
                continue;
            }
            if !self.read_down(cx)? {
                return Ok(Turn::Blocked);
            }
        }
        Ok(Turn::More)
    }

    /// A reader that takes a little at a time is slow, and not stalled.
    fn blocked(&self, way: Way, outlet: &Outlet, before: usize) -> Turn {
        if outlet.left() < before {
            self.live.flows(way);
        }
        self.live.blocks(way);
        Turn::Blocked
    }

    /// Reads from the peer what there is; whether there was anything.
    fn read_up(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        loop {
            match self.peer.poll_read_ready(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(ready) => ready.map_err(|error| Ended::peer(&error))?,
            }
            let mut buffer = buffers::take();
            let before = self.partial.len();
            let read = socket::read(&self.peer, &mut buffer[before..]);
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
        self.open_buffer(buffers::take(), read)
    }

    fn open_buffer(&mut self, mut buffer: Box<[u8]>, read: usize) -> Result<bool, Ended> {
        let before = self.partial.len();
        buffer[..before].copy_from_slice(&self.partial);
        let end = before + read;
        let Some(session) = &mut self.session else {
            self.partial = Vec::new();
            self.live.moved(Way::Up, end);
            self.to_app.push(buffer, end);
            return Ok(true);
        };
        let mut plain = buffers::take();
        let opened = session.open(&buffer[..end], &mut plain);
        let opened = opened.map_err(|error| Ended::records(&error))?;
        let rest = if opened.closed { end } else { opened.used };
        self.keep(&buffer[rest..end]);
        buffers::give(buffer);
        if opened.closed {
            self.up = Stage::Ends;
        }
        self.live.moved(Way::Up, opened.plain);
        self.to_app.push(plain, opened.plain);
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

    fn end_down(&mut self) -> Result<(), Ended> {
        self.down = Stage::Done;
        self.live.half_closes();
        if self.up == Stage::Done {
            return Ok(());
        }
        end(&self.peer).map_err(|error| Ended::peer(&error))
    }

    /// A peer that is done may still break off; what else it sends is thrown away, for a while.
    fn watch_peer(&mut self, cx: &mut Context<'_>) -> Result<Turn, Ended> {
        if self.down == Stage::Done || self.after_end == usize::MAX {
            return Ok(Turn::Done);
        }
        while self.peer.poll_read_ready(cx).is_ready() {
            let mut buffer = buffers::take();
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
            let mut buffer = buffers::take();
            let room = buffers::plaintext();
            match socket::read(&self.app, &mut buffer[..room]) {
                Ok(Some(0)) => {
                    buffers::give(buffer);
                    return self.app_ended();
                }
                Ok(Some(read)) => {
                    self.live.moved(Way::Down, read);
                    return self.send(buffer, read);
                }
                Ok(None) => buffers::give(buffer),
                Err(error) => return Err(Ended::app(&error)),
            }
        }
    }

    fn send(&mut self, buffer: Box<[u8]>, len: usize) -> Result<bool, Ended> {
        if self.session.is_none() {
            self.to_peer.push(buffer, len);
            return Ok(true);
        }
        let sent = self.seal(&buffer[..len]);
        buffers::give(buffer);
        sent
    }

    fn seal(&mut self, plain: &[u8]) -> Result<bool, Ended> {
        let Some(session) = &mut self.session else { return Ok(true) };
        let mut sealed = buffers::take();
        let len = session.seal(plain, &mut sealed).map_err(|error| Ended::records(&error))?;
        self.to_peer.push(sealed, len);
        Ok(true)
    }

    fn app_ended(&mut self) -> Result<bool, Ended> {
        self.down = Stage::Ends;
        if let Some(session) = &mut self.session {
            let mut said = [0; 64];
            let len = session.seal_alert(alert::CLOSE_NOTIFY, &mut said);
            let len = len.map_err(|error| Ended::records(&error))?;
            self.to_peer.push(Box::from(&said[..len]), len);
        }
        Ok(true)
    }

    /// Says why to whom it can be said, and resets what must not look whole. Both sockets close when
    /// this goes.
    fn break_off(&mut self, ended: &Ended) {
        if self.down != Stage::Done && !self.tells_peer(ended) {
            reset(&self.peer);
        }
        if self.up != Stage::Done || ended.how != Ending::Closed {
            reset(&self.app);
        }
    }

    /// An alert goes out only between two records, and only if the socket takes it at once.
    fn tells_peer(&mut self, ended: &Ended) -> bool {
        let (Some(alert), Some(session)) = (ended.alert, &mut self.session) else { return false };
        let mut said = [0; 64];
        let Ok(len) = session.seal_alert(alert, &mut said) else { return false };
        self.to_peer.is_empty() && self.peer.try_write(&said[..len]).is_ok_and(|sent| sent == len)
    }
}
