//! Both ends of HTTP/2, with bodies that go piece by piece.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::channel::mpsc;
use futures::{SinkExt, Stream};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::client::conn::http2::{self as client, SendRequest};
use hyper::header::HeaderMap;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::stage::Stage;
use crate::authority::Set;
use crate::peer::client_config;

/// A body whose pieces come as somebody sends them.
pub(crate) struct Frames(mpsc::Receiver<Frame<Bytes>>);

/// Who sends them.
pub(crate) struct Sender(mpsc::Sender<Frame<Bytes>>);

impl Frames {
    pub(crate) fn new() -> (Sender, Self) {
        let (sender, receiver) = mpsc::channel(0);
        (Sender(sender), Self(receiver))
    }

    pub(crate) fn none() -> Self {
        Self::new().1
    }
}

impl Sender {
    pub(crate) async fn send(&mut self, piece: Vec<u8>) {
        drop(self.0.send(Frame::data(piece.into())).await);
    }

    pub(crate) async fn end(mut self, trailers: HeaderMap) {
        drop(self.0.send(Frame::trailers(trailers)).await);
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.0).poll_next(cx).map(|frame| frame.map(Ok))
    }
}

/// What comes of a body.
pub(crate) struct Pieces {
    body: Incoming,
    trailers: HeaderMap,
}

impl Pieces {
    pub(crate) fn of(body: Incoming) -> Self {
        Self { body, trailers: HeaderMap::new() }
    }

    /// The next piece; nothing at the end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
            match frame?.ok()?.into_data() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Some(piece),
                Err(frame) => self.trailers = frame.into_trailers().ok()?,
            }
        }
    }

    pub(crate) fn trailers(self) -> HeaderMap {
        self.trailers
    }
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// An application of HTTP/2 without TLS.
pub(crate) fn application<F>(
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = Response<Frames>> + Send + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let answered = answer(request);
                    async move { Ok::<_, std::convert::Infallible>(answered.await) }
                });
                let serving = http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serving);
            }
        });
    });
    at
}

pub(crate) fn stage(app: SocketAddr, policy: &str) -> Stage {
    Stage::before(app, policy)
}

/// Calls as somebody who presents `set`, and asks for HTTP/2 by name.
pub(crate) async fn call(stage: &Stage, set: &Set) -> SendRequest<Frames> {
    call_as(stage, set, Some("h2")).await.0
}

/// The same, by another name or by none; and what ends with the connection.
pub(crate) async fn call_as(
    stage: &Stage,
    set: &Set,
    alpn: Option<&str>,
) -> (SendRequest<Frames>, JoinHandle<hyper::Result<()>>) {
    let mut config = client_config(&stage.authority.pem(), Some(set));
    config.alpn_protocols = alpn.map(|name| name.as_bytes().to_vec()).into_iter().collect();
    let stream = tokio::net::TcpStream::connect(stage.at).await.unwrap();
    let name = "web.test".try_into().unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let shaken = client::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.unwrap();
    (sender, tokio::spawn(connection))
}
