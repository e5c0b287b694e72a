//! A call to a server that must prove who it is: what `outbound` and `transparent` share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign_contract::{ExpectedPeer, Refusal};
use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls_pki_types::{ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connection::Refused;
use crate::connection_limits::ConnectionLimits;
use crate::credentials::{Credentials, Watched};
use crate::inbound::of_handshake;
use crate::metrics::Metrics;
use crate::pending::Pending;
use crate::record::{Negotiated, Session};
use crate::tls::handshake::shake;
use crate::tls::{self, Peer};
use crate::traces::Spans;

/// So many identities have a configuration that is kept; of more, all are made again.
const CONFIGURATIONS: usize = 1024;

/// What every call is made with.
#[derive(Debug)]
pub(crate) struct Calling {
    /// Our own credentials, and the policy.
    pub(crate) serving: Watched,
    /// Handshakes that are under way.
    pub(crate) pending: Arc<Pending>,
    /// How long a handshake may take.
    pub(crate) handshake_timeout: Duration,
    /// How long resolving and connecting may take together.
    pub(crate) dial_timeout: Duration,
    /// How long a server may leave what it is sent unacknowledged, as the kernel sees it.
    pub(crate) kernel_patience: Option<Duration>,
    /// How many connections may be open.
    pub(crate) limits: Arc<ConnectionLimits>,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// Where connections are told of, if anywhere.
    pub(crate) spans: Option<Spans>,
    /// What is offered inside TLS, best first.
    pub(crate) alpn: Vec<String>,
    /// The configurations that were made for the credentials of the moment.
    pub(crate) configurations: Configurations,
}

/// One for each who may answer.
#[derive(Debug, Default)]
pub(crate) struct Configurations(Mutex<Made>);

#[derive(Debug, Default)]
struct Made {
    of: Option<Arc<Credentials>>,
    all: Vec<(ExpectedPeer, Arc<ClientConfig>)>,
}

/// A server that proved who it is.
pub(crate) struct Answered {
    pub(crate) session: Session,
    /// What it sent behind its handshake.
    pub(crate) early: Vec<u8>,
    pub(crate) peer: Arc<Peer>,
}

impl Calling {
    /// Makes the handshake with the server that is expected, and nobody else, in the time that is left.
    pub(crate) async fn shake(
        &self,
        credentials: &Arc<Credentials>,
        expected: &ExpectedPeer,
        name: ServerName<'static>,
        stream: &mut TcpStream,
        patience: Duration,
    ) -> Result<Answered, Refused> {
        let tls = |error: rustls::Error| of_handshake(&error.into());
        let config = self.configurations.of(credentials, expected, &self.alpn).map_err(tls)?;
        let started = Instant::now();
        let mut side = Box::new(UnbufferedClientConnection::new(config, name).map_err(tls)?);
        let early = self.within(expected, stream, &mut side, patience).await?;
        self.metrics.handshake.observe(started.elapsed().as_secs_f64());
        let chain = side.peer_certificates().unwrap_or_default();
        let peer = credentials.trust.server(chain, UnixTime::now()).map_err(tls)?;
        let (secrets, kernel) = side.dangerous_into_kernel_connection().map_err(tls)?;
        let session = Session::new(secrets, Negotiated::Client(kernel))
            .map_err(|error| Refused::new(Refusal::TlsIncompatible, error.to_string()))?;
        Ok(Answered { session, early, peer })
    }

    /// A handshake that ends: well, badly, too late, or because others came for whom there was no
    /// room.
    async fn within(
        &self,
        expected: &ExpectedPeer,
        stream: &mut TcpStream,
        side: &mut UnbufferedClientConnection,
        patience: Duration,
    ) -> Result<Vec<u8>, Refused> {
        let place = self.pending.begin([0, 0, 0, 0].into(), None);
        let whom = || expected.to_string();
        let made = timeout(patience, shake(stream, side, Vec::new()));
        tokio::select! {
            biased;
            made = made => match made {
                Ok(Ok(early)) => Ok(early),
                Ok(Err(error)) => {
                    let detail = format!("{expected}: {error}");
                    Err(Refused::new(tls::of_error(&error), detail))
                }
                Err(_) => Err(Refused::new(Refusal::HandshakeTimeout, whom())),
            },
            () = place.given_away() => Err(Refused::new(Refusal::Overloaded, whom())),
        }
    }
}

impl Configurations {
    fn of(
        &self,
        credentials: &Arc<Credentials>,
        expected: &ExpectedPeer,
        alpn: &[String],
    ) -> Result<Arc<ClientConfig>, rustls::Error> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !made.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, credentials)) {
            *made = Made { of: Some(credentials.clone()), all: Vec::new() };
        }
        if let Some((_, config)) = made.all.iter().find(|(peer, _)| peer == expected) {
            return Ok(config.clone());
        }
        let (key, trust) = (credentials.key.clone(), credentials.trust.clone());
        let alpn = alpn.iter().map(|name| name.clone().into_bytes()).collect();
        let config = tls::client_configuration(key, trust, expected.clone(), alpn)?;
        if made.all.len() >= CONFIGURATIONS {
            made.all.clear();
        }
        made.all.push((expected.clone(), config.clone()));
        Ok(config)
    }
}

/// The name of a server that is known by its address: none is sent (RFC 6066, section 3).
pub(crate) fn unnamed(address: SocketAddr) -> ServerName<'static> {
    ServerName::from(address.ip())
}
