//! Health and metrics, plain HTTP: /livez, /readyz, /metrics.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use futures::stream;
use tokio::net::TcpListener;

use crate::metrics::Exposition;

/// What must be true before the operator calls itself ready.
#[derive(Debug, Default)]
pub struct Readiness {
    started: AtomicBool,
    webhook: AtomicBool,
}

impl Readiness {
    /// The API server was reached, and the controllers are set up.
    pub fn started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// The webhook has its certificate, and the API server knows its authority.
    pub fn webhook_is_ready(&self) {
        self.webhook.store(true, Ordering::Release);
    }

    /// What is still missing.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        if !self.started.load(Ordering::Acquire) {
            return Some("the API server was not reached yet");
        }
        let webhook = self.webhook.load(Ordering::Acquire);
        (!webhook).then_some("the webhook has no serving certificate yet")
    }
}

/// Serving health and metrics ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("listening on --admin-listen {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The server ended.
    #[error("serving health and metrics")]
    Serve(#[source] std::io::Error),
}

struct Shared {
    exposition: Exposition,
    readiness: Arc<Readiness>,
}

/// Serves until `stop` is resolved.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    exposition: Exposition,
    readiness: Arc<Readiness>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let listener =
        TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(Shared { exposition, readiness }));
    axum::serve(listener, router).with_graceful_shutdown(stop).await.map_err(Error::Serve)
}

async fn readyz(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    match shared.readiness.missing() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")),
    }
}

/// What `Content-Type` says of the format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A page is written once the one before it is sent, so that the text is never whole in memory.
async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    match shared.exposition.pages() {
        Ok(pages) => {
            let pages = stream::iter(pages.map(Ok::<_, Infallible>));
            ([(header::CONTENT_TYPE, OPEN_METRICS)], Body::from_stream(pages)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
