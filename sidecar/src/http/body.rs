//! Bodies as they pass: piece by piece, as fast as the other side takes them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::expectation::Waiting;
use super::forwarded;
use super::line::Busy;

/// A request's body, on its way to the application.
pub(super) struct Request {
    body: Incoming,
    /// What a client waits for before it sends the body.
    waiting: Option<Waiting>,
}

/// A response's body, on its way to the client.
pub(super) struct Response {
    body: Incoming,
    _busy: Busy,
}

impl Request {
    pub(super) fn new(body: Incoming, waiting: Option<Waiting>) -> Self {
        Self { body, waiting }
    }
}

impl Response {
    pub(super) fn new(body: Incoming, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl Body for Request {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.poll(cx));
            self.waiting = None;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(without_forgery)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Some servers put what trails behind a body with the headers before it.
fn without_forgery(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            forwarded::strip(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

impl Body for Response {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
