//! Bodies as they pass: piece by piece, as fast as the other side takes them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::expectation::Waiting;
use super::flow::Piece;
use super::forwarded;
use super::line::{Busy, Coming, Line};
use crate::http_memory::Share;
use crate::live::Way;

/// A request's body, on its way to the application.
pub(super) struct Request {
    body: Incoming,
    /// What a client waits for before it sends the body.
    waiting: Option<Waiting>,
    /// As long as there is more of it.
    coming: Option<Coming>,
    line: Arc<Line>,
}

/// A response's body, on its way to the client.
pub(super) struct Response {
    /// None of a response of our own, which is empty.
    body: Option<Incoming>,
    busy: Busy,
    /// What its stream holds of the memory of all.
    _stream: Option<Share>,
}

impl Request {
    pub(super) fn new(body: Incoming, waiting: Option<Waiting>, coming: Coming) -> Self {
        let line = coming.line().clone();
        let coming = (!body.is_end_stream()).then_some(coming);
        Self { body, waiting, coming, line }
    }
}

impl Response {
    pub(super) fn new(body: Incoming, busy: Busy) -> Self {
        Self { body: Some(body), busy, _stream: None }
    }

    pub(super) fn empty(busy: Busy) -> Self {
        Self { body: None, busy, _stream: None }
    }

    pub(super) fn holding(self, stream: Share) -> Self {
        Self { _stream: Some(stream), ..self }
    }
}

impl Body for Request {
    type Data = Piece;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Piece>>>> {
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.poll(cx));
            self.waiting = None;
        }
        ready!(self.line.poll_room(Way::Up, cx));
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.coming = None;
        }
        let line = &self.line;
        Poll::Ready(frame.map(|frame| Ok(counted(without_forgery(frame?), line, Way::Up))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The same, of which data counts until it is written.
fn counted(frame: Frame<Bytes>, line: &Arc<Line>, way: Way) -> Frame<Piece> {
    frame.map_data(|bytes| Piece::new(bytes, line, way))
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
    type Data = Piece;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Piece>>>> {
        let Self { body, busy, .. } = &mut *self;
        let Some(body) = body else { return Poll::Ready(None) };
        let line = busy.line();
        ready!(line.poll_room(Way::Down, cx));
        let frame = ready!(Pin::new(body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| Ok(counted(frame?, line, Way::Down))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}
