//! A replica's connection to the leader: mutual TLS, then HTTP/2, then the method.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::uri::PathAndQuery;
use axum::http::{Request, Response, Uri};
use countersign_contract::discovery::{Heard, LONGEST_MESSAGE, RELAY_PATH, Relay};
use futures::channel::mpsc;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::body::Body;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::own::{Own, operator, server_name};
use crate::context::Settings;
use crate::pki::CertificateFacts;

/// How often the leader is asked whether it is there when it says nothing.
const PING: Duration = Duration::from_secs(20);

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("connecting: {0}")]
    Connect(std::io::Error),
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("TLS: {0}")]
    Name(#[from] rustls_pki_types::InvalidDnsNameError),
    #[error("whoever answers has another identity than the operator")]
    Stranger,
    #[error("HTTP/2: {0}")]
    Http(#[from] hyper::Error),
    #[error("{}: {}", .0.code(), .0.message())]
    Status(#[from] Status),
}

/// A stream to the leader.
pub(super) struct Called {
    pub(super) relays: mpsc::Sender<Relay>,
    pub(super) heard: Streaming<Heard>,
}

/// Calls the leader.
pub(super) async fn relay(to: SocketAddr, own: &Own, settings: &Settings) -> Result<Called, Error> {
    let stream = shake(to, own, settings).await?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(stream))
        .await?;
    drop(tokio::spawn(connection));
    // HTTP/2 wants an authority in each request (RFC 9113, 8.3.1).
    let origin = Uri::from_static("https://discovery");
    let mut grpc = tonic::client::Grpc::with_origin(Channel(sender), origin)
        .max_decoding_message_size(LONGEST_MESSAGE)
        .max_encoding_message_size(LONGEST_MESSAGE);
    let (relays, receiver) = mpsc::channel(1);
    grpc.ready().await?;
    let codec = ProstCodec::<Relay, Heard>::default();
    let path = PathAndQuery::from_static(RELAY_PATH);
    let response = grpc.streaming(tonic::Request::new(receiver), path, codec).await?;
    Ok(Called { relays, heard: response.into_inner() })
}

/// Whoever has our Service's name in a certificate of the mesh's is not yet the operator.
async fn shake(
    to: SocketAddr,
    own: &Own,
    settings: &Settings,
) -> Result<TlsStream<TcpStream>, Error> {
    let stream = TcpStream::connect(to).await.map_err(Error::Connect)?;
    stream.set_nodelay(true).map_err(Error::Connect)?;
    let name = ServerName::try_from(server_name(settings))?;
    let connector = TlsConnector::from(own.client.clone());
    let stream = connector.connect(name, stream).await.map_err(Error::Tls)?;
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
    let facts = leaf.and_then(|leaf| CertificateFacts::from_der(leaf.into_owned()).ok());
    let is_operator = facts.is_some_and(|facts| match facts.says.uris.as_slice() {
        [uri] => operator(settings).is_ok_and(|operator| *uri == operator.to_string()),
        _ => false,
    });
    if is_operator { Ok(stream) } else { Err(Error::Stranger) }
}

/// One HTTP/2 connection, as tonic wants it.
struct Channel(http2::SendRequest<Body>);

type Answering = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

impl tower::Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        Box::pin(self.0.send_request(request))
    }
}
