//! Health and metrics, plain HTTP: /livez, /readyz, /metrics.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use futures::stream;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::connections::{self, Limits, Source, Transport};
use crate::listen::bind;
use crate::metrics::Exposition;

/// The port is open to every pod unless a NetworkPolicy closes it. The kubelet opens a connection for
/// each probe; Prometheus is served within seconds, and connects anew.
const LIMITS: Limits = Limits {
    handshake: Duration::ZERO,
    request: Duration::from_secs(10),
    lifetime: Duration::from_secs(30),
    drain: Duration::from_secs(5),
    connections: 64,
};

/// How many callers may read metrics at once, one from each address: there are many pages of them.
const MAX_SCRAPES: usize = 2;

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
}

struct Shared {
    exposition: Exposition,
    readiness: Arc<Readiness>,
    scrapes: Arc<Scrapes>,
}

/// Serves until `stop` is cancelled.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    exposition: Exposition,
    readiness: Arc<Readiness>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let listener = bind(address).and_then(TcpListener::from_std);
    let listener = listener.map_err(|source| Error::Listen { address, source })?;
    let router = router(exposition, readiness);
    connections::serve(listener, Transport::Plain, router, LIMITS, stop).await;
    Ok(())
}

fn router(exposition: Exposition, readiness: Arc<Readiness>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(Shared { exposition, readiness, scrapes: Arc::default() }))
}

async fn readyz(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    match shared.readiness.missing() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")),
    }
}

/// What `Content-Type` says of the format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The callers that read metrics now.
#[derive(Debug, Default)]
struct Scrapes(Mutex<BTreeSet<IpAddr>>);

/// The right to read metrics, until this goes.
struct Scrape {
    scrapes: Arc<Scrapes>,
    source: IpAddr,
}

impl Scrapes {
    fn begin(self: &Arc<Self>, source: IpAddr) -> Option<Scrape> {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may_begin = reading.len() < MAX_SCRAPES && reading.insert(source);
        may_begin.then(|| Scrape { scrapes: self.clone(), source })
    }
}

impl Drop for Scrape {
    fn drop(&mut self) {
        self.scrapes.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.source);
    }
}

/// A page is written once the one before it is sent, so that the text is never whole in memory.
async fn metrics(
    State(shared): State<Arc<Shared>>,
    Extension(Source(source)): Extension<Source>,
) -> Response {
    let Some(scrape) = shared.scrapes.begin(source) else {
        let why = "metrics are being read: one caller from each address, and two in all\n";
        return (StatusCode::TOO_MANY_REQUESTS, why).into_response();
    };
    match shared.exposition.pages() {
        Ok(pages) => {
            let pages = stream::iter(pages.map(move |page| {
                let _until_all_is_sent = &scrape;
                Ok::<_, Infallible>(page)
            }));
            ([(header::CONTENT_TYPE, OPEN_METRICS)], Body::from_stream(pages)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests;
