//! The leader's side of what sidecars tell other replicas.

use std::pin::Pin;

use countersign_contract::discovery::{Heard, Relay};
use futures::channel::mpsc;
use futures::{SinkExt, Stream};
use tonic::{Status, Streaming};
use tracing::{debug, info};

use super::methods::Asked;
use crate::policy::believed;

/// The method, for one replica.
pub(super) struct Relayed(pub(super) Asked);

type Responses = mpsc::Receiver<Result<Heard, Status>>;

impl tonic::server::StreamingService<Relay> for Relayed {
    type Response = Heard;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Heard, Status>> + Send>>;
    type Future = std::future::Ready<Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Relay>>) -> Self::Future {
        let (to, responses): (_, Responses) = mpsc::channel(1);
        drop(tokio::spawn(run(self.0.clone(), request.into_inner(), to)));
        std::future::ready(Ok(tonic::Response::new(Box::pin(responses))))
    }
}

async fn run(
    asked: Asked,
    mut relays: Streaming<Relay>,
    mut to: mpsc::Sender<Result<Heard, Status>>,
) {
    if let Err(status) = hear(&asked, &mut relays, &mut to).await {
        debug!(%status, "a replica's reports ended");
        let _ = to.send(Err(status)).await;
    }
}

/// Hears a replica until its stream ends, and forgets then what it said.
async fn hear(
    asked: &Asked,
    relays: &mut Streaming<Relay>,
    to: &mut mpsc::Sender<Result<Heard, Status>>,
) -> Result<(), Status> {
    let Asked { context, stop, .. } = asked;
    if !context.reports.leads() {
        return Err(Status::failed_precondition("this replica does not lead"));
    }
    info!("a replica tells what its sidecars report");
    let mut replica = context.reports.replica();
    loop {
        let relay = tokio::select! {
            relay = relays.message() => relay?,
            () = stop.cancelled() => return Err(Status::unavailable("this replica ends")),
        };
        let Some(Relay { told, replica: name }) = relay else { return Ok(()) };
        replica.is_called(name);
        let now = context.clock.now();
        for mut told in told {
            let document = context.documents.of(&told.namespace);
            told.report = told.report.map(|report| believed(&report, &document, None));
            replica.note(&told, now);
        }
        if to.send(Ok(Heard {})).await.is_err() {
            return Ok(());
        }
    }
}
