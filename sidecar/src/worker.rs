//! Workers: one thread each, with a runtime, listeners and connections of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_contract::{Ending, Refusal};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::connection::{Connection, Refused};
use crate::connection_limits::{ConnectionLimits, LimitExceeded};
use crate::credentials::Watched;
use crate::essential::Essential;
use crate::inbound::{self, Inbound};
use crate::listen::{Accepted, Accepting};
use crate::live::Table;
use crate::metrics::{Direction, Metrics};
use crate::outbound::{self, Outbound};
use crate::relay::{buffers, reset};
use crate::sweep::{Deadlines, sweep};
use crate::telemetry;
use crate::transparent::{self, Transparent};

/// What listens where.
#[derive(Clone)]
pub(crate) enum Side {
    In(Arc<Inbound>),
    Out(Arc<Outbound>),
    Through(Arc<Transparent>),
}

impl Side {
    fn direction(&self) -> Direction {
        match self {
            Self::In(_) => Direction::inbound,
            Self::Out(_) | Self::Through(_) => Direction::outbound,
        }
    }

    fn metrics(&self) -> &Metrics {
        match self {
            Self::In(inbound) => &inbound.metrics,
            Self::Out(outbound) => &outbound.calling.metrics,
            Self::Through(transparent) => &transparent.calling.metrics,
        }
    }

    /// A connection for which there is no room: it is refused by name. In the kernel's queue it would
    /// look as if it were served.
    fn refuse(&self, stream: &TcpStream, client: SocketAddr, exceeded: LimitExceeded) {
        let connection = Connection::open(self.metrics(), None, self.direction(), client);
        connection.refuse(&Refused::new(Refusal::Overloaded, exceeded.to_string()));
        reset(stream);
    }
}

/// What one worker does.
pub(crate) struct Worker {
    pub(crate) listeners: Vec<(std::net::TcpListener, Side)>,
    pub(crate) table: Arc<Table>,
    pub(crate) serving: Watched,
    /// Of inbound connections.
    pub(crate) limits: Arc<ConnectionLimits>,
    /// How many bytes may wait for those who do not read.
    pub(crate) buffer_budget: usize,
    pub(crate) deadlines: Deadlines,
    pub(crate) stop: CancellationToken,
    pub(crate) essential: Essential,
    pub(crate) drain: Duration,
}

/// The runtime of this thread, which queues its log lines before it rests.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    telemetry::gather();
    runtime_of_another()
}

/// The runtime of a thread that gathers its log lines itself.
pub(crate) fn runtime_of_another() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().on_thread_park(telemetry::flush).build()
}

/// Starts every worker: the first in this thread's runtime, the others in threads of their own, so
/// that one worker costs one thread.
pub(crate) fn start(workers: Vec<Worker>) -> std::io::Result<TaskTracker> {
    let tracker = TaskTracker::new();
    for (place, worker) in workers.into_iter().enumerate() {
        if place == 0 {
            tracker.spawn(worker.run());
            continue;
        }
        let (done, ended) = oneshot::channel::<std::io::Result<()>>();
        std::thread::Builder::new().name(format!("worker-{place}")).spawn(move || {
            let ran = runtime().map(|runtime| runtime.block_on(worker.run()));
            telemetry::flush();
            drop(done.send(ran));
        })?;
        tracker.spawn(async move {
            if let Ok(Err(error)) = ended.await {
                warn!(%error, "a worker did not start");
            }
        });
    }
    tracker.close();
    Ok(tracker)
}

impl Worker {
    /// Accepts on every listener until told to stop, and then waits for what is live.
    async fn run(self) {
        buffers::set_budget(self.buffer_budget);
        let live = TaskTracker::new();
        let sweeping = sweep(self.table.clone(), self.deadlines, self.serving, self.limits);
        let sweeping = tokio::spawn(self.essential.run("sweep", sweeping));
        let mut accepting = tokio::task::JoinSet::new();
        for (listener, side) in self.listeners {
            let (table, live) = (self.table.clone(), live.clone());
            let stop = self.stop.clone();
            accepting.spawn(async move {
                match TcpListener::from_std(listener) {
                    Ok(listener) => accept(listener, side, table, stop, live).await,
                    Err(error) => warn!(%error, "listening"),
                }
            });
        }
        while accepting.join_next().await.is_some() {}
        live.close();
        if tokio::time::timeout(self.drain, live.wait()).await.is_err() {
            warn!(connections = live.len(), "the drain is over: what is live is cut");
            self.table.for_each(|entry| entry.end(Ending::Drained));
            drop(tokio::time::timeout(Duration::from_secs(1), live.wait()).await);
        }
        sweeping.abort();
    }
}

async fn accept(
    listener: TcpListener,
    side: Side,
    table: Arc<Table>,
    stop: CancellationToken,
    live: TaskTracker,
) {
    let mut accepting = Accepting::new(&listener, &stop);
    while let Some((stream, client)) = accepting.next().await {
        let table = table.clone();
        match side.clone() {
            Side::In(inbound) => match inbound.admission.admit(client.ip(), &stop).await {
                Err(exceeded) => side.refuse(&stream, client, exceeded),
                Ok((permit, place)) => drop(live.spawn(async move {
                    let accepted = Accepted { stream, client, permit };
                    inbound::serve(&inbound, &table, (accepted, place)).await;
                })),
            },
            Side::Out(outbound) => match outbound.calling.limits.take(client.ip()) {
                Err(exceeded) => side.refuse(&stream, client, exceeded),
                Ok(permit) => drop(live.spawn(async move {
                    let accepted = Accepted { stream, client, permit };
                    outbound::serve(&outbound, &table, accepted).await;
                })),
            },
            Side::Through(transparent) => match transparent.calling.limits.take(client.ip()) {
                Err(exceeded) => side.refuse(&stream, client, exceeded),
                Ok(permit) => drop(live.spawn(async move {
                    let accepted = Accepted { stream, client, permit };
                    transparent::serve(&transparent, &table, accepted).await;
                })),
            },
        }
    }
}
