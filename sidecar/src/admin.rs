//! Health and metrics, plain HTTP: /livez, /readyz, /metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Router, routing::get};
use prometheus_client::registry::Registry;
use rustls_pki_types::UnixTime;
use tokio::net::TcpListener;

use crate::credentials::Watched;
use crate::metrics::Metrics;

struct Shared {
    registry: Registry,
    metrics: Metrics,
    credentials: Watched,
}

/// Serves until `stop` is resolved.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: std::net::TcpListener,
    registry: Registry,
    metrics: Metrics,
    credentials: Watched,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(exposition))
        .with_state(Arc::new(Shared { registry, metrics, credentials }));
    let listener = TcpListener::from_std(listener)?;
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

async fn readyz(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    match shared.credentials.borrow().missing(UnixTime::now()) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")),
    }
}

async fn exposition(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let mut text = String::new();
    shared.metrics.memory.set(resident_bytes().await);
    let (status, kind) =
        match prometheus_client::encoding::text::encode(&mut text, &shared.registry) {
            Ok(()) => {
                (StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8")
            }
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain"),
        };
    (status, [(header::CONTENT_TYPE, kind)], text)
}

/// The memory that the process holds, in bytes, as Linux tells it (proc(5), VmRSS).
async fn resident_bytes() -> i64 {
    let status = tokio::fs::read_to_string("/proc/self/status").await.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kilobytes: i64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    kilobytes * 1024
}
