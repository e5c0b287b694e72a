//! Connections from callers that are not known: to the webhook (TLS), and to health and metrics
//! (plaintext). HTTP/1.1, each step with a deadline.
//!
//! Any pod can reach them, and no pod of the mesh starts while the webhook does not answer. So silence
//! is no way to keep a place: when all are taken, the source with the most connections loses its
//! oldest one, whether or not it made its handshake. An API server asks at once, and connects anew when
//! it must.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// The maximum size of a request's head, and of what is read ahead of a body.
const MAX_HEAD: usize = 16 * 1024;

/// How long and how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long a client may take for its handshake.
    pub(crate) handshake: Duration,
    /// How long until the head of a request, the next one too.
    pub(crate) request: Duration,
    /// How long a connection may last.
    pub(crate) lifetime: Duration,
    /// How long a request under way may take when its connection has to go.
    pub(crate) drain: Duration,
    /// How many connections may be open.
    pub(crate) connections: usize,
}

/// What connections are made of.
#[derive(Clone)]
pub(crate) enum Transport {
    Plain,
    Tls(TlsAcceptor),
}

/// The address that a request came from, as an extension of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source(pub(crate) IpAddr);

/// Serves every client until `stop` is cancelled, and then the requests under way.
pub(crate) async fn serve(
    listener: TcpListener,
    transport: Transport,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let shared = Arc::new(Shared { transport, router, limits });
    let mut running = JoinSet::new();
    let mut places = Places::new(limits.connections);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, source) = match accepted {
            Ok((stream, from)) => (stream, from.ip().to_canonical()),
            Err(error) => {
                // Out of descriptors, most likely: they come back as connections end.
                debug!(%error, "accepting failed");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        while running.try_join_next().is_some() {}
        places.make_room();
        let leave = stop.child_token();
        let connection = running.spawn(shared.clone().one(stream, source, leave.clone()));
        places.open.push(Open { source, connection, leave });
    }
    // The next client is refused at once, and asks another replica.
    drop(listener);
    while running.join_next().await.is_some() {}
}

/// A connection that has its place.
struct Open {
    source: IpAddr,
    connection: AbortHandle,
    leave: CancellationToken,
}

/// The connections that are open, the oldest first, and those that were told to go.
struct Places {
    most: usize,
    open: Vec<Open>,
    leaving: VecDeque<AbortHandle>,
}

impl Places {
    fn new(most: usize) -> Self {
        Self { most, open: Vec::new(), leaving: VecDeque::new() }
    }

    /// Has a connection end where all places are taken. Of those that go, a quarter as many may still
    /// finish a request.
    fn make_room(&mut self) {
        self.open.retain(|one| !one.connection.is_finished());
        self.leaving.retain(|connection| !connection.is_finished());
        if self.open.len() < self.most {
            return;
        }
        let Some(victim) = victim(self.open.iter().map(|one| one.source)) else { return };
        let Open { connection, leave, .. } = self.open.remove(victim);
        leave.cancel();
        self.leaving.push_back(connection);
        if self.leaving.len() > self.most / 4
            && let Some(slowest) = self.leaving.pop_front()
        {
            slowest.abort();
        }
    }
}

/// Which of the connections, the oldest first, makes room: the oldest of the source with the most.
fn victim(sources: impl Iterator<Item = IpAddr> + Clone) -> Option<usize> {
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    sources.clone().for_each(|source| *counts.entry(source).or_default() += 1);
    let most = counts.values().max().copied()?;
    sources.into_iter().position(|source| counts.get(&source) == Some(&most))
}

struct Shared {
    transport: Transport,
    router: Router,
    limits: Limits,
}

impl Shared {
    /// One connection, until it ends or is told to leave.
    async fn one(self: Arc<Self>, stream: TcpStream, source: IpAddr, leave: CancellationToken) {
        let acceptor = match &self.transport {
            Transport::Plain => return self.requests(stream, source, leave).await,
            Transport::Tls(acceptor) => acceptor,
        };
        let shaken = tokio::select! {
            shaken = timeout(self.limits.handshake, acceptor.accept(stream)) => shaken,
            () = leave.cancelled() => return debug!("left before its handshake was done"),
        };
        match shaken {
            Ok(Ok(stream)) => self.requests(stream, source, leave).await,
            Ok(Err(error)) => debug!(%error, "handshake failed"),
            Err(_) => debug!("handshake took too long"),
        }
    }

    async fn requests(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        source: IpAddr,
        leave: CancellationToken,
    ) {
        let service =
            TowerToHyperService::new(self.router.clone().layer(Extension(Source(source))));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.request)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = leave.cancelled() => None,
            () = sleep(self.limits.lifetime) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                timeout(self.limits.drain, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            debug!(%error, "connection ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_with_the_most_connections_loses_its_oldest_one() {
        let cases: [(&[u8], Option<usize>); 5] = [
            (&[], None),
            (&[1], Some(0)),
            (&[1, 2, 2], Some(1)),
            (&[1, 2], Some(0)),
            (&[3, 1, 2, 1, 1, 3], Some(1)),
        ];
        for (sources, expected) in cases {
            let sources = sources.iter().map(|last| IpAddr::from([10, 0, 0, *last]));
            assert_eq!(victim(sources.clone()), expected, "{:?}", sources.collect::<Vec<_>>());
        }
    }
}
