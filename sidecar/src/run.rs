//! Wires listeners, credentials and health together, and ends gracefully.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_contract::policy::PolicyDocument;
use prometheus_client::registry::Registry;
use rustls_pki_types::UnixTime;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::args::{Common, InboundArgs, OutboundArgs, PodArgs, Target};
use crate::credentials::{self, Watched};
use crate::inbound::{self, Inbound};
use crate::listen::{self, accept, listen};
use crate::metrics::Metrics;
use crate::outbound::{self, Outbound};
use crate::{admin, policy, tls};

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum Error {
    #[error("--credentials {0}: there is no such folder")]
    NoFolder(PathBuf),
    #[error(transparent)]
    Policy(#[from] policy::Error),
    #[error(transparent)]
    Listen(#[from] listen::Error),
    #[error("starting: {0}")]
    Start(#[from] std::io::Error),
    #[error("the machine gives no random numbers")]
    Random,
}

impl Error {
    /// Whether it is the caller's mistake: status 2.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Start(_) | Self::Random)
    }
}

/// What listens where.
#[derive(Clone)]
enum Side {
    In(Arc<Inbound>),
    Out(Arc<Outbound>),
}

/// What all sides of one process share.
struct Shared {
    common: Common,
    credentials: Watched,
    metrics: Metrics,
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    stop: CancellationToken,
}

/// What a process should serve.
pub enum Plan {
    /// `inbound`
    Inbound(InboundArgs),
    /// `outbound`
    Outbound(OutboundArgs),
    /// `pod`
    Pod(PodArgs),
}

impl Plan {
    fn common(&self) -> &Common {
        match self {
            Self::Inbound(args) => &args.common,
            Self::Outbound(args) => &args.common,
            Self::Pod(args) => &args.common,
        }
    }

    fn policy(&self) -> Result<PolicyDocument, policy::Error> {
        let path = match self {
            Self::Inbound(args) => args.policy.as_ref(),
            Self::Pod(args) => args.policy.as_ref(),
            Self::Outbound(_) => None,
        };
        path.map_or_else(|| Ok(PolicyDocument::default()), |path| policy::read(path))
    }
}

/// Serves until SIGTERM or SIGINT, and then until what is live has ended, or the drain has.
///
/// # Errors
/// When nothing can be served.
pub fn run(plan: &Plan, started: Instant) -> Result<(), Error> {
    let common = plan.common().clone();
    if !common.credentials.is_dir() {
        return Err(Error::NoFolder(common.credentials));
    }
    let policy = plan.policy()?;
    tls::provider::warm_up(&tls::provider::provider()).map_err(|_| Error::Random)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(plan, common, policy, started))
}

async fn serve(
    plan: &Plan,
    common: Common,
    policy: PolicyDocument,
    started: Instant,
) -> Result<(), Error> {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let admin_listener = listen(common.admin)?;
    let (credentials, publishing) = credentials::watch(common.credentials.clone(), metrics.clone());
    let publishing = tokio::spawn(publishing);
    let shared = Shared {
        credentials: credentials.clone(),
        metrics: metrics.clone(),
        handshakes: Arc::new(Semaphore::new(common.max_handshakes as usize)),
        connections: Arc::new(Semaphore::new(common.max_connections as usize)),
        stop: CancellationToken::new(),
        common,
    };
    let sides = sides(plan, &shared, policy)?;
    let end = CancellationToken::new();
    let admin = admin::serve(
        admin_listener,
        registry,
        metrics,
        credentials.clone(),
        end.clone().cancelled_owned(),
    );
    let admin = tokio::spawn(admin);
    tokio::spawn(announce(credentials, started));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let workers = work(&shared, sides)?;
    tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
    info!("stopping: no more connections are accepted");
    shared.stop.cancel();
    workers.wait().await;
    end.cancel();
    publishing.abort();
    drop(admin.await);
    info!("stopped");
    Ok(())
}

/// Says once when handshakes can be made, and how long that took.
async fn announce(mut credentials: Watched, started: Instant) {
    let ready = credentials.wait_for(|state| state.missing(UnixTime::now()).is_none()).await;
    if ready.is_ok() {
        info!(ready_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), "ready");
    }
}

/// Every listening socket of every worker, and what it serves.
type Sides = Vec<Vec<(std::net::TcpListener, Side)>>;

fn sides(plan: &Plan, shared: &Shared, policy: PolicyDocument) -> Result<Sides, Error> {
    let wanted = match plan {
        Plan::Inbound(args) => vec![(args.listen, inbound_side(shared, args.to, policy))],
        Plan::Outbound(args) => {
            vec![(args.listen, outbound_side(shared, args.to.clone(), args.peer.clone()))]
        }
        Plan::Pod(args) => pod_sides(args, shared, policy),
    };
    (0..shared.common.workers)
        .map(|_| {
            let listened =
                wanted.iter().map(|(address, side)| Ok((listen(*address)?, side.clone())));
            listened.collect::<Result<Vec<_>, Error>>()
        })
        .collect()
}

/// Inbound on every address, upstreams on loopback; of both families, where the pod has both.
fn pod_sides(args: &PodArgs, shared: &Shared, policy: PolicyDocument) -> Vec<(SocketAddr, Side)> {
    let at = |ip: IpAddr, port: u16| SocketAddr::new(ip, port);
    let has_ipv6 = listen(at(Ipv6Addr::LOCALHOST.into(), 0)).is_ok();
    let any: IpAddr =
        if has_ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let mut sides = vec![(at(any, args.inbound), inbound_side(shared, None, policy))];
    for upstream in &args.upstreams {
        let target = Target { host: upstream.host.clone(), port: upstream.port };
        let side = outbound_side(shared, target, upstream.peer.clone());
        sides.push((at(Ipv4Addr::LOCALHOST.into(), upstream.listen), side.clone()));
        if has_ipv6 {
            sides.push((at(Ipv6Addr::LOCALHOST.into(), upstream.listen), side));
        }
    }
    sides
}

fn inbound_side(shared: &Shared, to: Option<SocketAddr>, policy: PolicyDocument) -> Side {
    Side::In(Arc::new(Inbound {
        to,
        policy,
        credentials: shared.credentials.clone(),
        handshakes: shared.handshakes.clone(),
        handshake_timeout: shared.common.handshake_timeout,
        dial_timeout: shared.common.dial_timeout,
        metrics: shared.metrics.clone(),
    }))
}

fn outbound_side(shared: &Shared, to: Target, peer: countersign_contract::ExpectedPeer) -> Side {
    Side::Out(Arc::new(Outbound {
        to,
        peer,
        credentials: shared.credentials.clone(),
        handshakes: shared.handshakes.clone(),
        handshake_timeout: shared.common.handshake_timeout,
        dial_timeout: shared.common.dial_timeout,
        metrics: shared.metrics.clone(),
    }))
}

/// Starts a worker for each set of listeners: the first in this thread's runtime, the others in
/// threads of their own, so that one worker costs one thread.
fn work(shared: &Shared, sides: Sides) -> Result<TaskTracker, Error> {
    let workers = TaskTracker::new();
    for (place, listeners) in sides.into_iter().enumerate() {
        let drain = shared.common.drain_timeout;
        let work = worker(listeners, shared.connections.clone(), shared.stop.clone(), drain);
        if place == 0 {
            workers.spawn(work);
            continue;
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let name = format!("worker-{place}");
        let (done, ended) = tokio::sync::oneshot::channel::<()>();
        std::thread::Builder::new().name(name).spawn(move || {
            runtime.block_on(work);
            drop(done);
        })?;
        workers.spawn(async move { drop(ended.await) });
    }
    workers.close();
    Ok(workers)
}

/// Accepts on every listener until told to stop, and then waits for what is live.
async fn worker(
    listeners: Vec<(std::net::TcpListener, Side)>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
    drain: Duration,
) {
    let live = TaskTracker::new();
    let mut accepting = tokio::task::JoinSet::new();
    for (listener, side) in listeners {
        match TcpListener::from_std(listener) {
            Ok(listener) => drop(accepting.spawn(accept_all(
                listener,
                side,
                permits.clone(),
                stop.clone(),
                live.clone(),
            ))),
            Err(error) => warn!(%error, "listening"),
        }
    }
    while accepting.join_next().await.is_some() {}
    live.close();
    if tokio::time::timeout(drain, live.wait()).await.is_err() {
        warn!(connections = live.len(), "the drain is over: what is live is cut");
    }
}

async fn accept_all(
    listener: TcpListener,
    side: Side,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
    live: TaskTracker,
) {
    while let Some(accepted) = accept(&listener, &permits, &stop).await {
        match side.clone() {
            Side::In(inbound) => {
                drop(live.spawn(async move { inbound::serve(&inbound, accepted).await }))
            }
            Side::Out(outbound) => {
                drop(live.spawn(async move { outbound::serve(&outbound, accepted).await }))
            }
        }
    }
}
