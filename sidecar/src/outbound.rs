//! One outbound connection: the mirror of `inbound`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_contract::{ExpectedPeer, Refusal};
use rustls_pki_types::{ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::args::Target;
use crate::connection::{Connection, Ends, Refused, reset};
use crate::credentials::Watched;
use crate::dial::dial_target;
use crate::listen::Accepted;
use crate::metrics::{Direction, Metrics};
use crate::tls;

/// Where an upstream is, and who must answer.
#[derive(Debug)]
pub struct Outbound {
    /// Where it is.
    pub to: Target,
    /// Who must answer.
    pub peer: ExpectedPeer,
    /// Our own credentials.
    pub credentials: Watched,
    /// How many handshakes may be under way at once.
    pub handshakes: Arc<Semaphore>,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How long resolving and connecting may take together.
    pub dial_timeout: Duration,
    /// What is counted.
    pub metrics: Metrics,
}

/// Serves one connection. Nothing that the application sends goes on before the server has proved
/// who it is.
pub(crate) async fn serve(outbound: &Outbound, accepted: Accepted) {
    let Accepted { mut stream, client, permit } = accepted;
    let connection = Connection::open(&outbound.metrics, Direction::outbound, client);
    match call(outbound).await {
        Ok(mut upstream) => {
            let to = format!("{}:{}", outbound.to.host, outbound.to.port);
            let ends = Ends { peer: &outbound.peer, to: &to };
            if connection.copy(&mut stream, &mut upstream, &ends).await.is_err() {
                reset(&stream);
            }
        }
        Err(refused) => {
            connection.refuse(&refused);
            reset(&stream);
        }
    }
    drop(permit);
}

async fn call(outbound: &Outbound) -> Result<TlsStream<TcpStream>, Refused> {
    let state = outbound.credentials.borrow().clone();
    let now = UnixTime::now();
    let Some(credentials) = state.usable(now) else {
        let why = state.missing(now).unwrap_or_default();
        return Err(Refused::new(Refusal::NoCredentials, why));
    };
    let Ok(_pending) = outbound.handshakes.try_acquire() else {
        return Err(Refused::new(Refusal::Overloaded, "too many handshakes at once".to_owned()));
    };
    let (key, roots) = (credentials.key.clone(), credentials.roots.clone());
    let config = tls::client_configuration(key, roots, outbound.peer.clone())
        .map_err(|error| Refused::new(Refusal::NoCredentials, error.to_string()))?;
    let name = ServerName::try_from(outbound.to.host.clone())
        .map_err(|error| Refused::new(Refusal::ResolveFailed, error.to_string()))?;
    let stream = dial_target(&outbound.to, outbound.dial_timeout).await?;
    let started = Instant::now();
    let handshake = TlsConnector::from(config).connect(name, stream);
    let stream = timeout(outbound.handshake_timeout, handshake)
        .await
        .map_err(|_| Refused::new(Refusal::HandshakeTimeout, outbound.to.host.clone()))?
        .map_err(|error| {
            Refused::new(tls::of_error(&error), format!("{}: {error}", outbound.peer))
        })?;
    outbound.metrics.handshake.observe(started.elapsed().as_secs_f64());
    Ok(stream)
}
