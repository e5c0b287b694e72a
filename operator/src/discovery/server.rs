//! Connections to discovery: mutual TLS, then HTTP/2, each step with a deadline.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use countersign_contract::{SpiffeId, memory_limit};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::hub::Hub;
use super::methods::{Asked, answer};
use super::own::Own;
use super::pending::Pending;
use super::places::{Place, Places, Shares, Who, limits};
use super::relay::{self, Leader};
use super::{own, plain, ranges, strangers};
use crate::context::Context;
use crate::metrics::ReasonLabels;
use crate::pki::CertificateFacts;

/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A connection ends after this long at most, and later by up to a fourth, so that not all come back
/// at once; whoever comes back is looked at anew, by the roots of then.
const LASTS: Duration = Duration::from_secs(3600);

/// So many bytes of a stream may be under way.
const WINDOW: u32 = 64 * 1024;

/// How often a client that says nothing is asked whether it is there.
const PING: Duration = Duration::from_secs(20);

/// Discovery cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("listening on --discovery-listen {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Listens.
///
/// # Errors
/// When that is not possible.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let listener = crate::listen::bind(address).and_then(TcpListener::from_std);
    listener.map_err(|source| Error::Listen { address, source })
}

/// Serves discovery, and tells the leader what sidecars tell, until `stop` is cancelled.
pub async fn serve(
    listener: TcpListener,
    context: Arc<Context>,
    hub: Arc<Hub>,
    leader: Leader,
    stop: CancellationToken,
) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let (publish, current) = watch::channel(None);
    let telling = relay::tell(context.clone(), leader, current.clone());
    let accepting = accept(&listener, context.clone(), hub.clone(), current, stop.clone());
    tokio::select! {
        ((), ()) = futures::future::join(accepting, telling) => {}
        () = own::follow(&context, provider, publish) => {}
        () = hub.run() => {}
        () = plain::ask(hub.clone(), context.client.clone()) => {}
        () = strangers::ask(hub.clone(), context.client.clone()) => {}
        () = ranges::follow::<ServiceCIDR>(context.client.clone(), &hub.ranges, |it| hub.reranged(it)) => {}
        () = ranges::follow::<Node>(context.client.clone(), &hub.pod_ranges, |it| hub.reranged(it)) => {}
        () = stop.cancelled() => {}
    }
}

async fn accept(
    listener: &TcpListener,
    context: Arc<Context>,
    hub: Arc<Hub>,
    mut current: watch::Receiver<Option<Arc<Own>>>,
    stop: CancellationToken,
) {
    let (places, pending) =
        (Places::new(limits(memory_limit::find())), Arc::new(Pending::default()));
    let shares = Arc::<Shares>::default();
    let live = TaskTracker::new();
    // Nobody can be answered before there is a certificate; they wait in the kernel's queue.
    let _ = current.wait_for(Option::is_some).await;
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: they come back as connections end.
                debug!(%error, "accepting failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(config) = current.borrow().as_ref().map(|own| own.server.clone()) else {
            continue;
        };
        let (context, hub, stop) = (context.clone(), hub.clone(), stop.clone());
        let (turn, places, shares) = (pending.begin(), places.clone(), shares.clone());
        live.spawn(async move {
            let shaken = tokio::select! {
                shaken = timeout(HANDSHAKE, shake(stream, config)) => shaken,
                () = turn.given_away() => return debug!("discovery: too many handshakes at once"),
            };
            drop(turn);
            let (stream, facts) = match shaken {
                Ok(Ok(shaken)) => shaken,
                Ok(Err(error)) => return debug!(%error, "discovery: handshake failed"),
                Err(_) => return debug!("discovery: handshake took too long"),
            };
            let from = from.ip().to_canonical();
            let Some(caller) = facts.as_ref().and_then(|facts| caller(facts, from, &context))
            else {
                return warn!(
                    "discovery: a client whose certificate is no workload's of this trust domain"
                );
            };
            if let Some(_place) = let_in(&caller, &hub, &context, &places) {
                let lasts = caller.lasts;
                requests(stream, Asked { caller, context, hub, shares, stop }, lasts).await;
            }
        });
    }
}

/// Who asks, by its certificate, from which address, and until when that is valid.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) id: SpiffeId,
    pub(super) from: IpAddr,
    lasts: Duration,
}

async fn shake(
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> std::io::Result<(TlsStream<TcpStream>, Option<CertificateFacts>)> {
    stream.set_nodelay(true)?;
    let stream = TlsAcceptor::from(config).accept(stream).await?;
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
    let facts = leaf.and_then(|leaf| CertificateFacts::from_der(leaf.into_owned()).ok());
    Ok((stream, facts))
}

/// The one SPIFFE ID of a certificate, of the form that workloads have (X.509-SVID, section 2).
fn caller(facts: &CertificateFacts, from: IpAddr, context: &Context) -> Option<Caller> {
    let [uri] = facts.says.uris.as_slice() else { return None };
    let id: SpiffeId = uri.parse().ok()?;
    let left = facts.validity.not_after.duration_since(context.clock.now());
    let left = Duration::try_from(left).unwrap_or_default();
    // Any number that differs from one certificate to the next will do.
    let place = facts
        .serial
        .iter()
        .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    let longer = LASTS / 4 / 256 * (place % 256);
    let is_ours = *id.trust_domain() == context.settings.trust_domain;
    is_ours.then_some(Caller { id, from, lasts: left.min(LASTS + longer) })
}

/// Who has proved who they are, and finds no room, asks another replica.
fn let_in(caller: &Caller, hub: &Hub, context: &Context, places: &Arc<Places>) -> Option<Place> {
    let Caller { id, from, .. } = caller;
    let who = Who { id: id.clone(), from: *from, is_pods: hub.is_of_a_pod(*from) };
    match places.take(who) {
        Ok(place) => Some(place),
        Err(full) => {
            let reason = full.reason();
            warn!(caller = %id, %from, reason, "discovery: refused: {full}");
            context.metrics.discovery_refused.get_or_create(&ReasonLabels { reason }).inc();
            None
        }
    }
}

async fn requests(stream: TlsStream<TcpStream>, asked: Asked, lasts: Duration) {
    let service = service_fn(move |request| answer(request, asked.clone()));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        // One stream, and one more for as long as the server has not noticed that the first has ended.
        .max_concurrent_streams(2)
        .max_header_list_size(16 * 1024)
        // What a client sends and is not read yet is in memory.
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = timeout(lasts, connection).await {
        debug!(%error, "discovery: connection ended");
    }
}
