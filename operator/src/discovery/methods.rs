//! The methods, for one caller.

use std::convert::Infallible;
use std::sync::Arc;

use axum::http::{Request, Response};
use countersign_contract::discovery::{LONGEST_MESSAGE, LONGEST_REQUEST, PATH, RELAY_PATH};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;
use tonic_prost::prost::Message;

use super::hub::Hub;
use super::own::operator;
use super::places::Shares;
use super::relayed::Relayed;
use super::server::Caller;
use super::stream::Follow;
use crate::context::Context;

/// Who asks, and what answers rest on.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) caller: Caller,
    pub(super) context: Arc<Context>,
    pub(super) hub: Arc<Hub>,
    pub(super) shares: Arc<Shares>,
    pub(super) stop: CancellationToken,
}

/// Answers one request; most last as long as their connection.
pub(super) async fn answer(
    request: Request<Incoming>,
    asked: Asked,
) -> Result<Response<tonic::body::Body>, Infallible> {
    Ok(match request.uri().path() {
        PATH => grpc(LONGEST_REQUEST).streaming(Follow(asked), request).await,
        RELAY_PATH if operator(&asked.context.settings).as_ref() == Ok(&asked.caller.id) => {
            grpc(LONGEST_MESSAGE).streaming(Relayed(asked), request).await
        }
        RELAY_PATH => Status::permission_denied("only the operator relays").into_http(),
        _ => Status::unimplemented("there is no such method").into_http(),
    })
}

/// A sidecar's messages are small: what it sends may be in memory for every one of its connections.
fn grpc<D, E>(longest: usize) -> Grpc<ProstCodec<E, D>>
where
    D: Message + Default + Send + 'static,
    E: Message + Send + 'static,
    ProstCodec<E, D>: Default,
{
    Grpc::new(ProstCodec::default())
        .max_decoding_message_size(longest)
        .max_encoding_message_size(LONGEST_MESSAGE)
}
