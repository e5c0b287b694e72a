//! Carries bytes both ways between the application and its peer until both are done.
//!
//! Each way is the same story: what waits goes first, then the socket is read into a shared buffer
//! and that is opened or sealed into another, until there is no more to read or no more room; and
//! that is written at once. An end is carried through as what it is: FIN becomes `close_notify` and
//! FIN, `close_notify` becomes FIN, and a stream that merely breaks off becomes a reset, so that
//! nobody takes a part for the whole.
//!
//! `up` is the way from the peer to the application, `down` the other one.

pub(crate) mod buffers;
mod down;
mod ended;
pub(crate) mod outlet;
pub(crate) mod socket;
mod up;

use std::pin::Pin;
use std::task::{Context, Poll};

use countersign_contract::Ending;
use tokio::net::TcpStream;

use self::buffers::INLET;
pub(crate) use self::ended::Ended;
use self::outlet::Outlet;
pub(crate) use self::socket::reset;
use crate::live::{Live, Way};
use crate::record::{self, Session};

/// Once a connection moved so much one way, the next one has its turn.
const TURN: usize = INLET;

/// Or once it was written so often. A peer whose records hold next to nothing would move little for
/// all the work that they are.
const WRITES: usize = 2;

/// How many reads are gathered for one write, for the same reason.
const READS: usize = 4;

/// So much is read at once from a peer whose records hold next to nothing: some 350 of them.
const THIN_READ: usize = 8 * 1024;

/// Records that come to less than this part of what was read are thin.
const THIN: usize = 4;

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
    /// What ends the connection once what was gathered before has gone, up and down.
    faults: [Option<Box<Ended>>; 2],
    after_end: usize,
    /// Whether the last records of the peer's held next to nothing: each costs as much as a full one.
    is_thin: bool,
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
        Self {
            app,
            peer,
            session,
            partial: early,
            to_app: Outlet::of(greeting),
            to_peer: Outlet::default(),
            up: Stage::Flows,
            down: Stage::Flows,
            faults: [None, None],
            after_end: 0,
            is_thin: false,
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
        let (mut buffer, mut plain) = (buffers::take(INLET), buffers::take(INLET));
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

    /// A reader that takes a little at a time is slow, and not stalled.
    fn blocked(&self, way: Way, outlet: &Outlet, before: usize) -> Turn {
        if outlet.left() < before {
            self.live.flows(way);
        }
        self.live.blocks(way);
        Turn::Blocked
    }

    /// Gathers what one write is made of, read by read; whether there was anything. What went wrong
    /// after something was gathered is told once that has gone.
    fn gather(
        &mut self,
        way: Way,
        mut read: impl FnMut(&mut Self) -> Result<bool, Ended>,
    ) -> Result<bool, Ended> {
        if let Some(ended) = self.faults[way as usize].take() {
            return Err(*ended);
        }
        let mut any = false;
        for _ in 0..READS {
            if !self.has_room(way) {
                break;
            }
            match read(self) {
                Ok(true) => any = true,
                Ok(false) => break,
                Err(ended) if any => {
                    self.faults[way as usize] = Some(Box::new(ended));
                    break;
                }
                Err(ended) => return Err(ended),
            }
        }
        Ok(any)
    }

    fn has_room(&self, way: Way) -> bool {
        match way {
            Way::Up if self.is_thin => self.up == Stage::Flows && self.to_app.is_empty(),
            Way::Up => self.up == Stage::Flows && self.to_app.has_room(),
            Way::Down => self.down == Stage::Flows && self.to_peer.has_room(),
        }
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
