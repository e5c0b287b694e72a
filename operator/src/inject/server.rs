//! The HTTPS server that the API server calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::post};
use futures::StreamExt;
use rustls::crypto::CryptoProvider;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::api_server;
use super::args::InjectArgs;
use super::budget::{Budget, Share};
use super::client_authority::{ClientAuthority, ClientAuthorityError};
use super::keep::Current;
use super::review;
use super::serving;
use super::threads::{self, Threads};
use crate::admin::Readiness;
use crate::connections::{self, Limits, Transport};
use crate::context::Context;
use crate::listen::bind;

/// The largest review that is read: an object of etcd's is 1.5 MiB at most.
pub(super) const LARGEST_REVIEW: usize = 1536 * 1024;

/// How many bytes of reviews may be in memory at once.
const BUDGET: usize = 16 * 1024 * 1024;

/// How long a client may take for the body of its request.
const DEADLINE: Duration = Duration::from_secs(10);

/// The deadline for the next head is longer than the 90 seconds after which an API server itself closes
/// what it does not use: no request meets a closing connection. 512 connections take 40 kB each.
const LIMITS: Limits = Limits {
    handshake: Duration::from_secs(10),
    request: Duration::from_secs(120),
    lifetime: Duration::from_secs(3600),
    drain: Duration::from_secs(2),
    connections: 512,
};

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
    /// The CA of clients cannot be used.
    #[error(transparent)]
    ClientAuthority(#[from] ClientAuthorityError),
    /// TLS cannot be set up.
    #[error("setting up TLS")]
    Tls(#[from] rustls::Error),
    /// The webhook's threads do not start.
    #[error("starting the webhook's threads")]
    Threads(#[from] threads::Error),
}

struct Shared {
    args: InjectArgs,
    budget: Arc<Budget>,
}

/// Serves the webhook on threads of its own until `stop` is cancelled: no work of the reconcilers or of
/// discovery holds up an answer.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    mut args: InjectArgs,
    context: Arc<Context>,
    readiness: Arc<Readiness>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let address = args.webhook_listen;
    let listener = bind(address).map_err(|source| Error::Listen { address, source })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let current = Arc::new(Current::default());
    let clients = clients(&args, &provider).await?;
    let tls = tls(provider.clone(), current.clone(), clients.clone())?;
    let own = context.clone();
    let following = async move {
        let serving = serving::follow(&own, &provider, &current, &readiness);
        tokio::join!(serving, follow_clients(clients));
    };
    let following = tokio::spawn(following);
    if args.api_server_addresses.is_empty() {
        args.api_server_addresses = api_server::addresses(&context.client).await;
    }
    let router = router(args, Budget::new(BUDGET));
    let serving = async move {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                connections::serve(listener, Transport::Tls(tls), router, LIMITS, stop).await;
                Ok(())
            }
            Err(source) => Err(Error::Listen { address, source }),
        }
    };
    let served = Threads::start()?.run(serving).await?;
    following.abort();
    served
}

/// Who verifies clients, where they need a certificate.
async fn clients(
    args: &InjectArgs,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<ClientAuthority>>, ClientAuthorityError> {
    let Some(file) = &args.webhook_client_ca else { return Ok(None) };
    let names = &args.webhook_client_names;
    ClientAuthority::read(file, names, provider.clone()).await.map(Some)
}

async fn follow_clients(clients: Option<Arc<ClientAuthority>>) {
    if let Some(clients) = clients {
        clients.follow().await;
    }
}

fn tls(
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    clients: Option<Arc<ClientAuthority>>,
) -> Result<TlsAcceptor, rustls::Error> {
    let builder = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let mut tls = builder.with_cert_resolver(current);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session that is resumed would skip the check of who the client is.
    tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

fn router(args: InjectArgs, budget: Arc<Budget>) -> Router {
    Router::new().route("/inject", post(review)).with_state(Arc::new(Shared { args, budget }))
}

async fn review(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let read = timeout(DEADLINE, body(request.into_body(), &shared.budget)).await;
    let body = match read {
        Ok(Ok(body)) => body,
        Ok(Err(refused)) => return refused.into_response(),
        Err(_) => return Refused::TooSlow.into_response(),
    };
    let review = match review::read(&body.bytes) {
        Ok(review) => review,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    drop(body);
    let Some(token) = token() else {
        let why = "the machine gives no random numbers";
        return (StatusCode::INTERNAL_SERVER_ERROR, why).into_response();
    };
    Json(review::answer(&review, &shared.args, &token)).into_response()
}

/// A body that was not read to its end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Refused {
    #[error("the review is larger than {LARGEST_REVIEW} bytes")]
    TooLarge,
    #[error("the review did not arrive within {DEADLINE:?}")]
    TooSlow,
    #[error("too many reviews at once")]
    Full,
    #[error("the review broke off")]
    BrokenOff,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::BrokenOff => StatusCode::BAD_REQUEST,
        };
        (status, self.to_string()).into_response()
    }
}

/// A body, and its share of the budget.
struct Counted {
    bytes: Vec<u8>,
    _share: Share,
}

/// Reads a body; each piece counts against the budget of all before it is kept.
async fn body(body: Body, budget: &Arc<Budget>) -> Result<Counted, Refused> {
    let largest = LARGEST_REVIEW as u64;
    if body.size_hint().lower() > largest {
        return Err(Refused::TooLarge);
    }
    let share = budget.begin();
    let mut bytes = Vec::new();
    let mut pieces = body.into_data_stream();
    loop {
        let piece = tokio::select! {
            piece = pieces.next() => piece,
            () = share.must_leave() => return Err(Refused::Full),
        };
        let piece = match piece {
            Some(Ok(piece)) => piece,
            Some(Err(_)) => return Err(Refused::BrokenOff),
            None => return Ok(Counted { bytes, _share: share }),
        };
        if bytes.len() + piece.len() > LARGEST_REVIEW {
            return Err(Refused::TooLarge);
        }
        if !share.take(piece.len()) {
            return Err(Refused::Full);
        }
        bytes.extend_from_slice(&piece);
    }
}

/// A secret that no other pod has.
fn token() -> Option<String> {
    let mut token = [0; 16];
    rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut token).ok()?;
    Some(token.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
