//! How much of bodies was taken from one side and has not been written to the other yet.
//!
//! A body is not polled while too much of it, or of others on the same connection, waits. HTTP/2 sends
//! pieces as they are: each counts until it is dropped. In HTTP/1.1 hyper copies them into one buffer:
//! they count until as many bytes were written.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hyper::body::{Buf, Bytes};

use super::line::Line;
use crate::live::Way;

/// What waits to be written one way.
#[derive(Default)]
pub(super) struct Flow {
    unsent: usize,
    /// Bodies that go on once there is room.
    waiting: Vec<Waker>,
}

impl Flow {
    /// Ready while fewer than `most` bytes wait.
    pub(super) fn poll_room(&mut self, cx: &Context<'_>, most: usize) -> Poll<()> {
        if self.unsent < most {
            return Poll::Ready(());
        }
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn add(&mut self, len: usize) {
        self.unsent = self.unsent.saturating_add(len);
    }

    /// The bodies to wake once so many bytes wait no longer.
    pub(super) fn remove(&mut self, len: usize, most: usize) -> Vec<Waker> {
        self.unsent = self.unsent.saturating_sub(len);
        if self.unsent < most { std::mem::take(&mut self.waiting) } else { Vec::new() }
    }
}

/// A piece of a body.
pub(super) struct Piece {
    bytes: Bytes,
    /// Where it counts until it is dropped.
    _counted: Option<Counted>,
}

struct Counted {
    line: Arc<Line>,
    way: Way,
    len: usize,
}

impl Piece {
    pub(super) fn new(bytes: Bytes, line: &Arc<Line>, way: Way) -> Self {
        let len = bytes.len();
        let counts_itself = line.adds(way, len);
        let counted = counts_itself.then(|| Counted { line: line.clone(), way, len });
        Self { bytes, _counted: counted }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, len: usize) {
        self.bytes.advance(len);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.line.removes(self.way, self.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_waits_while_too_much_is_unsent_and_is_woken() {
        let cx = Context::from_waker(Waker::noop());
        let mut flow = Flow::default();
        assert_eq!(flow.poll_room(&cx, 10), Poll::Ready(()));
        flow.add(15);
        assert_eq!(flow.poll_room(&cx, 10), Poll::Pending);
        assert_eq!(flow.remove(5, 10).len(), 0, "ten bytes still wait");
        assert_eq!(flow.remove(1, 10).len(), 1);
        assert_eq!(flow.poll_room(&cx, 10), Poll::Ready(()));
        // What was written beside bodies does not make room for more of them.
        assert_eq!(flow.remove(100, 10).len(), 0);
        flow.add(10);
        assert_eq!(flow.poll_room(&cx, 10), Poll::Pending);
    }
}
