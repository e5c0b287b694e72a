//! Wires listeners, credentials and health together, and ends gracefully.

mod error;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_contract::{ExpectedPeer, names};
use prometheus_client::registry::Registry;
use rustls_pki_types::UnixTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::{self, Admin};
use crate::admission::Admission;
use crate::args::{
    Common, InboundArgs, LimitArgs, MeshArgs, OutboundArgs, PodArgs, PolicyArgs, Target,
};
use crate::call::{Calling, Configurations};
use crate::connection_limits::ConnectionLimits;
use crate::credentials::{self, Role, Sources, Watched};
use crate::discovery::{Book, Client, Connecting, Denials};
use crate::essential::{self, Essential};
use crate::http_memory::HttpMemory;
use crate::inbound::Inbound;
use crate::listen::{listen, listen_on_any};
use crate::live::Table;
use crate::metrics::{Direction, Metrics, Sums};
use crate::outbound::Outbound;
use crate::own_addresses::OwnAddresses;
use crate::pending::Pending;
use crate::probe::Probes;
use crate::source_ports::SourcePorts;
use crate::telemetry::Level;
use crate::traces::{self, Spans};
use crate::transparent::Transparent;
use crate::worker::{self, Side, Worker};
use crate::{descriptors, file, memory_limit, policy, tls};

pub use error::Error;

/// How long an answer of the admin port may keep the program from ending.
const ADMIN_END_TIMEOUT: Duration = Duration::from_secs(1);

/// What all sides of one process share.
struct Shared {
    common: Common,
    serving: Watched,
    metrics: Metrics,
    spans: Option<Spans>,
    /// Inbound and outbound handshakes that are under way.
    pending: [Arc<Pending>; 2],
    /// Who was refused by policies.
    denials: Arc<Denials>,
    /// Inbound and outbound connections, apart: strangers that hang on the one leave the other alone.
    limits: [Arc<ConnectionLimits>; 2],
    /// Tasks without which connections cannot go on.
    essential: Essential,
    http_memory: Arc<HttpMemory>,
    admission: Arc<Admission>,
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

    fn policy(&self) -> PolicyArgs {
        match self {
            Self::Inbound(args) => args.policy.clone(),
            Self::Pod(args) => args.policy.clone(),
            Self::Outbound(_) => PolicyArgs::default(),
        }
    }

    /// What is asked in the kubelet's place.
    fn probes(&self) -> Result<Probes, Error> {
        match self {
            Self::Pod(args) => Ok(Probes::of(&args.probes)?),
            Self::Inbound(_) | Self::Outbound(_) => Ok(Probes::default()),
        }
    }

    /// Where everything is read from. A policy that is wrong from the start is the caller's mistake;
    /// one that becomes wrong leaves the one before in force.
    fn sources(&self) -> Result<Sources, Error> {
        let common = self.common();
        let PolicyArgs { policy, policies, labels, certificates } = self.policy();
        let folders = [("--credentials", Some(&common.credentials))];
        for (name, folder) in folders.into_iter().chain([("--certificates", certificates.as_ref())])
        {
            if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                return Err(Error::NoFolder(name, folder.clone()));
            }
        }
        if let Some(path) = &policy {
            let text = file::read(path)
                .map_err(|source| Error::ReadPolicy { path: path.clone(), source })?;
            policy::parse(&text).map_err(|source| Error::Policy { path: path.clone(), source })?;
        }
        let identity = common.identity.as_ref().map(ToString::to_string);
        let compiled = policies.zip(labels);
        let credentials = common.credentials.clone();
        let roles = match self {
            Self::Inbound(_) => vec![Role::Server],
            Self::Outbound(_) => vec![Role::Client],
            Self::Pod(_) => vec![Role::Client, Role::Server],
        };
        Ok(Sources { credentials, identity, policy, compiled, certificates, roles })
    }
}

/// Serves until SIGTERM or SIGINT, and then until what is live has ended, or the drain has.
///
/// # Errors
/// When nothing can be served.
pub fn run(plan: &Plan, level: Level, started: Instant) -> Result<(), Error> {
    let sources = plan.sources()?;
    tls::provider::warm_up(&tls::provider::provider()).map_err(|_| Error::Random)?;
    let served = worker::runtime()?.block_on(serve(plan, sources, level, started));
    crate::telemetry::flush();
    served
}

async fn serve(plan: &Plan, sources: Sources, level: Level, started: Instant) -> Result<(), Error> {
    let probes = plan.probes()?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let common = plan.common().clone();
    let admin_listener = listen_on_any(common.admin)?;
    let (serving, publishing) = credentials::watch(sources, metrics.clone());
    let (essential, mut ended) = essential::tasks();
    let publishing = tokio::spawn(essential.clone().run("credentials", publishing));
    let spans = common.traces.clone().map(|collector| {
        let (spans, sending) = traces::start(collector, metrics.clone());
        drop(tokio::spawn(sending));
        spans
    });
    let shared = shared(common, serving.clone(), metrics.clone(), spans, essential);
    let book = Arc::new(Book::new(affinity()?));
    let workers = workers(plan, &shared, &book)?;
    let tables = shared.admission.tables.clone();
    registry.register_collector(Box::new(Sums::new(tables.clone())));
    let end = CancellationToken::new();
    let pending = shared.pending.to_vec();
    let serving_now = serving.clone();
    let refusals = metrics.refusal_log.clone();
    let admin = Admin { registry, metrics, serving: serving_now, pending, tables, level, probes };
    let admin = admin::start(admin_listener, admin, end.clone())?;
    let reporting = refusals.clone();
    tokio::spawn(async move { reporting.keep_reporting().await });
    tokio::spawn(announce(serving, started));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let working = worker::start(workers)?;
    let asking = discover(plan, &shared, book);
    tokio::pin!(asking);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = &mut asking => {}
        task = ended.first() => return Err(task.into()),
    }
    info!("stopping: no more connections are accepted");
    shared.stop.cancel();
    // What is live may have to call somebody yet.
    tokio::select! {
        () = working.wait() => {}
        () = asking => {}
        task = ended.first() => return Err(task.into()),
    }
    end.cancel();
    publishing.abort();
    drop(tokio::time::timeout(ADMIN_END_TIMEOUT, admin).await);
    refusals.report_omitted();
    info!("stopped");
    Ok(())
}

fn shared(
    common: Common,
    serving: Watched,
    metrics: Metrics,
    spans: Option<Spans>,
    essential: Essential,
) -> Shared {
    let connections = connections(&common.limits);
    let (most, of_one) = common.limits.handshakes(connections);
    // Whoever calls out is our own application, which is one source.
    let pending = [Pending::new(most, of_one), Pending::new(most, most)].map(Arc::new);
    let limits = [common.limits.inbound(connections), LimitArgs::outbound(connections)];
    let limits = limits.map(|limits| Arc::new(ConnectionLimits::new(limits)));
    for direction in Direction::ALL {
        metrics.limit(direction, connections);
    }
    let http_memory = Arc::new(HttpMemory::new(common.limits.http_memory()));
    let tables = (0..common.workers.count()).map(|_| Arc::default()).collect();
    let admission = Admission { limits: limits[0].clone(), pending: pending[0].clone(), tables };
    let admission = Arc::new(admission);
    let (denials, stop) = Default::default();
    Shared {
        common,
        serving,
        metrics,
        spans,
        pending,
        denials,
        limits,
        essential,
        http_memory,
        admission,
        stop,
    }
}

/// How many connections there may be each way.
fn connections(args: &LimitArgs) -> u32 {
    let wanted = args.max_connections.unwrap_or_else(memory_limit::default_connections);
    let both = wanted.saturating_mul(2);
    let fit = descriptors::raise_for(both);
    if fit < both && args.max_connections.is_some() {
        let connections = fit / 2;
        warn!(
            connections,
            wanted, "fewer connections than --max-connections: the descriptors do not suffice"
        );
    }
    (fit / 2).max(1)
}

/// Says once when handshakes can be made, and how long that took.
async fn announce(mut serving: Watched, started: Instant) {
    let ready = serving.wait_for(|state| state.missing(UnixTime::now()).is_none()).await;
    if ready.is_ok() {
        info!(ready_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), "ready");
    }
}

/// Any number that other pods do not have.
fn affinity() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn workers(plan: &Plan, shared: &Shared, book: &Arc<Book>) -> Result<Vec<Worker>, Error> {
    let wanted = match plan {
        Plan::Inbound(args) => vec![(args.listen, inbound_side(shared, args.to, None, Vec::new()))],
        Plan::Outbound(args) => {
            let side = outbound_side(shared, args.to.clone(), args.peer.clone(), &args.alpn);
            vec![(args.listen, side)]
        }
        Plan::Pod(args) => pod_sides(args, shared, book),
    };
    let patience = shared.common.kernel_patience();
    let tables = shared.admission.tables.iter();
    tables
        .map(|table| {
            let listened = wanted
                .iter()
                .map(|(address, side)| Ok((listen(*address, patience)?, side.clone())));
            Ok(one_worker(shared, table, listened.collect::<Result<_, Error>>()?))
        })
        .collect()
}

fn one_worker(
    shared: &Shared,
    table: &Arc<Table>,
    listeners: Vec<(std::net::TcpListener, Side)>,
) -> Worker {
    Worker {
        listeners,
        table: table.clone(),
        serving: shared.serving.clone(),
        limits: shared.limits[0].clone(),
        buffer_budget: memory_limit::buffer_budget(shared.common.workers.count()),
        deadlines: shared.common.deadlines(),
        stop: shared.stop.clone(),
        essential: shared.essential.clone(),
        drain: shared.common.drain_timeout,
    }
}

/// Inbound on every address, upstreams on loopback; of both families, where the pod has both.
fn pod_sides(args: &PodArgs, shared: &Shared, book: &Arc<Book>) -> Vec<(SocketAddr, Side)> {
    let at = |ip: IpAddr, port: u16| SocketAddr::new(ip, port);
    let has_ipv6 = listen(at(Ipv6Addr::LOCALHOST.into(), 0), None).is_ok();
    let any: IpAddr =
        if has_ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let own = &args.mesh.pod_ips;
    let mut sides = Vec::new();
    if args.inbound != 0 {
        sides.push((at(any, args.inbound), inbound_side(shared, None, None, own.clone())));
    }
    for served in &args.served {
        let to = at(Ipv4Addr::LOCALHOST.into(), served.target);
        let side = inbound_side(shared, Some(to), Some(served.listen), own.clone());
        sides.push((at(any, served.listen), side));
    }
    if let Some(port) = args.mesh.outbound {
        // The kernel redirects what the pod sends to loopback, so that nobody outside can come here.
        let side = transparent_side(shared, &args.mesh, book);
        sides.push((at(Ipv4Addr::LOCALHOST.into(), port), side.clone()));
        if has_ipv6 {
            sides.push((at(Ipv6Addr::LOCALHOST.into(), port), side));
        }
    }
    for upstream in &args.upstreams {
        let target = Target { host: upstream.host.clone(), port: upstream.port };
        let side = outbound_side(shared, target, upstream.peer.clone(), &[]);
        sides.push((at(Ipv4Addr::LOCALHOST.into(), upstream.listen), side.clone()));
        if has_ipv6 {
            sides.push((at(Ipv6Addr::LOCALHOST.into(), upstream.listen), side));
        }
    }
    sides
}

fn inbound_side(
    shared: &Shared,
    to: Option<SocketAddr>,
    port: Option<u16>,
    own: Vec<IpAddr>,
) -> Side {
    let common = &shared.common;
    Side::In(Arc::new(Inbound {
        to,
        port,
        serving: shared.serving.clone(),
        own: OwnAddresses::new(own),
        ports: SourcePorts::default(),
        http_memory: shared.http_memory.clone(),
        admission: shared.admission.clone(),
        first_byte_timeout: common.first_byte_timeout,
        handshake_timeout: common.handshake_timeout,
        dial_timeout: common.dial_timeout,
        metrics: shared.metrics.clone(),
        spans: shared.spans.clone(),
        denials: shared.denials.clone(),
        stop: shared.stop.clone(),
    }))
}

fn outbound_side(shared: &Shared, to: Target, peer: ExpectedPeer, alpn: &[String]) -> Side {
    Side::Out(Arc::new(Outbound {
        name: format!("{}:{}", to.host, to.port).into(),
        to,
        peer,
        calling: calling(shared, alpn.to_vec()),
    }))
}

fn transparent_side(shared: &Shared, mesh: &MeshArgs, book: &Arc<Book>) -> Side {
    Side::Through(Arc::new(Transparent {
        book: book.clone(),
        own: mesh.pod_ips.clone(),
        discovery_timeout: mesh.discovery_timeout,
        calling: calling(shared, vec![names::ALPN.to_owned()]),
    }))
}

fn calling(shared: &Shared, alpn: Vec<String>) -> Calling {
    let common = &shared.common;
    Calling {
        serving: shared.serving.clone(),
        pending: shared.pending[1].clone(),
        handshake_timeout: common.handshake_timeout,
        dial_timeout: common.dial_timeout,
        kernel_patience: common.kernel_patience(),
        limits: shared.limits[1].clone(),
        metrics: shared.metrics.clone(),
        spans: shared.spans.clone(),
        alpn,
        configurations: Configurations::default(),
    }
}

/// Asks discovery, for as long as it is polled; for ever, where nobody is to be asked.
async fn discover(plan: &Plan, shared: &Shared, book: Arc<Book>) {
    let asked = match plan {
        Plan::Pod(PodArgs { mesh, .. }) => mesh.discovery.clone().zip(mesh.discovery_peer.clone()),
        Plan::Inbound(_) | Plan::Outbound(_) => None,
    };
    let (Some((to, peer)), Plan::Pod(PodArgs { mesh, .. })) = (asked, plan) else {
        return std::future::pending().await;
    };
    let connecting = Connecting {
        to,
        addresses: mesh.discovery_addresses.iter().flatten().copied().collect(),
        peer,
        pod: mesh.pod.clone(),
        own: mesh.pod_ips.clone(),
    };
    let (serving, denials) = (shared.serving.clone(), shared.denials.clone());
    Client { connecting, serving, book, denials }.run().await;
}
