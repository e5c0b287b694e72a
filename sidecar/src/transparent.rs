//! One outbound connection that was redirected here: the application does not know of us.
//!
//! Who is behind the address is asked of discovery. In the mesh, one of the endpoints is called by
//! mutual TLS and must prove the identity that discovery named; outside of it, the address is called
//! as it is, if the policy allows that. What is not known is called by nobody.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use countersign_contract::Refusal;
use countersign_contract::discovery::Kind;
use countersign_contract::policy::Unmeshed;
use rustls_pki_types::UnixTime;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::warn;

use crate::call::{Answered, Calling, unnamed};
use crate::carrier::CarriedAs;
use crate::connection::{Connection, Refused};
use crate::credentials::Serving;
use crate::dial::dial_address;
use crate::discovery::{Book, Destination, Endpoint, Load};
use crate::inbound::serving;
use crate::listen::Accepted;
use crate::live::{About, Table, To};
use crate::metrics::Direction;
use crate::original_dst::original_dst;
use crate::relay::{Relay, reset};
use crate::sweep::catch_up;

/// What every such connection is judged by.
#[derive(Debug)]
pub(crate) struct Transparent {
    /// What is known of destinations.
    pub(crate) book: Arc<Book>,
    /// The addresses of our own pod.
    pub(crate) own: Vec<IpAddr>,
    /// How long it may take until discovery has answered.
    pub(crate) discovery_timeout: Duration,
    /// What servers are called with.
    pub(crate) calling: Calling,
}

/// A server that was reached, and perhaps proved who it is.
struct Reached {
    stream: TcpStream,
    answered: Option<Answered>,
    to: To,
    load: Option<Load>,
}

/// Serves one connection. Nothing that the application sends goes on before it is known where, and
/// the server has proved who it is.
pub(crate) async fn serve(transparent: &Transparent, table: &Arc<Table>, accepted: Accepted) {
    let Accepted { stream, client, permit } = accepted;
    let Calling { metrics, spans, .. } = &transparent.calling;
    let connection = Connection::open(metrics, spans.as_ref(), Direction::outbound, client);
    match Box::pin(call(transparent, table, stream, client)).await {
        Ok((mut relay, load)) => {
            let ended = relay.run().await;
            drop(load);
            connection.tell(relay.live().entry(), &ended);
        }
        Err(refused) => connection.refuse(&refused),
    }
    drop(permit);
}

async fn call(
    transparent: &Transparent,
    table: &Arc<Table>,
    app: TcpStream,
    from: SocketAddr,
) -> Result<(Relay, Option<Load>), Refused> {
    let now = UnixTime::now();
    let reached = async {
        let to = original_dst(&app).ok_or_else(not_redirected)?;
        let serving = serving(&transparent.calling.serving, now)?;
        let reached = reach(transparent, &serving, to).await?;
        Ok((reached, serving))
    };
    // The application must not take a refusal for an answer that is empty.
    let (reached, serving) = reached.await.inspect_err(|_: &Refused| reset(&app))?;
    let Reached { stream, answered, to, load } = reached;
    let (session, early, peer) = match answered {
        Some(Answered { session, early, peer }) => (Some(Box::new(session)), early, Some(peer)),
        None => (None, Vec::new(), None),
    };
    let (direction, since, carrier) = (Direction::outbound, now.as_secs(), CarriedAs::default());
    let about = About { direction, client: from, to, peer, since, carrier };
    let live = table.open(about);
    catch_up(live.entry(), &serving, &transparent.calling.serving);
    Ok((Relay::new(app, stream, session, early, &[], live), load))
}

fn not_redirected() -> Refused {
    let detail = "the connection was made to the sidecar's own port".to_owned();
    Refused::new(Refusal::NoOriginalDestination, detail)
}

/// The first endpoint that answers, of those that may. Each has a deadline for its connection and its
/// handshake together: one that accepts and says nothing keeps nobody from the others.
async fn reach(
    transparent: &Transparent,
    serving: &Arc<Serving>,
    to: SocketAddr,
) -> Result<Reached, Refused> {
    let Transparent { book, calling, .. } = transparent;
    let destination = book.find(to, transparent.discovery_timeout).await?;
    if destination.kind == Kind::Outside {
        return pass(calling, serving, to, To::Address(to), calling.dial_timeout).await;
    }
    let order = book.order(&destination, UnixTime::now().as_secs());
    let none = || Refused::new(Refusal::NoEndpoints, format!("{} {to}", destination.name));
    // Both are for one endpoint: where there are several, they share what the longer one allows.
    let deadline = Instant::now() + calling.dial_timeout.max(calling.handshake_timeout);
    let mut last = none();
    for (place, endpoint) in order.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        // Whoever does not answer must leave time for those that come after.
        let patience = if place + 1 < order.len() { left / 2 } else { left };
        let until = Instant::now() + patience;
        match one(transparent, serving, &destination, endpoint, until).await {
            Ok(reached) => return Ok(reached),
            Err(refused) => {
                if refused.reason != Refusal::UnmeshedNotAllowed {
                    endpoint.failed(UnixTime::now().as_secs(), refused.reason);
                }
                // The last one is told as what the whole connection was refused for.
                if place + 1 < order.len() {
                    let (reason, detail) = (refused.reason.as_str(), &refused.detail);
                    warn!(reason, detail, endpoint = %endpoint.address, "passed over");
                }
                last = refused;
            }
        }
    }
    Err(last)
}

async fn one(
    transparent: &Transparent,
    serving: &Arc<Serving>,
    destination: &Destination,
    endpoint: &Arc<Endpoint>,
    deadline: Instant,
) -> Result<Reached, Refused> {
    let (calling, at) = (&transparent.calling, endpoint.address);
    let load = Some(endpoint.take());
    let left = || deadline.saturating_duration_since(Instant::now());
    let patience = left().min(calling.dial_timeout);
    // Our own pod is reached without leaving it, and without passing our own inbound side.
    if transparent.own.contains(&at.ip()) {
        let reached = connect(calling, at, To::Own(at), patience).await?;
        return Ok(Reached { load, ..reached });
    }
    let to = To::Behind { name: destination.name.clone(), endpoint: at };
    let Some(expected) = &endpoint.peer else {
        let reached = pass(calling, serving, at, to, patience).await?;
        return Ok(Reached { load, ..reached });
    };
    let mut reached = connect(calling, at, to, patience).await?;
    let (credentials, stream) = (&serving.credentials, &mut reached.stream);
    let answered = calling
        .shake(credentials, expected, unnamed(at), stream, left().min(calling.handshake_timeout))
        .await?;
    Ok(Reached { answered: Some(answered), load, ..reached })
}

/// Calls somebody as they are who is not in the mesh, if the policy allows that.
async fn pass(
    calling: &Calling,
    serving: &Serving,
    at: SocketAddr,
    to: To,
    patience: Duration,
) -> Result<Reached, Refused> {
    if serving.policy.unmeshed == Unmeshed::Deny {
        return Err(Refused::new(Refusal::UnmeshedNotAllowed, to.to_string()));
    }
    connect(calling, at, to, patience).await
}

async fn connect(
    calling: &Calling,
    at: SocketAddr,
    to: To,
    patience: Duration,
) -> Result<Reached, Refused> {
    let stream = dial_address(at, patience, calling.kernel_patience).await?;
    Ok(Reached { stream, answered: None, to, load: None })
}
