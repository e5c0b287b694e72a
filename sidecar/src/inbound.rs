//! One inbound connection from first byte to last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_contract::Refusal;
use countersign_contract::policy::{Mode, PolicyDocument};
use rustls_pki_types::UnixTime;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connection::{Connection, Ends, Refused, reset};
use crate::credentials::Watched;
use crate::detect::{Opening, classify};
use crate::dial::dial;
use crate::listen::Accepted;
use crate::metrics::{Direction, Metrics};
use crate::original_dst::original_dst;
use crate::policy::is_allowed;
use crate::tls::{self, Peer};

/// What every inbound connection is judged by.
#[derive(Debug)]
pub struct Inbound {
    /// Where connections go; to where they were redirected from, if unset.
    pub to: Option<SocketAddr>,
    /// Which peers may pass.
    pub policy: PolicyDocument,
    /// Our own credentials.
    pub credentials: Watched,
    /// How many handshakes may be under way at once.
    pub handshakes: Arc<Semaphore>,
    /// How long a peer may take from its first byte until its handshake is done.
    pub handshake_timeout: Duration,
    /// How long the application may take to accept.
    pub dial_timeout: Duration,
    /// What is counted.
    pub metrics: Metrics,
}

/// A client that proved who it is, where it had to.
struct Admitted {
    stream: TlsStream<TcpStream>,
    peer: Option<Peer>,
    app: TcpStream,
    to: SocketAddr,
}

/// Serves one connection. Read this first.
pub(crate) async fn serve(inbound: &Inbound, accepted: Accepted) {
    let Accepted { stream, client, permit } = accepted;
    let connection = Connection::open(&inbound.metrics, Direction::inbound, client);
    match admit(inbound, stream).await {
        Ok(Admitted { mut stream, peer, mut app, to }) => {
            let peer = peer.map_or_else(|| "anonymous".to_owned(), |peer| peer.to_string());
            let ends = Ends { peer: &peer, to: &to };
            if connection.copy(&mut stream, &mut app, &ends).await.is_err() {
                reset(&app);
            }
        }
        Err(refused) => connection.refuse(&refused),
    }
    drop(permit);
}

/// Everything up to the first byte of the application's. The backend is dialled only for a client
/// that may pass, so that a stranger costs it nothing.
async fn admit(inbound: &Inbound, stream: TcpStream) -> Result<Admitted, Refused> {
    let to = destination(inbound, &stream)?;
    let policy = inbound.policy.of_port(to.port());
    let (stream, peer) = handshake(inbound, stream, policy.mode).await?;
    if !is_allowed(policy, peer.as_ref()) {
        let who = peer.map_or_else(|| "anonymous".to_owned(), |peer| peer.to_string());
        return Err(Refused::new(Refusal::PeerNotAllowed, format!("{who} on port {}", to.port())));
    }
    let app = dial(to, inbound.dial_timeout).await?;
    Ok(Admitted { stream, peer, app, to })
}

fn destination(inbound: &Inbound, stream: &TcpStream) -> Result<SocketAddr, Refused> {
    let found = inbound.to.or_else(|| original_dst(stream));
    let detail = || "the connection was made to the sidecar's own port".to_owned();
    found.ok_or_else(|| Refused::new(Refusal::NoOriginalDestination, detail()))
}

async fn handshake(
    inbound: &Inbound,
    stream: TcpStream,
    mode: Mode,
) -> Result<(TlsStream<TcpStream>, Option<Peer>), Refused> {
    let Ok(_pending) = inbound.handshakes.try_acquire() else {
        return Err(Refused::new(Refusal::Overloaded, "too many handshakes at once".to_owned()));
    };
    inbound.metrics.pending.inc();
    let done = timeout(inbound.handshake_timeout, detected_handshake(inbound, stream, mode)).await;
    inbound.metrics.pending.dec();
    done.unwrap_or_else(|_| {
        let detail = format!("after {:?}", inbound.handshake_timeout);
        Err(Refused::new(Refusal::HandshakeTimeout, detail))
    })
}

async fn detected_handshake(
    inbound: &Inbound,
    stream: TcpStream,
    mode: Mode,
) -> Result<(TlsStream<TcpStream>, Option<Peer>), Refused> {
    detect(&stream, inbound.handshake_timeout).await?;
    let state = inbound.credentials.borrow().clone();
    let now = UnixTime::now();
    let Some(credentials) = state.usable(now) else {
        let why = state.missing(now).unwrap_or_default();
        return Err(Refused::new(Refusal::NoCredentials, why));
    };
    let config = match mode {
        Mode::Mutual => credentials.mutual.clone(),
        Mode::Server => credentials.server_only.clone(),
    };
    let started = Instant::now();
    let stream = TlsAcceptor::from(config)
        .accept(stream)
        .await
        .map_err(|error| Refused::new(tls::of_error(&error), error.to_string()))?;
    inbound.metrics.handshake.observe(started.elapsed().as_secs_f64());
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = leaf.map(Peer::of);
    Ok((stream, peer))
}

/// Looks at the first byte, which stays where it is.
async fn detect(stream: &TcpStream, patience: Duration) -> Result<(), Refused> {
    let mut first = [0];
    // A little before the whole handshake's deadline, so that silence has a name of its own.
    let peeked = timeout(patience * 9 / 10, stream.peek(&mut first)).await;
    match peeked {
        Err(_) => {
            Err(Refused::new(Refusal::FirstByteTimeout, "the client sent nothing".to_owned()))
        }
        Ok(Err(error)) => Err(Refused::new(Refusal::HandshakeAborted, error.to_string())),
        Ok(Ok(0)) => Err(Refused::new(
            Refusal::HandshakeAborted,
            "the client sent nothing and closed".to_owned(),
        )),
        Ok(Ok(_)) => match classify(first[0]) {
            Opening::Tls => Ok(()),
            Opening::Plaintext => {
                Err(Refused::new(Refusal::Plaintext, "the client does not speak TLS".to_owned()))
            }
        },
    }
}
