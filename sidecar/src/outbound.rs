//! One outbound connection: the mirror of `inbound`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign_contract::{ExpectedPeer, Refusal};
use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls_pki_types::{ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::args::Target;
use crate::connection::{Connection, Refused};
use crate::credentials::{Credentials, Watched};
use crate::dial::dial_target;
use crate::inbound::{of_handshake, serving};
use crate::listen::Accepted;
use crate::live::{About, Live, Table, To};
use crate::metrics::{Direction, Metrics};
use crate::pending::Pending;
use crate::record::{Negotiated, Session};
use crate::relay::{Relay, reset};
use crate::sweep::catch_up;
use crate::tls;
use crate::tls::handshake::shake;
use crate::traces::Spans;

/// Where an upstream is, and who must answer.
#[derive(Debug)]
pub(crate) struct Outbound {
    /// Where it is.
    pub(crate) to: Target,
    /// The same, for people.
    pub(crate) name: Arc<str>,
    /// Who must answer.
    pub(crate) peer: ExpectedPeer,
    /// What is spoken inside, best first.
    pub(crate) alpn: Vec<String>,
    /// Our own credentials.
    pub(crate) serving: Watched,
    /// Handshakes that are under way.
    pub(crate) pending: Arc<Pending>,
    /// How long a handshake may take.
    pub(crate) handshake_timeout: Duration,
    /// How long resolving and connecting may take together.
    pub(crate) dial_timeout: Duration,
    /// How long the upstream may leave what it is sent unacknowledged, as the kernel sees it.
    pub(crate) kernel_patience: Duration,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// Where connections are told of, if anywhere.
    pub(crate) spans: Option<Spans>,
    /// The configuration that was made for the credentials of the moment.
    pub(crate) config: Mutex<Option<(Arc<Credentials>, Arc<ClientConfig>)>>,
}

/// Serves one connection. Nothing that the application sends goes on before the server has proved
/// who it is.
pub(crate) async fn serve(outbound: &Outbound, table: &Arc<Table>, accepted: Accepted) {
    let Accepted { stream, client, permit } = accepted;
    let connection =
        Connection::open(&outbound.metrics, outbound.spans.as_ref(), Direction::outbound, client);
    match Box::pin(call(outbound, table, stream, client)).await {
        Ok(mut relay) => {
            let ended = relay.run().await;
            connection.tell(&relay, &ended);
        }
        Err(refused) => connection.refuse(&refused),
    }
    drop(permit);
}

async fn call(
    outbound: &Outbound,
    table: &Arc<Table>,
    app: TcpStream,
    from: SocketAddr,
) -> Result<Relay, Refused> {
    match answered(outbound, table, from).await {
        Ok((stream, session, early, live)) => {
            Ok(Relay::new(app, stream, Some(Box::new(session)), early, &[], live))
        }
        Err(refused) => {
            // The application must not take a refusal for an answer that is empty.
            reset(&app);
            Err(refused)
        }
    }
}

/// The server that was expected, and nobody else.
async fn answered(
    outbound: &Outbound,
    table: &Arc<Table>,
    from: SocketAddr,
) -> Result<(TcpStream, Session, Vec<u8>, Live), Refused> {
    let now = UnixTime::now();
    let serving = serving(&outbound.serving, now)?;
    let credentials = &serving.credentials;
    let tls = |error: rustls::Error| of_handshake(&error.into());
    let config = outbound.config(credentials).map_err(tls)?;
    let name = ServerName::try_from(outbound.to.host.clone())
        .map_err(|error| Refused::new(Refusal::ResolveFailed, error.to_string()))?;
    let patience = Some(outbound.kernel_patience);
    let mut stream = dial_target(&outbound.to, outbound.dial_timeout, patience).await?;
    let started = Instant::now();
    let mut side = Box::new(UnbufferedClientConnection::new(config, name).map_err(tls)?);
    let early = within(outbound, &mut stream, &mut side).await?;
    outbound.metrics.handshake.observe(started.elapsed().as_secs_f64());
    let chain = side.peer_certificates().unwrap_or_default();
    let peer = Some(credentials.trust.server(chain, UnixTime::now()).map_err(tls)?);
    let (secrets, kernel) = side.dangerous_into_kernel_connection().map_err(tls)?;
    let session = Session::new(secrets, Negotiated::Client(kernel))
        .map_err(|error| Refused::new(Refusal::TlsIncompatible, error.to_string()))?;
    let (to, since) = (To::Name(outbound.name.clone()), now.as_secs());
    let live = table.open(About { direction: Direction::outbound, client: from, to, peer, since });
    catch_up(live.entry(), &serving, &outbound.serving);
    Ok((stream, session, early, live))
}

/// A handshake that ends: well, badly, too late, or because others came for whom there was no room.
async fn within(
    outbound: &Outbound,
    stream: &mut TcpStream,
    side: &mut UnbufferedClientConnection,
) -> Result<Vec<u8>, Refused> {
    let place = outbound.pending.begin([0, 0, 0, 0].into());
    let host = || outbound.to.host.clone();
    let made = timeout(outbound.handshake_timeout, shake(stream, side, Vec::new()));
    tokio::select! {
        biased;
        made = made => match made {
            Ok(Ok(early)) => Ok(early),
            Ok(Err(error)) => {
                let detail = format!("{}: {error}", outbound.peer);
                Err(Refused::new(tls::of_error(&error), detail))
            }
            Err(_) => Err(Refused::new(Refusal::HandshakeTimeout, host())),
        },
        () = place.given_away() => Err(Refused::new(Refusal::Overloaded, host())),
    }
}

impl Outbound {
    /// The configuration for these credentials, made once for each.
    fn config(&self, credentials: &Arc<Credentials>) -> Result<Arc<ClientConfig>, rustls::Error> {
        let mut made = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, config)) = &*made
            && Arc::ptr_eq(of, credentials)
        {
            return Ok(config.clone());
        }
        let (key, trust) = (credentials.key.clone(), credentials.trust.clone());
        let alpn = self.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        let config = tls::client_configuration(key, trust, self.peer.clone(), alpn)?;
        *made = Some((credentials.clone(), config.clone()));
        Ok(config)
    }
}
