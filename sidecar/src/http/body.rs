//! Bodies as they pass: piece by piece, as fast as the other side takes them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::expectation::Waiting;
use super::forwarded;
use super::line::{Busy, Coming};

/// A request's body, on its way to the application.
pub(super) struct Request {
    body: Incoming,
    /// What a client waits for before it sends the body.
    waiting: Option<Waiting>,
    /// As long as there is more of it.
    coming: Option<Coming>,
}

/// A response's body, on its way to the client.
pub(super) struct Response {
    /// None of a response of our own, which is empty.
    body: Option<Incoming>,
    _busy: Busy,
}

impl Request {
    pub(super) fn new(body: Incoming, waiting: Option<Waiting>, coming: Coming) -> Self {
        let coming = (!body.is_end_stream()).then_some(coming);
        Self { body, waiting, coming }
    }
}

impl Response {
    pub(super) fn new(body: Incoming, busy: Busy) -> Self {
        Self { body: Some(body), _busy: busy }
    }

    pub(super) fn empty(busy: Busy) -> Self {
        Self { body: None, _busy: busy }
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
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.coming = None;
        }
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
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}
