//! Doors for the fuzz targets, to what reads or writes strangers' bytes and is private.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_contract::discovery::Answer;
use countersign_contract::policy::{PortPolicy, ProxyProtocol};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;

use crate::discovery::Destination;
use crate::http;
use crate::inbound::Client;
use crate::proxy_header;
use crate::record::{Error, Negotiated, Session};
use crate::tls::handshake::offline::{Offline, Said};
use crate::tls::{Peer, of_error};

/// What a handshake comes to, so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// It wants more; this is the answer.
    Goes(Vec<u8>),
    /// It is done.
    Done(Vec<u8>),
    /// It is refused, for this reason and with this alert.
    Refused(&'static str, Vec<u8>),
}

/// A server that has no socket.
pub struct Server(Offline<UnbufferedServerConnection>);

impl Server {
    /// As for a connection that was just accepted.
    ///
    /// # Errors
    /// When the configuration is none.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Offline::server(config).map(Self)
    }

    /// Takes what a client sends.
    pub fn push(&mut self, came: &[u8]) -> Progress {
        match self.0.push(came) {
            Ok(Said { bytes, is_done: true }) => Progress::Done(bytes),
            Ok(Said { bytes, is_done: false }) => Progress::Goes(bytes),
            Err((error, alert)) => Progress::Refused(of_error(&error).as_str(), alert),
        }
    }
}

/// Both ends of a connection, a client's and a server's; nothing if they do not come together.
#[must_use]
pub fn sessions(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> Option<(Session, Session)> {
    let mut client = Offline::client(client).ok()?;
    let mut server = Offline::server(server).ok()?;
    let mut asked = client.push(&[]).ok()?;
    let mut is_done = false;
    // Two flights each way, at most.
    for _ in 0..2 {
        let answered = server.push(&asked.bytes).ok()?;
        is_done = answered.is_done;
        if !asked.is_done {
            asked = client.push(&answered.bytes).ok()?;
        }
    }
    if !(is_done && asked.is_done) {
        return None;
    }
    let (secrets, kernel) = client.side.dangerous_into_kernel_connection().ok()?;
    let client = Session::new(secrets, Negotiated::Client(kernel));
    let (secrets, kernel) = server.side.dangerous_into_kernel_connection().ok()?;
    let server = Session::new(secrets, Negotiated::Server(kernel));
    Some((client.ok()?, server.ok()?))
}

/// Seals whatever a peer of bad will, who has the keys, might send.
///
/// # Errors
/// When `out` is too short.
pub fn seal(
    session: &mut Session,
    kind: u8,
    content: &[u8],
    out: &mut [u8],
) -> Result<usize, Error> {
    session.seal_any(kind, content, out)
}

/// Changes the key that a session seals with.
///
/// # Errors
/// When the key schedule fails.
pub fn change_key(session: &mut Session) -> Result<(), Error> {
    session.change_key()
}

/// Whoever an application is told of.
pub struct Caller(Client);

impl Caller {
    /// A client with a session, from which only the version is told.
    #[must_use]
    pub fn new(session: Option<Session>) -> Self {
        let session = session.map(Box::new);
        Self(Client {
            session,
            early: Vec::new(),
            peer: None,
            alpn: None,
            server_name: None,
            app: None,
        })
    }

    /// The header that the application is sent.
    pub fn header(
        &mut self,
        [from, to]: [SocketAddr; 2],
        peer: Option<Peer>,
        alpn: Option<&[u8]>,
        server_name: Option<&str>,
    ) -> Vec<u8> {
        let policy =
            PortPolicy { proxy_protocol: Some(ProxyProtocol::V2), ..PortPolicy::default() };
        self.0.peer = peer.map(Arc::new);
        self.0.alpn = alpn.map(<[u8]>::to_vec);
        self.0.server_name = server_name.map(str::to_owned);
        proxy_header::of(&policy, from, to, &self.0)
    }
}

/// The value of X-Forwarded-Client-Cert that the application is sent.
#[must_use]
pub fn forwarded(own: Option<&CertificateDer<'_>>, peer: &Peer) -> Option<Vec<u8>> {
    http::told(own, Some(peer)).map(|value| value.as_bytes().to_vec())
}

/// The names of a request's headers that are left of these. A name that is none is left out.
#[must_use]
pub fn stripped<'a>(names: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let names = names.filter_map(|name| HeaderName::from_bytes(name).ok());
    let mut headers: HeaderMap =
        names.take(1000).map(|name| (name, HeaderValue::from_static("forged"))).collect();
    http::strip(&mut headers);
    headers.keys().map(ToString::to_string).collect()
}

/// The endpoints of an answer of discovery's, and who each must prove to be; nothing of an answer
/// that is not understood.
#[must_use]
pub fn endpoints(answer: &Answer) -> Option<Vec<(SocketAddr, Option<String>)>> {
    let destination = Destination::of(answer, None)?;
    let named = |peer: &countersign_contract::ExpectedPeer| peer.to_string();
    let endpoints = destination.endpoints.iter();
    Some(endpoints.map(|endpoint| (endpoint.address, endpoint.peer.as_ref().map(named))).collect())
}
