//! Health, metrics, and what is going on, plain HTTP.
//!
//! `/livez`, `/readyz` and `/metrics` are for whoever can reach the port. Who is connected, and how
//! much is logged, only for callers on loopback: `kubectl port-forward` and `kubectl exec`. Probes of
//! the pod's containers (`/probe`, `/lifecycle`) are for the kubelet, which knows their token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Extension, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use countersign_contract::probe::TOKEN_HEADER;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use rustls_pki_types::UnixTime;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, oneshot};
use tokio_util::sync::CancellationToken;

use crate::connections;
use crate::credentials::Watched;
use crate::edges::Edges;
use crate::listen::{Accepting, unmapped};
use crate::live::Table;
use crate::metrics::Metrics;
use crate::pending::{Pending, Place};
use crate::probe::Probes;
use crate::telemetry::{self, Level};
use crate::tls::Peer;
use crate::worker;

/// How many callers may be connected at once, and how many of them from one address. Whoever has been
/// there longest gives way, so that callers that say nothing keep no probe from being answered.
const CALLERS: usize = 64;
const CALLERS_OF_ONE: usize = 16;

/// How long each may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest request body: a log filter.
const LONGEST: usize = 4096;

/// What is told of.
pub(crate) struct Admin {
    pub(crate) registry: Registry,
    pub(crate) metrics: Metrics,
    pub(crate) serving: Watched,
    pub(crate) pending: Vec<Arc<Pending>>,
    pub(crate) tables: Vec<Arc<Table>>,
    pub(crate) level: Level,
    pub(crate) probes: Probes,
}

/// Gathering metrics locks the tables of all workers: it rests for so many times as long as it took.
const PAUSE: u32 = 4;

/// The metrics as they were gathered last.
#[derive(Default)]
struct Exposition {
    text: Bytes,
    /// When that began, and when they may be gathered again.
    times: Option<(Instant, Instant)>,
}

impl Exposition {
    /// Until when a caller waits; nothing, if what was gathered since it came will do.
    fn next(&self, came: Instant) -> Option<Instant> {
        match self.times {
            Some((began, _)) if began >= came => None,
            Some((_, next)) => Some(next),
            None => Some(came),
        }
    }

    fn gathered(&mut self, text: String, began: Instant, now: Instant) {
        self.text = text.into();
        self.times = Some((began, now + now.duration_since(began) * PAUSE));
    }
}

/// Serves in a thread of its own, so that no worker's load keeps a health check waiting. What is
/// returned resolves once it has ended.
///
/// # Errors
/// When the thread does not start.
pub(crate) fn start(
    listener: std::net::TcpListener,
    admin: Admin,
    stop: CancellationToken,
) -> std::io::Result<oneshot::Receiver<()>> {
    let (done, ended) = oneshot::channel();
    let runtime = worker::runtime_of_another()?;
    std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        telemetry::gather();
        let served = runtime.block_on(serve(listener, admin, stop));
        if let Err(error) = served {
            tracing::error!(%error, "the admin port is not served");
        }
        telemetry::flush();
        done.send(()).ok();
    })?;
    Ok(ended)
}

/// Serves until `stop` is cancelled.
async fn serve(
    listener: std::net::TcpListener,
    admin: Admin,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let private = Router::new()
        .route("/connections", get(list))
        .route("/edges", get(edges))
        .route("/log", get(level).put(set_level))
        .layer(middleware::from_fn(only_from_loopback));
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(exposition).layer(Extension(Arc::<Mutex<Exposition>>::default())))
        .route("/probe/{container}/{kind}", get(probe))
        .route("/lifecycle/{container}/{kind}", get(probe))
        .merge(private)
        .with_state(Arc::new(admin));
    let listener = TcpListener::from_std(listener)?;
    let callers = Arc::new(Pending::new(CALLERS, CALLERS_OF_ONE));
    let mut accepting = Accepting::new(&listener, &stop);
    while let Some((stream, client)) = accepting.next().await {
        let place = callers.begin(client.ip(), None);
        let router = router.clone().layer(Extension(ConnectInfo(client)));
        drop(tokio::spawn(answer(stream, router, place)));
    }
    Ok(())
}

async fn answer(stream: TcpStream, router: Router, place: Place) {
    let kubelet = Kubelet::default();
    let service = TowerToHyperService::new(router.layer(Extension(kubelet.clone())));
    let answered = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        answered = answered => if let Err(error) = answered {
            tracing::debug!(%error, "admin");
        },
        () = unless_trusted(place, kubelet) => {}
    }
}

/// Whether a caller proved to be the kubelet.
#[derive(Clone, Default)]
struct Kubelet(CancellationToken);

/// The kubelet gives way to nobody: its question may take as long as the application does, and
/// strangers would only have to come in numbers.
async fn unless_trusted(place: Place, kubelet: Kubelet) {
    tokio::select! {
        () = place.given_away() => {}
        () = kubelet.0.cancelled() => {
            drop(place);
            std::future::pending().await
        }
    }
}

/// Asks a container in the kubelet's place.
async fn probe(
    State(admin): State<Arc<Admin>>,
    Extension(kubelet): Extension<Kubelet>,
    headers: HeaderMap,
    uri: Uri,
) -> (StatusCode, String) {
    let token = headers.get(TOKEN_HEADER).map_or(&[][..], |token| token.as_bytes());
    if !admin.probes.admits(token) {
        return (StatusCode::FORBIDDEN, "only for the kubelet of this pod\n".to_owned());
    }
    kubelet.0.cancel();
    let Some(asking) = admin.probes.ask(uri.path(), agent(&headers)) else {
        return (StatusCode::NOT_FOUND, "this pod has no such probe\n".to_owned());
    };
    match asking.await {
        Ok(said) => (StatusCode::OK, said + "\n"),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
    }
}

/// The kubelet's own name, which applications know and leave out of their logs.
fn agent(headers: &HeaderMap) -> &str {
    let said = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let is_kubelet = |agent: &&str| agent.starts_with("kube-") && agent.len() <= 64;
    said.filter(is_kubelet).unwrap_or("kube-probe/countersign")
}

async fn only_from_loopback(
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if unmapped(client).ip().is_loopback() {
        return next.run(request).await;
    }
    let why = "only for callers on loopback: use kubectl port-forward or kubectl exec\n";
    (StatusCode::FORBIDDEN, why).into_response()
}

async fn readyz(State(admin): State<Arc<Admin>>) -> (StatusCode, String) {
    let state = admin.serving.borrow();
    match state.missing(UnixTime::now()) {
        // The set before is in use; what is wrong with the new one is said beside it.
        None => match &state.problem {
            Some(problem) => (StatusCode::OK, format!("ok, but not up to date: {problem}\n")),
            None => (StatusCode::OK, "ok\n".to_owned()),
        },
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")),
    }
}

async fn list(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let text = connections::json(&admin.tables, UnixTime::now());
    ([(header::CONTENT_TYPE, "application/json")], text)
}

async fn edges(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let mut all = Edges::default();
    admin.tables.iter().for_each(|table| all.add_all(&table.edges()));
    let current = admin.serving.borrow().current.clone();
    let leaf = current.as_ref().and_then(|current| current.credentials.key.cert.first());
    let own = leaf.map(Peer::of);
    let text = all.json(own.as_ref().and_then(Peer::spiffe_id));
    ([(header::CONTENT_TYPE, "application/json")], text)
}

async fn level(State(admin): State<Arc<Admin>>) -> String {
    admin.level.get() + "\n"
}

async fn set_level(
    State(admin): State<Arc<Admin>>,
    request: Request,
) -> Result<String, (StatusCode, String)> {
    let bad = |error: &dyn std::fmt::Display| (StatusCode::BAD_REQUEST, format!("{error}\n"));
    let read = tokio::time::timeout(PATIENCE, axum::body::to_bytes(request.into_body(), LONGEST));
    let body = read.await.map_err(|error| bad(&error))?.map_err(|error| bad(&error))?;
    let filter = std::str::from_utf8(&body).map_err(|error| bad(&error))?.trim().to_owned();
    admin.level.set(&filter).map_err(|error| bad(&error))?;
    tracing::info!(filter, "log level changed");
    Ok(admin.level.get() + "\n")
}

async fn exposition(
    State(admin): State<Arc<Admin>>,
    Extension(exposition): Extension<Arc<Mutex<Exposition>>>,
) -> Response {
    const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let came = Instant::now();
    let mut exposition = exposition.lock().await;
    if let Some(next) = exposition.next(came) {
        tokio::time::sleep_until(next.into()).await;
        let began = Instant::now();
        match gather(&admin) {
            Ok(text) => exposition.gathered(text, began, Instant::now()),
            Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
    ([(header::CONTENT_TYPE, KIND)], exposition.text.clone()).into_response()
}

fn gather(admin: &Admin) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let pending: usize = admin.pending.iter().map(|pending| pending.len()).sum();
    admin.metrics.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
    admin.metrics.memory.set(resident_bytes());
    prometheus_client::encoding::text::encode(&mut text, &admin.registry)?;
    Ok(text)
}

/// The memory that the process holds, in bytes, as Linux tells it (proc(5), VmRSS). The file is made
/// by the kernel when it is read: nothing waits for a disk.
fn resident_bytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kilobytes: i64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    kilobytes * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_gathered_a_fifth_of_the_time_at_most() {
        let mut exposition = Exposition::default();
        let began = Instant::now();
        let after = |millis| began + Duration::from_millis(millis);
        assert_eq!(exposition.next(began), Some(began));
        exposition.gathered("once".to_owned(), began, after(10));
        assert_eq!(exposition.next(after(1)), Some(after(50)), "later callers wait");
        assert_eq!(exposition.next(began), None, "callers that waited share what is gathered");
        assert_eq!(exposition.text, "once");
    }
}
