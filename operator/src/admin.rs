//! Health and metrics, plain HTTP: /livez, /readyz, /metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Router, routing::get};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

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
    registry: Registry,
    readiness: Arc<Readiness>,
    memory: Gauge,
}

/// The memory that the process holds, in bytes, as Linux tells it (proc(5), VmRSS).
async fn resident_bytes() -> i64 {
    let status = tokio::fs::read_to_string("/proc/self/status").await.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kilobytes: i64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    kilobytes * 1024
}

/// Serves until `stop` is resolved.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    mut registry: Registry,
    readiness: Arc<Readiness>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let listener =
        TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    let memory = Gauge::default();
    registry.register("process_resident_memory_bytes", "Memory that is held", memory.clone());
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(Shared { registry, readiness, memory }));
    axum::serve(listener, router).with_graceful_shutdown(stop).await.map_err(Error::Serve)
}

async fn readyz(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    match shared.readiness.missing() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let mut text = String::new();
    shared.memory.set(resident_bytes().await);
    match prometheus_client::encoding::text::encode(&mut text, &shared.registry) {
        Ok(()) => (
            StatusCode::OK,
            [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")],
            text,
        ),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain")],
            format!("{error}\n"),
        ),
    }
}
