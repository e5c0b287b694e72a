//! One sidecar's stream: what it follows, and what it tells.
//!
//! What a message asks for is done in small steps, each within a budget of time, so that no sidecar
//! holds up another. While steps are left, the next message is not read.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use countersign_contract::discovery::{Request, Response};
use futures::channel::mpsc;
use futures::{SinkExt, Stream};
use kube::ResourceExt;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Status, Streaming};
use tracing::{debug, warn};

use super::fair::Who;
use super::followers::Following;
use super::methods::Asked;
use super::session::Session;
use crate::kept::MeshPod;

/// How long a client may take until it says who it is.
const HELLO: Duration = Duration::from_secs(10);

/// How many answers go in one message.
const ANSWERS: usize = 64;

/// The method, for one caller.
pub(super) struct Follow(pub(super) Asked);

type Responses = mpsc::Receiver<Result<Response, Status>>;

impl tonic::server::StreamingService<Request> for Follow {
    type Response = Response;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Response, Status>> + Send>>;
    type Future = std::future::Ready<Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Request>>) -> Self::Future {
        let (to, responses): (_, Responses) = mpsc::channel(1);
        drop(tokio::spawn(Self(self.0.clone()).run(request.into_inner(), to)));
        std::future::ready(Ok(tonic::Response::new(Box::pin(responses))))
    }
}

impl Follow {
    async fn run(
        self,
        mut requests: Streaming<Request>,
        mut to: mpsc::Sender<Result<Response, Status>>,
    ) {
        if let Err(status) = self.serve(&mut requests, &mut to).await {
            debug!(caller = %self.0.caller.id, %status, "discovery: stream ended");
            let _ = to.send(Err(status)).await;
        }
    }

    async fn serve(
        &self,
        requests: &mut Streaming<Request>,
        to: &mut mpsc::Sender<Result<Response, Status>>,
    ) -> Result<(), Status> {
        let late = |_| Status::deadline_exceeded("no first message, or nothing was read here yet");
        let first = timeout(HELLO, async {
            self.0.hub.complete().await;
            requests.message().await
        });
        let Some(first) = first.await.map_err(late)?? else { return Ok(()) };
        let pod = self.pod(&first)?;
        let node = pod.as_ref().and_then(|pod| pod.node.clone());
        let following = Following::begin(self.0.hub.clone(), self.who(), node);
        let (follower, mut ranges) = (following.follower.clone(), self.0.hub.told_ranges());
        ranges.mark_changed();
        let reporter = pod.filter(|pod| self.calls_from(pod));
        let held = self.0.shares.hold(&self.0.caller.id);
        let mut session = Session::new(&self.0.context, following, held, reporter.as_deref());
        session.take(first, Instant::now())?;
        loop {
            let due = session.due(Instant::now());
            let response = tokio::select! {
                request = requests.message(), if due.is_none() => match request? {
                    Some(request) => {
                        session.take(request, Instant::now())?;
                        continue;
                    }
                    None => return Ok(()),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    session.step()?;
                    tokio::task::yield_now().await;
                    continue;
                }
                answers = follower.take(ANSWERS) => {
                    self.0.context.metrics.discovery_answers.inc_by(answers.len() as u64);
                    Response { answers, ranges: None }
                }
                Ok(()) = ranges.changed() => {
                    let told = ranges.borrow_and_update().clone();
                    let Some(told) = told else { continue };
                    Response { answers: Vec::new(), ranges: Some((*told).clone()) }
                }
                () = self.0.stop.cancelled() => {
                    return Err(Status::unavailable("this replica ends"));
                }
            };
            if to.send(Ok(response)).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Whose turn it is when something is asked for the stream's sake.
    fn who(&self) -> Who {
        let id = &self.0.caller.id;
        Who { namespace: id.namespace().into(), account: id.service_account().into() }
    }

    /// The pod that the client says it is of, which must run as the account that its certificate
    /// names. A sidecar outside of any pod names none.
    fn pod(&self, first: &Request) -> Result<Option<Arc<MeshPod>>, Status> {
        let name = first.hello.as_ref().map_or("", |hello| &hello.pod);
        if name.is_empty() {
            return Ok(None);
        }
        let id = &self.0.caller.id;
        let pod = self.0.hub.pod_named(id.namespace(), name);
        let pod = pod.filter(|pod| *pod.service_account == *id.service_account());
        let unknown =
            || Status::permission_denied("no injected pod of this name has this identity");
        pod.map(Some).ok_or_else(unknown)
    }

    /// Whether a pod's reports are believed: pods of one account could otherwise report for each other.
    fn calls_from(&self, pod: &MeshPod) -> bool {
        let from = self.0.caller.from;
        let calls = may_report(&pod.ips, from, self.0.hub.is_of_a_pod(from));
        if !calls {
            let (namespace, pod) = (pod.namespace().unwrap_or_default(), pod.name_any());
            warn!(namespace, pod, %from, "discovery: reports are ignored, since the connection comes from another pod's address");
        }
        calls
    }
}

/// Whether a pod with these addresses may be who calls from an address; pure. It is not where the address
/// is another pod's; what is no pod's may be a node that changes the addresses of its pods.
fn may_report(own: &[IpAddr], from: IpAddr, is_of_a_pod: bool) -> bool {
    own.is_empty() || own.contains(&from) || !is_of_a_pod
}

/// A destination, as sidecars write it.
pub(super) fn address(text: &str) -> Result<SocketAddr, Status> {
    text.parse().map_err(|_| Status::invalid_argument("a destination is not IP:PORT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_reports_from_its_own_address_or_from_none_of_a_pods() {
        let ip = |low: u8| IpAddr::from([10, 244, 0, low]);
        let cases = [
            (vec![ip(1)], ip(1), true, true),
            (vec![ip(1)], ip(2), true, false),
            (vec![ip(1)], [192, 0, 2, 1].into(), false, true),
            // The watch does not have its address yet.
            (vec![], ip(1), true, true),
        ];
        for (own, from, is_of_a_pod, expected) in cases {
            assert_eq!(may_report(&own, from, is_of_a_pod), expected, "{own:?} {from}");
        }
    }
}
