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
use crate::listen::{Accepted, accept_all};
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

    fn shared(&self) -> (&Metrics, &Arc<ConnectionLimits>) {
        let calling = match self {
            Self::In(inbound) => return (&inbound.metrics, &inbound.limits),
            Self::Out(outbound) => &outbound.calling,
            Self::Through(transparent) => &transparent.calling,
        };
        (&calling.metrics, &calling.limits)
    }

    /// A connection for which there is no room: it is refused at once, and by name. In the kernel's
    /// queue it would look as if it were served.
    fn refuse(&self, stream: &TcpStream, client: SocketAddr, exceeded: LimitExceeded) {
        let connection = Connection::open(self.shared().0, None, self.direction(), client);
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
    accept_all(&listener, &stop, |stream, client| {
        let permit = match side.shared().1.take(client.ip()) {
            Ok(permit) => permit,
            Err(exceeded) => return side.refuse(&stream, client, exceeded),
        };
        let accepted = Accepted { stream, client, permit };
        let table = table.clone();
        match side.clone() {
            Side::In(inbound) => drop(live.spawn(async move {
                inbound::serve(&inbound, &table, accepted).await;
            })),
            Side::Out(outbound) => drop(live.spawn(async move {
                outbound::serve(&outbound, &table, accepted).await;
            })),
            Side::Through(transparent) => drop(live.spawn(async move {
                transparent::serve(&transparent, &table, accepted).await;
            })),
        }
    })
    .await;
}
