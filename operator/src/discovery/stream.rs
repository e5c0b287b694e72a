//! One sidecar's stream: what it follows, and what it tells.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use countersign_contract::discovery::{MOST_DESTINATIONS, Request, Response};
use futures::channel::mpsc;
use futures::{SinkExt, Stream};
use kube::ResourceExt;
use tokio::time::timeout;
use tonic::{Status, Streaming};
use tracing::debug;

use super::followers::Following;
use super::methods::Asked;
use crate::context::Context;
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
        let following = Following::begin(self.0.hub.clone(), node);
        let follower = following.follower.clone();
        let mut session = Session::of(&self.0.context, following, pod.as_deref());
        session.take(&first)?;
        loop {
            tokio::select! {
                request = requests.message() => match request? {
                    Some(request) => session.take(&request)?,
                    None => return Ok(()),
                },
                answers = follower.take(ANSWERS) => {
                    self.0.context.metrics.discovery_answers.inc_by(answers.len() as u64);
                    if to.send(Ok(Response { answers })).await.is_err() {
                        return Ok(());
                    }
                }
                () = self.0.stop.cancelled() => {
                    return Err(Status::unavailable("this replica ends"));
                }
            }
        }
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
}

/// What one stream follows, and what its pod tells, which is forgotten at its end.
struct Session<'a> {
    context: &'a Context,
    following: Following,
    pod: Option<(String, String)>,
}

impl<'a> Session<'a> {
    fn of(context: &'a Context, following: Following, pod: Option<&MeshPod>) -> Self {
        context.metrics.discovery_streams.inc();
        let pod = pod.map(|pod| (pod.namespace().unwrap_or_default(), pod.name_any()));
        pod.iter().for_each(|pod| following.is_of(pod.clone()));
        Self { context, following, pod }
    }

    /// Does what a message asks for.
    fn take(&mut self, request: &Request) -> Result<(), Status> {
        if let (Some((namespace, pod)), Some(report)) = (&self.pod, &request.report) {
            self.context.reports.note(namespace, pod, report, self.context.clock.now());
        }
        for destination in &request.forget {
            self.following.forget(&address(destination)?);
        }
        for destination in &request.follow {
            if self.following.len() >= MOST_DESTINATIONS {
                return Err(Status::resource_exhausted(
                    "too many destinations are followed at once",
                ));
            }
            self.following.follow(address(destination)?);
        }
        Ok(())
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.context.metrics.discovery_streams.dec();
        if let Some(pod) = self.pod.as_ref().filter(|pod| self.following.was_of(pod)) {
            self.context.reports.forget(&pod.0, &pod.1);
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, Status> {
    text.parse().map_err(|_| Status::invalid_argument("a destination is not IP:PORT"))
}
