//! A sidecar's side of discovery, without the sidecar.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Context as _;
use countersign_contract::discovery::{
    Answer, Heard, Hello, PATH, RELAY_PATH, Relay, Request, Response, Told,
};
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Streaming;
use tonic::body::Body;
use tonic_prost::ProstCodec;

/// Whom discovery's certificate names.
const SERVER: &str = "countersign-discovery.countersign-system.svc";

/// What a sidecar has of its identity: its certificates, its key, and the roots; PEM.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Its certificate, and those above it.
    pub chain: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// Whom servers must chain to.
    pub roots: Vec<u8>,
}

/// One stream.
pub struct Stream {
    requests: mpsc::Sender<Request>,
    responses: Streaming<Response>,
    answers: BTreeMap<String, Answer>,
}

impl Stream {
    /// Says hello as a pod; as nobody's, if it has no name.
    ///
    /// # Errors
    /// When discovery does not let us in.
    pub async fn open(
        address: SocketAddr,
        credentials: Option<&Credentials>,
        pod: &str,
    ) -> anyhow::Result<Self> {
        let mut grpc = connect(address, credentials).await?;
        let (mut requests, receiver) = mpsc::channel(8);
        let hello = Hello { pod: pod.to_owned(), version: "test".to_owned() };
        requests.send(Request { hello: Some(hello), ..Request::default() }).await?;
        let codec = ProstCodec::<Request, Response>::default();
        let path = http::uri::PathAndQuery::from_static(PATH);
        let response = grpc.streaming(tonic::Request::new(receiver), path, codec).await?;
        Ok(Self { requests, responses: response.into_inner(), answers: BTreeMap::new() })
    }

    /// Follows destinations from now on.
    ///
    /// # Errors
    /// When the stream has ended.
    pub async fn follow(&mut self, destinations: &[String]) -> anyhow::Result<()> {
        self.send(Request { follow: destinations.to_vec(), ..Request::default() }).await
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the stream has ended.
    pub async fn send(&mut self, request: Request) -> anyhow::Result<()> {
        self.requests.send(request).await.context("the stream has ended")
    }

    /// Waits for the next message with answers.
    ///
    /// # Errors
    /// When the stream ended, with what the operator said.
    pub async fn next(&mut self) -> anyhow::Result<Vec<Answer>> {
        loop {
            let response = self.responses.message().await?.context("the stream has ended")?;
            for answer in &response.answers {
                self.answers.insert(answer.destination.clone(), answer.clone());
            }
            if !response.answers.is_empty() {
                return Ok(response.answers);
            }
        }
    }

    /// Waits until what is known of a destination is as it should be.
    ///
    /// # Errors
    /// When the stream ended.
    pub async fn until(
        &mut self,
        destination: &str,
        is_it: impl Fn(&Answer) -> bool,
    ) -> anyhow::Result<Answer> {
        loop {
            if let Some(answer) = self.answers.get(destination).filter(|answer| is_it(answer)) {
                return Ok(answer.clone());
            }
            self.next().await?;
        }
    }
}

/// Tells as a replica of the operator's does; waits until it was heard.
///
/// # Errors
/// When whoever answers does not hear it, with what it said.
pub async fn relay(
    address: SocketAddr,
    credentials: &Credentials,
    told: Vec<Told>,
) -> anyhow::Result<()> {
    let mut grpc = connect(address, Some(credentials)).await?;
    let relays = futures::stream::iter([Relay { told, ..Relay::default() }])
        .chain(futures::stream::pending());
    let codec = ProstCodec::<Relay, Heard>::default();
    let path = http::uri::PathAndQuery::from_static(RELAY_PATH);
    let heard = grpc.streaming(tonic::Request::new(relays), path, codec).await?;
    heard.into_inner().message().await?.context("the stream has ended")?;
    Ok(())
}

async fn connect(
    address: SocketAddr,
    credentials: Option<&Credentials>,
) -> anyhow::Result<tonic::client::Grpc<Channel>> {
    let connector = TlsConnector::from(Arc::new(config(credentials)?));
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let stream = connector.connect(ServerName::try_from(SERVER)?, stream).await?;
    let (sender, connection) =
        http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await?;
    drop(tokio::spawn(connection));
    let origin = http::Uri::from_static("https://discovery");
    let mut grpc = tonic::client::Grpc::with_origin(Channel(sender), origin);
    grpc.ready().await?;
    Ok(grpc)
}

fn config(credentials: Option<&Credentials>) -> anyhow::Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let pem = credentials.map_or(&[][..], |credentials| &credentials.roots);
    for root in CertificateDer::pem_slice_iter(pem) {
        roots.add(root?)?;
    }
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match credentials {
        Some(credentials) => {
            let chain: Result<_, _> = CertificateDer::pem_slice_iter(&credentials.chain).collect();
            builder
                .with_client_auth_cert(chain?, PrivateKeyDer::from_pem_slice(&credentials.key)?)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// One HTTP/2 connection, as tonic wants it.
struct Channel(http2::SendRequest<Body>);

type Answering = Pin<Box<dyn Future<Output = hyper::Result<http::Response<Incoming>>> + Send>>;

impl tower::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Answering {
        Box::pin(self.0.send_request(request))
    }
}
