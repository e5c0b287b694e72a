//! One inbound connection from first byte to last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_contract::policy::{Mode, PortPolicy};
use countersign_contract::{Refusal, names};
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls_pki_types::UnixTime;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::connection::{Connection, Refused};
use crate::credentials::{Serving, Watched};
use crate::detect::{Opening, classify};
use crate::dial::dial;
use crate::discovery::Denials;
use crate::http::{self, Http};
use crate::listen::Accepted;
use crate::live::{About, Table, To};
use crate::metrics::{Direction, Metrics};
use crate::original_dst::original_dst;
use crate::pending::Pending;
use crate::policy::is_allowed;
use crate::proxy_header;
use crate::record::{Negotiated, Session, alert};
use crate::relay::{Relay, reset};
use crate::sweep::catch_up;
use crate::tls::handshake::{self, shake};
use crate::tls::{self, Asked, Peer};
use crate::traces::Spans;

/// What every inbound connection is judged by.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// Where connections go; to where they were redirected from, if unset.
    pub(crate) to: Option<SocketAddr>,
    /// Whose policy holds, where that is not the port that they go to.
    pub(crate) port: Option<u16>,
    /// Our own credentials, and the policy.
    pub(crate) serving: Watched,
    /// Handshakes that are under way.
    pub(crate) pending: Arc<Pending>,
    /// How long a peer may take until its first byte.
    pub(crate) first_byte_timeout: Duration,
    /// How long a peer may take until its handshake is done.
    pub(crate) handshake_timeout: Duration,
    /// How long the application may take to accept.
    pub(crate) dial_timeout: Duration,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// Where connections are told of, if anywhere.
    pub(crate) spans: Option<Spans>,
    /// Who was refused by policies, or would have been.
    pub(crate) denials: Arc<Denials>,
    /// Told when nothing new is to begin.
    pub(crate) stop: CancellationToken,
}

/// A client that proved who it is, where it had to.
pub(crate) struct Client {
    pub(crate) session: Option<Box<Session>>,
    /// What it sent behind its handshake, or instead of one.
    pub(crate) early: Vec<u8>,
    pub(crate) peer: Option<Arc<Peer>>,
    /// The protocol that is spoken inside.
    pub(crate) alpn: Option<Vec<u8>>,
    /// The name that it asked for.
    pub(crate) server_name: Option<String>,
}

/// How a connection is carried that was admitted.
#[expect(clippy::large_enum_variant, reason = "a box would be one more of all other ports")]
enum Carrier {
    Bytes(Relay),
    /// Where the application is told with each request who calls.
    Http(Box<Http>),
}

/// Serves one connection. Read this first.
pub(crate) async fn serve(inbound: &Inbound, table: &Arc<Table>, accepted: Accepted) {
    let Accepted { stream, client, permit } = accepted;
    let connection =
        Connection::open(&inbound.metrics, inbound.spans.as_ref(), Direction::inbound, client);
    match Box::pin(admit(inbound, table, stream, client)).await {
        Ok(Carrier::Bytes(mut relay)) => {
            let ended = relay.run().await;
            connection.tell(relay.live().entry(), &ended);
        }
        Ok(Carrier::Http(http)) => {
            let (line, ended) = Box::pin(http.run()).await;
            connection.tell(line.entry(), &ended);
        }
        Err(refused) => connection.refuse(&refused),
    }
    drop(permit);
}

/// Everything up to the first byte of the application's. The backend is dialled only for a client
/// that may pass, so that a stranger costs it nothing.
async fn admit(
    inbound: &Inbound,
    table: &Arc<Table>,
    mut stream: TcpStream,
    from: SocketAddr,
) -> Result<Carrier, Refused> {
    let since = UnixTime::now();
    let known = destination(inbound, &stream)
        .and_then(|to| serving(&inbound.serving, since).map(|serving| (to, serving)));
    let (to, serving) = known.inspect_err(|_| reset(&stream))?;
    let port = inbound.port.unwrap_or_else(|| to.port());
    let policy = serving.policy.of_port(port);
    let mut client = match policy.mode {
        Mode::Off => Client::plain(Vec::new()),
        _ => handshake(inbound, &serving, policy, port, &mut stream, from).await?,
    };
    let app = match authorised(inbound, policy, &client, port) {
        Ok(()) => dial(to, inbound.dial_timeout).await,
        Err(refused) => Err(refused),
    };
    let app = match app {
        Ok(app) => app,
        Err(refused) => return Err(turned_away(stream, &mut client, refused).await),
    };
    let greeting = proxy_header::of(policy, from, to, &client);
    let told = policy
        .forwarded_client_cert
        .then(|| http::told(serving.credentials.key.cert.first(), client.peer.as_deref()));
    let Client { session, early, peer, .. } = client;
    let (direction, since) = (Direction::inbound, since.as_secs());
    let to = inbound.port.map_or(To::Address(to), |port| To::Served(to, port));
    let about = About { direction, client: from, to, peer, since };
    let live = table.open(about);
    catch_up(live.entry(), &serving, &inbound.serving);
    if let Some(told) = told {
        let ends = http::Ends { app, peer: stream, session, early, greeting };
        return Ok(Carrier::Http(Http::new(ends, told, live, inbound)));
    }
    Ok(Carrier::Bytes(Relay::new(app, stream, session, early, &greeting, live)))
}

fn authorised(
    inbound: &Inbound,
    policy: &PortPolicy,
    client: &Client,
    port: u16,
) -> Result<(), Refused> {
    let peer = client.peer.as_deref();
    let who = || peer.map_or_else(|| "anonymous".to_owned(), ToString::to_string);
    if !is_allowed(policy, peer) {
        inbound.denials.note(policy, port, peer, false);
        let detail = match policy.policies.is_empty() {
            true => format!("{} on port {port}", who()),
            false => format!("{} on port {port}, by {}", who(), policy.policies.join(", ")),
        };
        return Err(Refused::new(Refusal::PeerNotAllowed, detail));
    }
    if policy.would_refuse(peer.map(Peer::caller).as_ref()) {
        inbound.denials.note(policy, port, peer, true);
        let policies = policy.audited_policies.join(", ");
        info!(peer = who(), port, policies, "would be refused: these policies are only audited");
    }
    Ok(())
}

/// Tells a client whose handshake is done, by an alert, that it goes no further.
async fn turned_away(mut stream: TcpStream, client: &mut Client, refused: Refused) -> Refused {
    let alert = match refused.reason {
        Refusal::PeerNotAllowed => alert::ACCESS_DENIED,
        _ => alert::INTERNAL_ERROR,
    };
    let mut said = [0; 64];
    let sealed = client.session.as_mut().map(|session| session.seal_alert(alert, &mut said));
    match sealed {
        Some(Ok(len)) => handshake::last_word(&mut stream, &said[..len]).await,
        _ => reset(&stream),
    }
    refused
}

/// What handshakes are made with now.
pub(crate) fn serving(watched: &Watched, now: UnixTime) -> Result<Arc<Serving>, Refused> {
    let state = watched.borrow();
    let missing = || Refused::new(Refusal::NoCredentials, state.missing(now).unwrap_or_default());
    state.usable(now).ok_or_else(missing)
}

fn destination(inbound: &Inbound, stream: &TcpStream) -> Result<SocketAddr, Refused> {
    let found = inbound.to.or_else(|| original_dst(stream));
    let detail = || "the connection was made to the sidecar's own port".to_owned();
    found.ok_or_else(|| Refused::new(Refusal::NoOriginalDestination, detail()))
}

impl Client {
    fn plain(early: Vec<u8>) -> Self {
        Self { session: None, early, peer: None, alpn: None, server_name: None }
    }
}

/// A handshake that ends: well, badly, too late, or because others came for whom there was no room.
async fn handshake(
    inbound: &Inbound,
    serving: &Serving,
    policy: &PortPolicy,
    port: u16,
    stream: &mut TcpStream,
    from: SocketAddr,
) -> Result<Client, Refused> {
    let place = inbound.pending.begin(from.ip());
    let made = async {
        let opening = opening(inbound, stream).await;
        if policy.mode == Mode::Permissive
            && let Some(early) = plain(&opening)
        {
            return Ok(Client::plain(early));
        }
        server(inbound, serving, port, stream, opening?).await
    };
    let late = || {
        let detail = format!("after {:?}", inbound.handshake_timeout);
        Err(Refused::new(Refusal::HandshakeTimeout, detail))
    };
    let made = tokio::select! {
        biased;
        made = timeout(inbound.handshake_timeout, made) => made.unwrap_or_else(|_| late()),
        () = place.given_away() => {
            let detail = "too many handshakes at once, and this one took longest".to_owned();
            Err(Refused::new(Refusal::Overloaded, detail))
        }
    };
    made.inspect_err(|refused| {
        if !is_told(refused.reason) {
            reset(stream);
        }
    })
}

/// Whether TLS has an alert for it, which the client was sent. Whoever was not told must not take
/// the end of the connection for an answer that is empty.
fn is_told(reason: Refusal) -> bool {
    !matches!(
        reason,
        Refusal::FirstByteTimeout
            | Refusal::Plaintext
            | Refusal::HandshakeTimeout
            | Refusal::HandshakeAborted
            | Refusal::Overloaded
    )
}

/// What came first, where that was plaintext or nothing, for ports that admit either.
fn plain(opening: &Result<Vec<u8>, Refused>) -> Option<Vec<u8>> {
    match opening {
        Ok(first) => (classify(first) != Opening::Tls).then(|| first.clone()),
        Err(refused) => (refused.reason == Refusal::FirstByteTimeout).then(Vec::new),
    }
}

/// The first bytes that come.
async fn opening(inbound: &Inbound, stream: &TcpStream) -> Result<Vec<u8>, Refused> {
    let mut first = Vec::new();
    // A little before the whole handshake's deadline, so that silence has a name of its own.
    let patience = inbound.first_byte_timeout.min(inbound.handshake_timeout * 9 / 10);
    match timeout(patience, handshake::read_hello(stream, &mut first)).await {
        Ok(read) => read.map_err(|error| of_handshake(&error))?,
        Err(_) => {
            let detail = "the client sent nothing".to_owned();
            return Err(Refused::new(Refusal::FirstByteTimeout, detail));
        }
    }
    Ok(first)
}

async fn server(
    inbound: &Inbound,
    serving: &Serving,
    port: u16,
    stream: &mut TcpStream,
    first: Vec<u8>,
) -> Result<Client, Refused> {
    let opening = classify(&first);
    if opening != Opening::Tls {
        let detail = format!("the client does not speak TLS, but {opening}");
        return Err(Refused::new(Refusal::Plaintext, detail));
    }
    let started = Instant::now();
    let tls = |error: rustls::Error| of_handshake(&error.into());
    let (config, asked) = config(serving, port);
    let mut side = Box::new(UnbufferedServerConnection::new(config).map_err(tls)?);
    let early = shake(stream, &mut *side, first).await.map_err(|error| of_handshake(&error))?;
    inbound.metrics.handshake.observe(started.elapsed().as_secs_f64());
    let chain = side.peer_certificates();
    let peer = chain.map(|chain| serving.credentials.trust.client(chain, UnixTime::now()));
    let peer = peer.transpose().map_err(tls)?;
    // That another sidecar calls is not what is spoken inside.
    let alpn = side.alpn_protocol().filter(|name| *name != names::ALPN.as_bytes());
    let alpn = alpn.map(<[u8]>::to_vec);
    let server_name = asked.and_then(|asked| asked.name());
    let (secrets, kernel) = side.dangerous_into_kernel_connection().map_err(tls)?;
    let session = Session::new(secrets, Negotiated::Server(kernel))
        .map_err(|error| Refused::new(Refusal::TlsIncompatible, error.to_string()))?;
    Ok(Client { session: Some(Box::new(session)), early, peer, alpn, server_name })
}

/// How a port answers; where the application is told, with somebody who notes which name was asked
/// for.
fn config(serving: &Serving, port: u16) -> (Arc<ServerConfig>, Option<Arc<Asked>>) {
    let config = serving.of_port(port).clone();
    if serving.policy.of_port(port).proxy_protocol.is_none() {
        return (config, None);
    }
    let asked = Arc::new(Asked::of(config.cert_resolver.clone()));
    let mut config = ServerConfig::clone(&config);
    config.cert_resolver = asked.clone();
    (Arc::new(config), Some(asked))
}

pub(crate) fn of_handshake(error: &handshake::Error) -> Refused {
    Refused::new(tls::of_error(error), error.to_string())
}
