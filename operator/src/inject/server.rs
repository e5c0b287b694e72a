//! The HTTPS server that the API server calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use axum::{Json, Router, routing::post};
use k8s_openapi::api::core::v1::Pod;
use kube::core::admission::AdmissionReview;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::args::InjectArgs;
use super::keep::{Current, Keeper};
use super::review::answer;
use crate::admin::Readiness;
use crate::context::Context;

/// The largest review that is read: an object of etcd's, its old version, and change.
const LARGEST_REVIEW: usize = 4 * 1024 * 1024;

/// How long a client may take for its handshake, and again for its request.
const DEADLINE: Duration = Duration::from_secs(10);

/// How many handshakes may be under way at once.
const HANDSHAKES: usize = 256;

/// Serving the webhook ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("listening on --webhook-listen {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("setting up TLS")]
    Tls(#[from] rustls::Error),
    /// The server ended.
    #[error("serving the webhook")]
    Serve(#[source] std::io::Error),
}

struct Shared {
    args: InjectArgs,
    context: Arc<Context>,
}

/// Serves the webhook, and keeps its certificate, until `stop` is cancelled.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    args: InjectArgs,
    context: Arc<Context>,
    readiness: Arc<Readiness>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let address = args.webhook_listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let current = Arc::new(Current::default());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(current.clone());
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let keeper = Keeper {
        context: context.clone(),
        service: args.webhook_service.clone(),
        configuration: args.webhook_configuration.clone(),
        provider,
        current,
        readiness,
    };
    let kept = tokio::spawn(keeper.run(stop.clone()));
    let router =
        Router::new().route("/inject", post(review)).with_state(Arc::new(Shared { args, context }));
    let listener = Handshaken::over(listener, TlsAcceptor::from(Arc::new(tls)), stop.clone());
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    kept.abort();
    served.map_err(Error::Serve)
}

async fn review(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let read = tokio::time::timeout(DEADLINE, to_bytes(request.into_body(), LARGEST_REVIEW)).await;
    let Ok(Ok(body)) = read else {
        return (StatusCode::BAD_REQUEST, "the review is too large, or came too slowly")
            .into_response();
    };
    let review: AdmissionReview<Pod> = match serde_json::from_slice(&body) {
        Ok(review) => review,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let answer = answer(review, &shared.args);
    if let Some(notice) = answer.notice {
        let events = shared.context.events.clone();
        // The API server need not wait for it.
        tokio::spawn(async move {
            events.warning_about(&notice.about, notice.reason, notice.note).await
        });
    }
    Json(answer.review).into_response()
}

/// Connections whose handshake is done; a slow client holds up nobody else's.
struct Handshaken {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    local: std::io::Result<SocketAddr>,
}

impl Handshaken {
    fn over(listener: TcpListener, acceptor: TlsAcceptor, stop: CancellationToken) -> Self {
        let local = listener.local_addr();
        let (sender, ready) = mpsc::channel(64);
        let permits = Arc::new(Semaphore::new(HANDSHAKES));
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stop.cancelled() => return,
                };
                let Ok(permit) = permits.clone().acquire_owned().await else { return };
                let Ok((stream, client)) = accepted else {
                    // Out of descriptors, most likely: they come back as connections end.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    let handshake = tokio::time::timeout(DEADLINE, acceptor.accept(stream)).await;
                    drop(permit);
                    match handshake {
                        Ok(Ok(stream)) => drop(sender.send((stream, client)).await),
                        Ok(Err(error)) => debug!(%client, %error, "handshake failed"),
                        Err(_) => debug!(%client, "handshake took too long"),
                    }
                });
            }
        });
        Self { ready, local }
    }
}

impl Listener for Handshaken {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The accepting task ended: the server is stopping.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        match &self.local {
            Ok(address) => Ok(*address),
            Err(error) => Err(std::io::Error::new(error.kind(), error.to_string())),
        }
    }
}
