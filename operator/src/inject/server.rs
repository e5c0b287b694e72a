//! The HTTPS server that the API server calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::post};
use k8s_openapi::api::core::v1::Pod;
use kube::core::admission::AdmissionReview;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::args::InjectArgs;
use super::connections::{self, Limits};
use super::keep::Current;
use super::review::answer;
use super::serving;
use crate::admin::Readiness;
use crate::context::Context;
use crate::event::Events;

/// The largest review that is read: an object of etcd's, its old version, and change.
const LARGEST_REVIEW: usize = 4 * 1024 * 1024;

/// How long a client may take for the body of its request.
const DEADLINE: Duration = Duration::from_secs(10);

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
}

struct Shared {
    args: InjectArgs,
    events: Events,
}

/// Serves the webhook until `stop` is cancelled.
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
    let tls = tls(provider.clone(), current.clone())?;
    let own = context.clone();
    let following = async move {
        serving::follow(&own, &provider, &current, &readiness).await;
    };
    let following = tokio::spawn(following);
    let router = router(args, context.events.clone());
    connections::serve(listener, tls, router, Limits::default(), stop).await;
    following.abort();
    Ok(())
}

fn tls(
    provider: Arc<rustls::crypto::CryptoProvider>,
    current: Arc<Current>,
) -> Result<TlsAcceptor, rustls::Error> {
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(current);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

fn router(args: InjectArgs, events: Events) -> Router {
    Router::new().route("/inject", post(review)).with_state(Arc::new(Shared { args, events }))
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
    let Some(token) = token() else {
        let why = "the machine gives no random numbers";
        return (StatusCode::INTERNAL_SERVER_ERROR, why).into_response();
    };
    let answer = answer(review, &shared.args, &token);
    if let Some(notice) = answer.notice {
        let events = shared.events.clone();
        // The API server need not wait for it.
        tokio::spawn(
            async move { events.warning_about(&notice.about, notice.reason, notice.note) },
        );
    }
    Json(answer.review).into_response()
}

/// A secret that no other pod has.
fn token() -> Option<String> {
    let mut token = [0; 16];
    rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut token).ok()?;
    Some(token.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
