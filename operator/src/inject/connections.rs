//! Connections to the webhook: TLS, then HTTP/1.1, each step with a deadline.
//!
//! Anyone in the cluster can reach the webhook, and no pod of the mesh starts while it does not
//! answer. So silence is no way to keep a place: when all are taken, the oldest connection makes
//! room for a newcomer, whether or not it made its handshake. An API server asks at once, and
//! connects anew when it must.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How long and how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long a client may take for its handshake.
    pub(super) handshake: Duration,
    /// How long until the head of a request, the next one too. More than the 90 seconds after which
    /// an API server itself closes what it does not use: no request meets a closing connection.
    pub(super) request: Duration,
    /// How long a request under way may take when its connection has to go.
    pub(super) drain: Duration,
    /// How many connections may be open. Well below the 1024 descriptors that a container may have
    /// where nobody asked for more, and 40 kB each.
    pub(super) connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            request: Duration::from_secs(120),
            drain: Duration::from_secs(2),
            connections: 512,
        }
    }
}

/// Serves whoever connects until `stop` is cancelled, and then what is under way.
pub(super) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let shared = Arc::new(Shared { acceptor, router, limits });
    let mut running = JoinSet::new();
    let mut open: VecDeque<(AbortHandle, CancellationToken)> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: they come back as connections end.
                debug!(%error, "accepting failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        while running.try_join_next().is_some() {}
        open.retain(|(connection, _)| !connection.is_finished());
        if open.len() >= limits.connections
            && let Some((_, oldest)) = open.pop_front()
        {
            oldest.cancel();
        }
        let leave = stop.child_token();
        let connection = running.spawn(shared.clone().one(stream, leave.clone()));
        open.push_back((connection, leave));
    }
    // The next client is refused at once, and asks another replica.
    drop(listener);
    while running.join_next().await.is_some() {}
}

struct Shared {
    acceptor: TlsAcceptor,
    router: Router,
    limits: Limits,
}

impl Shared {
    /// One connection, until it ends or is told to leave.
    async fn one(self: Arc<Self>, stream: TcpStream, leave: CancellationToken) {
        let shaken = tokio::select! {
            shaken = timeout(self.limits.handshake, self.acceptor.accept(stream)) => shaken,
            () = leave.cancelled() => return debug!("left before its handshake was done"),
        };
        match shaken {
            Ok(Ok(stream)) => self.requests(stream, leave).await,
            Ok(Err(error)) => debug!(%error, "handshake failed"),
            Err(_) => debug!("handshake took too long"),
        }
    }

    async fn requests(&self, stream: TlsStream<TcpStream>, leave: CancellationToken) {
        let service = TowerToHyperService::new(self.router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.request)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = leave.cancelled() => {
                connection.as_mut().graceful_shutdown();
                timeout(self.limits.drain, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            debug!(%error, "connection ended");
        }
    }
}
