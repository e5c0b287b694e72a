//! What all parts of one connection share: its entry, what broke it, and what it waits for.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use countersign_contract::Ending;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use super::flow::Flow;
use super::heads::Heads;
use crate::live::{Entry, Live, Way};
use crate::relay::Ended;

/// How much of bodies may wait each way in HTTP/1.1; what HTTP/2 may is set once it is known.
const MAX_UNSENT: usize = 32 * 1024;

/// One connection.
pub(crate) struct Line {
    pub(super) live: Live,
    state: Mutex<State>,
    is_over: AtomicBool,
    /// How long the head of a request may take, from its first byte to its last.
    patience: Duration,
}

#[derive(Default)]
struct State {
    /// What went wrong first at either socket: what hyper says of it afterwards says less.
    fault: Option<Ended>,
    /// Requests that are not answered yet.
    busy: usize,
    /// Requests of which the body is still coming; they may be answered already.
    bodies: usize,
    heads: Heads,
    /// Until when a request must be whole of which the head has no end yet.
    head: Option<Instant>,
    /// Both ends of what goes on in another protocol.
    tunnel: Option<[OnUpgrade; 2]>,
    /// What of bodies is not written yet, each way.
    flows: [Flow; 2],
    /// How much that may be, of HTTP/2, which drops pieces once they are written.
    max_unsent: Option<usize>,
}

/// Holds as long as a request is not wholly answered.
pub(super) struct Busy(std::sync::Arc<Line>);

/// Holds as long as a request's body is coming.
pub(super) struct Coming(std::sync::Arc<Line>);

impl Line {
    pub(super) fn new(live: Live, patience: Duration) -> Self {
        Self { live, state: Mutex::default(), is_over: AtomicBool::new(false), patience }
    }

    pub(crate) fn entry(&self) -> &Entry {
        self.live.entry()
    }

    /// Waits until a sweep finds that the connection may not go on.
    pub(super) async fn verdict(&self) -> Ending {
        let verdict = std::future::poll_fn(|cx| match self.live.poll_verdict(cx) {
            Some(how) => Poll::Ready(how),
            None => Poll::Pending,
        });
        verdict.await
    }

    /// Notes what broke the connection; what hyper is told of it.
    pub(super) fn breaks(&self, ended: Ended) -> io::Error {
        let detail = ended.detail.clone().unwrap_or_else(|| ended.how.to_string());
        self.lock().fault.get_or_insert(ended);
        io::Error::other(detail)
    }

    pub(super) fn fault(&self) -> Option<Ended> {
        self.lock().fault.take()
    }

    /// No request may begin any more.
    pub(super) fn end(&self) {
        self.is_over.store(true, Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    /// Something came from the client: the head of a request has a deadline from its first byte on.
    pub(super) fn heard(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let rests = state.busy == 0 && state.bodies == 0;
        match state.heads.hear(bytes, rests) {
            true if state.head.is_none() => state.head = Some(Instant::now() + self.patience),
            true => {}
            false => state.head = None,
        }
    }

    /// The request of which the head came last, for people.
    pub(super) fn request(&self) -> Option<String> {
        self.lock().heads.request()
    }

    /// Ready when no request is being answered, whenever it is asked.
    pub(super) async fn rests(&self) {
        let rests = std::future::poll_fn(|_| match self.lock().busy {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        });
        rests.await;
    }

    /// Until when what is coming must be there.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lock().head
    }

    /// A request is there.
    pub(super) fn begins(self: &std::sync::Arc<Self>) -> Busy {
        let mut state = self.lock();
        state.busy += 1;
        state.heads.is_read();
        // In HTTP/2 the head of another stream may be open.
        if !state.heads.is_http2() {
            state.head = None;
        }
        Busy(self.clone())
    }

    /// A request has a body.
    pub(super) fn takes_body(self: &std::sync::Arc<Self>) -> Coming {
        self.lock().bodies += 1;
        Coming(self.clone())
    }

    /// It is HTTP/2, and so much of bodies may wait each way.
    pub(super) fn counts_pieces(&self, max_unsent: usize) {
        self.lock().max_unsent = Some(max_unsent);
    }

    /// Whether a body may be asked for more.
    pub(super) fn poll_room(&self, way: Way, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let most = state.max_unsent.unwrap_or(MAX_UNSENT);
        state.flows[way as usize].poll_room(cx, most)
    }

    /// So much more of a body waits; whether it does until its piece is dropped.
    pub(super) fn adds(&self, way: Way, len: usize) -> bool {
        let mut state = self.lock();
        state.flows[way as usize].add(len);
        state.max_unsent.is_some()
    }

    /// So much waits no longer.
    pub(super) fn removes(&self, way: Way, len: usize) {
        let mut state = self.lock();
        let most = state.max_unsent.unwrap_or(MAX_UNSENT);
        let woken = state.flows[way as usize].remove(len, most);
        drop(state);
        woken.into_iter().for_each(std::task::Waker::wake);
    }

    /// So much was written to a socket.
    pub(super) fn writes(&self, way: Way, len: usize) {
        if self.lock().max_unsent.is_none() {
            self.removes(way, len);
        }
    }

    pub(super) fn open_tunnel(&self, ends: [OnUpgrade; 2]) {
        self.lock().tunnel = Some(ends);
    }

    pub(super) fn tunnel(&self) -> Option<[OnUpgrade; 2]> {
        self.lock().tunnel.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Busy {
    pub(super) fn line(&self) -> &std::sync::Arc<Line> {
        &self.0
    }
}

impl Coming {
    pub(super) fn line(&self) -> &std::sync::Arc<Line> {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.lock().busy -= 1;
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.lock().bodies -= 1;
    }
}
