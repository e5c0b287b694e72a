//! What sidecars tell a replica that does not lead, it tells the one that does: all at first, then
//! what changes, one message at a time. Sidecars never wait for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use countersign_contract::discovery::{Heard, Relay};
use futures::SinkExt;
use futures::channel::mpsc;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;
use tracing::{info, warn};

use super::call::{self, Called};
use super::own::Own;
use crate::context::Context;
use crate::policy::Reports;

/// How long connecting may take, and how long the leader may take to hear a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// How soon after a failure it is tried again: at once, and then less and less often.
const SOONEST: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(5);

/// How the leader is found.
#[derive(Clone, Debug)]
pub enum Leader {
    /// By the name of its pod, which the election tells, and the port on which all replicas serve.
    Elected {
        /// The name, once it is known.
        pod: watch::Receiver<Option<String>>,
        /// The port.
        port: u16,
    },
    /// It is always there.
    At(SocketAddr),
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("reading the leader's pod {0}")]
    ReadPod(String, #[source] kube::Error),
    #[error("the leader's pod {0} has no address")]
    NoAddress(String),
    #[error("calling the leader at {0}")]
    Call(SocketAddr, #[source] call::Error),
    #[error("the leader said nothing within {PATIENCE:?}")]
    Late,
    #[error("the leader ended the stream: {}: {}", .0.code(), .0.message())]
    Ended(#[from] Status),
    #[error("another replica leads")]
    AnotherLeads,
}

/// Tells the leader, until it is us.
pub(super) async fn tell(
    context: Arc<Context>,
    leader: Leader,
    own: watch::Receiver<Option<Arc<Own>>>,
) {
    let reports = context.reports.clone();
    let mut telling = Telling { context, leader, own };
    tokio::select! { () = reports.until_leading() => {} () = telling.run() => {} }
}

struct Telling {
    context: Arc<Context>,
    leader: Leader,
    own: watch::Receiver<Option<Arc<Own>>>,
}

impl Telling {
    async fn run(&mut self) {
        let mut wait = SOONEST;
        loop {
            let began = Instant::now();
            let ended = self.stream().await;
            self.context.reports.end_telling(self.context.clock.now());
            if let Err(error) = ended {
                let cause = crate::story::cause(&error);
                warn!(%error, cause, "the leader is not told what sidecars report");
            }
            if began.elapsed() > LATEST {
                wait = SOONEST;
            }
            sleep(wait).await;
            wait = (wait * 2).min(LATEST);
        }
    }

    /// One stream, from its beginning to its end.
    async fn stream(&mut self) -> Result<(), Error> {
        let Some(own) = self.own.wait_for(Option::is_some).await.ok().and_then(|own| own.clone())
        else {
            // Its sender is gone, as it is when the operator ends.
            return std::future::pending().await;
        };
        let to = self.leader.address(&self.context).await?;
        let called = timeout(PATIENCE, call::relay(to, &own, &self.context.settings)).await;
        let called = called.map_err(|_| Error::Late)?.map_err(|source| Error::Call(to, source))?;
        info!(%to, "telling the leader what sidecars report");
        let reports = self.context.reports.clone();
        reports.begin_telling(self.context.clock.now());
        tokio::select! {
            ended = relay(&reports, called, self.context.settings.process.pod.clone()) => ended,
            () = self.leader.changes() => Err(Error::AnotherLeads),
        }
    }
}

/// The next message waits until the leader has heard this one: meanwhile what changes is gathered. The first
/// one names this replica, whether or not there is anything to report.
async fn relay(reports: &Reports, mut called: Called, replica: String) -> Result<(), Error> {
    called.send(Relay { told: Vec::new(), replica }).await?;
    loop {
        let told = tokio::select! {
            told = reports.next_untold() => told,
            ended = called.heard.message() => return ended.map(drop).map_err(Error::Ended),
        };
        called.send(Relay { told, ..Relay::default() }).await?;
    }
}

impl Called {
    /// Sends a message, and waits until the leader has heard it.
    async fn send(&mut self, message: Relay) -> Result<(), Error> {
        let telling = async {
            let sent: Result<(), mpsc::SendError> = self.relays.send(message).await;
            match (sent, self.heard.message().await?) {
                (Ok(()), Some(Heard {})) => Ok(()),
                _ => Err(Status::cancelled("it is over")),
            }
        };
        Ok(timeout(PATIENCE, telling).await.map_err(|_| Error::Late)??)
    }
}

impl Leader {
    /// Where it is; waits until somebody leads.
    async fn address(&mut self, context: &Context) -> Result<SocketAddr, Error> {
        let (pod, port) = match self {
            Self::At(address) => return Ok(*address),
            Self::Elected { pod, port } => (pod, *port),
        };
        let known = pod.wait_for(Option::is_some).await.ok().and_then(|pod| pod.clone());
        // Its sender is gone, as it is when the operator ends.
        let Some(name) = known else { return std::future::pending().await };
        let home = &context.settings.cluster_resource_namespace;
        let api: Api<Pod> = Api::namespaced(context.client.clone(), home);
        let found = api.get_opt(&name).await;
        let found = found.map_err(|source| Error::ReadPod(name.clone(), source))?;
        let ip = found.as_ref().and_then(address_of).ok_or(Error::NoAddress(name))?;
        Ok(SocketAddr::new(ip, port))
    }

    /// Waits until it is another one.
    async fn changes(&mut self) {
        if let Self::Elected { pod, .. } = self
            && pod.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

fn address_of(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}
