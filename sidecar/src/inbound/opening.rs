//! How a connection opens: by a handshake, or, on a port that admits either, without one.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_contract::policy::{Mode, PortPolicy};
use countersign_contract::{Refusal, names};
use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::UnbufferedStatus;
use rustls_pki_types::UnixTime;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{Client, Ends, Inbound, own_tls};
use crate::connection::Refused;
use crate::credentials::Serving;
use crate::detect::{Opening, classify};
use crate::pending::{Place, Stage};
use crate::policy::is_allowed;
use crate::proxy_header;
use crate::record::{Negotiated, Session};
use crate::relay::reset;
use crate::tls::handshake::{self, Side, shake};
use crate::tls::{self, Asked};

/// How long a client may say nothing, on a port that admits either, until it is seen whether the
/// application speaks first, as those of SMTP and MySQL do. A hello that was lost once has been sent
/// again by then: 200 ms is the shortest that Linux waits.
const SILENCE: Duration = Duration::from_millis(300);

/// A handshake that ends: well, badly, too late, or because others came for whom there was no room.
pub(super) async fn handshake(
    inbound: &Inbound,
    serving: &Serving,
    policy: &PortPolicy,
    stream: &mut TcpStream,
    (ends, place): (Ends, Place),
) -> Result<Client, Refused> {
    place.advance(Stage::AwaitsHello);
    let made = async {
        let opening = tokio::select! {
            biased;
            opening = opening(inbound, stream) => opening,
            app = greeted(inbound, policy, ends) => return Ok(Client::greeted(app)),
        };
        if policy.mode == Mode::Permissive
            && let Some(early) = plain(&opening)
        {
            return Ok(Client::plain(early));
        }
        let mut first = opening?;
        if classify(&first) == Opening::Tls
            && let Some(app) = own_tls::answered(inbound, policy, stream, &mut first, ends).await?
        {
            return Ok(Client::greeted(app));
        }
        server(inbound, serving, (ends.port, &place), stream, first).await
    };
    let late = || {
        let detail = format!("after {:?}", inbound.handshake_timeout);
        Err(Refused::new(Refusal::HandshakeTimeout, detail))
    };
    let made = tokio::select! {
        biased;
        made = timeout(inbound.handshake_timeout, made) => made.unwrap_or_else(|_| late()),
        () = place.given_away() => Err(pushed_out()),
    };
    // Its place in all limits may be a newcomer's since.
    let made = made.and_then(|client| place.finish().then_some(client).ok_or_else(pushed_out));
    made.inspect_err(|refused| {
        if !is_told(refused.reason) {
            reset(stream);
        }
    })
}

/// A client of a port without handshakes, unless a newcomer has its place.
pub(super) fn without_handshake(stream: &TcpStream, place: Place) -> Result<Client, Refused> {
    let client = place.finish().then(|| Client::plain(Vec::new()));
    client.ok_or_else(pushed_out).inspect_err(|_| reset(stream))
}

fn pushed_out() -> Refused {
    let detail = "too many handshakes at once, and this one took longest".to_owned();
    Refused::new(Refusal::Overloaded, detail)
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

/// The application, once it spoke first to a client that may pass without a handshake; never, if it
/// does not. One that is told of each request speaks HTTP, where the client begins.
async fn greeted(inbound: &Inbound, policy: &PortPolicy, ends: Ends) -> TcpStream {
    let may_speak_first = policy.mode == Mode::Permissive
        && !policy.forwarded_client_cert
        && is_allowed(policy, None);
    if may_speak_first {
        sleep(SILENCE).await;
        if let Ok(app) = Box::pin(speaking(&[], inbound, policy, ends)).await {
            return app;
        }
    }
    pending().await
}

/// The application, called for a client of whom nothing is known but what it sent first, once there is
/// something to read; also its end.
pub(super) async fn speaking(
    first: &[u8],
    inbound: &Inbound,
    policy: &PortPolicy,
    ends: Ends,
) -> Result<TcpStream, Refused> {
    let mut app = inbound.dial(ends.to).await?;
    let header = proxy_header::of(policy, ends.from, ends.to, &Client::plain(Vec::new()));
    let told = async {
        app.write_all(&header).await?;
        app.write_all(first).await?;
        app.readable().await
    };
    let failed = |error: std::io::Error| Refused::new(Refusal::DialFailed, error.to_string());
    told.await.map_err(failed)?;
    Ok(app)
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
    (port, place): (u16, &Place),
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
    let mut noted = Noted { side: &mut side, place };
    let early = shake(stream, &mut noted, first).await.map_err(|error| of_handshake(&error))?;
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
    Ok(Client { session: Some(Box::new(session)), early, peer, alpn, server_name, app: None })
}

/// A server that notes when it answers its client's ClientHello, which was whole.
struct Noted<'a> {
    side: &'a mut UnbufferedServerConnection,
    place: &'a Place,
}

impl Side for Noted<'_> {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.side.process(incoming)
    }
    fn has_to_say(&self) -> bool {
        self.side.has_to_say()
    }
    fn answers(&self) {
        self.place.advance(Stage::HelloAnswered);
    }
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
