//! One inbound connection from first byte to last.

mod opening;
mod own_tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_contract::Refusal;
use countersign_contract::policy::{Mode, PortPolicy};
use rustls_pki_types::UnixTime;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::admission::Admission;
use crate::carrier::CarriedAs;
use crate::connection::{Connection, Refused};
use crate::connection_limits::Permit;
use crate::credentials::{Serving, Watched};
use crate::dial::dial;
use crate::discovery::Denials;
use crate::http::{self, Http};
use crate::http_memory::{self, Holder, HttpMemory, Share};
use crate::listen::Accepted;
use crate::live::{About, Table, To};
use crate::metrics::{Direction, Metrics};
use crate::original_dst::original_dst;
use crate::own_addresses::OwnAddresses;
use crate::pending::Place;
use crate::policy::is_allowed;
use crate::proxy_header;
use crate::record::{Session, alert};
use crate::relay::{Relay, reset};
use crate::source_ports::SourcePorts;
use crate::sweep::catch_up;
use crate::tls::Peer;
use crate::tls::handshake;
use crate::traces::Spans;
pub(crate) use opening::of_handshake;

/// What every inbound connection is judged by.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// Where connections go; to where they were redirected from, if unset.
    pub(crate) to: Option<SocketAddr>,
    /// Whose policy holds, where that is not the port that they go to.
    pub(crate) port: Option<u16>,
    /// Our own credentials, and the policy.
    pub(crate) serving: Watched,
    /// The pod's own addresses: no other is called.
    pub(crate) own: OwnAddresses,
    /// Where connections to the application come from.
    pub(crate) ports: SourcePorts,
    /// What connections of which HTTP is read may hold.
    pub(crate) http_memory: Arc<HttpMemory>,
    /// How many connections may be open, and handshakes be under way.
    pub(crate) admission: Arc<Admission>,
    /// How long a peer may take until its first byte.
    pub(crate) first_byte_timeout: Duration,
    /// How long a peer may take until its handshake is done.
    pub(crate) handshake_timeout: Duration,
    /// How long the application may take to accept.
    pub(crate) dial_timeout: Duration,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// Where connections are told of, if anywhere.
    pub(crate) spans: Option<Spans>,
    /// Who was refused by policies, or would have been.
    pub(crate) denials: Arc<Denials>,
    /// Told when nothing new is to begin.
    pub(crate) stop: CancellationToken,
}

/// A client that proved who it is, where it had to.
pub(crate) struct Client {
    pub(crate) session: Option<Box<Session>>,
    /// What it sent behind its handshake, or instead of one.
    pub(crate) early: Vec<u8>,
    pub(crate) peer: Option<Arc<Peer>>,
    /// The protocol that is spoken inside.
    pub(crate) alpn: Option<Vec<u8>>,
    /// The name that it asked for.
    pub(crate) server_name: Option<String>,
    /// The application, where it spoke first; it has been told who calls.
    pub(crate) app: Option<TcpStream>,
}

/// Between whom a connection is.
#[derive(Clone, Copy, Debug)]
struct Ends {
    from: SocketAddr,
    to: SocketAddr,
    /// Whose policy holds.
    port: u16,
}

/// How a connection is carried that was admitted.
#[expect(clippy::large_enum_variant, reason = "a box would be one more of all other ports")]
enum Carrier {
    Bytes(Relay),
    /// Where the application is told with each request who calls.
    Http(Box<Http>),
}

/// Serves one connection. Read this first.
pub(crate) async fn serve(
    inbound: &Inbound,
    table: &Arc<Table>,
    (accepted, place): (Accepted, Place),
) {
    let Accepted { stream, client, permit } = accepted;
    let connection =
        Connection::open(&inbound.metrics, inbound.spans.as_ref(), Direction::inbound, client);
    match Box::pin(admit(inbound, table, stream, client, &permit, place)).await {
        Ok(Carrier::Bytes(mut relay)) => {
            let ended = relay.run().await;
            connection.tell(relay.live().entry(), &ended);
        }
        Ok(Carrier::Http(http)) => {
            let (line, ended) = Box::pin(http.run()).await;
            connection.tell(line.entry(), &ended);
        }
        Err(refused) => connection.refuse(&refused),
    }
    drop(permit);
}

/// Everything up to the first byte of the application's. The backend is dialled only for a client
/// that may pass, so that a stranger costs it nothing.
async fn admit(
    inbound: &Inbound,
    table: &Arc<Table>,
    mut stream: TcpStream,
    from: SocketAddr,
    permit: &Permit,
    place: Place,
) -> Result<Carrier, Refused> {
    let since = UnixTime::now();
    let known = destination(inbound, &stream)
        .and_then(|to| serving(&inbound.serving, since).map(|serving| (to, serving)));
    let (to, serving) = known.inspect_err(|_| reset(&stream))?;
    let port = inbound.port.unwrap_or_else(|| to.port());
    let policy = serving.policy.of_port(port);
    let mut client = match policy.mode {
        Mode::Off => opening::without_handshake(&stream, place)?,
        _ => {
            let ends = Ends { from, to, port };
            opening::handshake(inbound, &serving, policy, &mut stream, (ends, place)).await?
        }
    };
    let has_spoken = client.app.is_some();
    let may_pass = authorised(inbound, policy, &client, port)
        .and_then(|()| counted(&client, permit))
        .and_then(|()| share(inbound, policy, &client, from));
    let app = match (may_pass, client.app.take()) {
        (Ok(share), Some(app)) => Ok((share, app)),
        (Ok(share), None) => inbound.dial(to).await.map(|app| (share, app)),
        (Err(refused), _) => Err(refused),
    };
    let (share, app) = match app {
        Ok(both) => both,
        Err(refused) => return Err(turned_away(stream, &mut client, refused).await),
    };
    let greeting = match has_spoken {
        true => Vec::new(),
        false => proxy_header::of(policy, from, to, &client),
    };
    let told = || http::told(serving.credentials.key.cert.first(), client.peer.as_deref());
    let read = share.map(|share| (told(), share));
    let Client { session, early, peer, .. } = client;
    let (direction, since) = (Direction::inbound, since.as_secs());
    let to = inbound.port.map_or(To::Address(to), |port| To::Served(to, port));
    let carrier = CarriedAs::new(policy, session.is_some(), peer.is_some());
    let about = About { direction, client: from, to, peer, since, carrier };
    let live = table.open(about);
    catch_up(live.entry(), &serving, &inbound.serving);
    if let Some((told, share)) = read {
        let ends = http::Ends { app, peer: stream, session, early, greeting };
        return Ok(Carrier::Http(Http::new(ends, told, share, live, inbound)));
    }
    Ok(Carrier::Bytes(Relay::new(app, stream, session, early, &greeting, live)))
}

fn authorised(
    inbound: &Inbound,
    policy: &PortPolicy,
    client: &Client,
    port: u16,
) -> Result<(), Refused> {
    let peer = client.peer.as_deref();
    let who = || peer.map_or_else(|| "anonymous".to_owned(), ToString::to_string);
    if !is_allowed(policy, peer) {
        inbound.denials.note(policy, port, peer, false);
        let detail = match policy.policies.is_empty() {
            true => format!("{} on port {port}", who()),
            false => format!("{} on port {port}, by {}", who(), policy.policies.join(", ")),
        };
        return Err(Refused::new(Refusal::PeerNotAllowed, detail));
    }
    if policy.would_refuse(peer.map(Peer::caller).as_ref()) {
        inbound.denials.note(policy, port, peer, true);
        let policies = policy.audited_policies.join(", ");
        info!(peer = who(), port, policies, "would be refused: these policies are only audited");
    }
    Ok(())
}

/// Clients that prove no identity leave room for those that do.
fn counted(client: &Client, permit: &Permit) -> Result<(), Refused> {
    if client.peer.is_some() {
        return Ok(());
    }
    let counted = permit.count_as_unidentified();
    counted.map_err(|exceeded| Refused::new(Refusal::Overloaded, exceeded.to_string()))
}

/// The memory of a connection of which HTTP is read.
fn share(
    inbound: &Inbound,
    policy: &PortPolicy,
    client: &Client,
    from: SocketAddr,
) -> Result<Option<Share>, Refused> {
    if !policy.forwarded_client_cert {
        return Ok(None);
    }
    let holder = Holder::new(from.ip(), client.peer.is_some());
    let share = inbound.http_memory.take(holder, http_memory::CONNECTION);
    let detail =
        || "connections whose HTTP is read hold as much as --http-memory allows".to_owned();
    share.map(Some).ok_or_else(|| Refused::new(Refusal::Overloaded, detail()))
}

/// Tells a client whose handshake is done, by an alert, that it goes no further.
async fn turned_away(mut stream: TcpStream, client: &mut Client, refused: Refused) -> Refused {
    let alert = match refused.reason {
        Refusal::PeerNotAllowed => alert::ACCESS_DENIED,
        _ => alert::INTERNAL_ERROR,
    };
    let mut said = [0; 64];
    let sealed = client.session.as_mut().map(|session| session.seal_alert(alert, &mut said));
    match sealed {
        Some(Ok(len)) => handshake::last_word(&mut stream, &said[..len]).await,
        _ => reset(&stream),
    }
    refused
}

/// What handshakes are made with now.
pub(crate) fn serving(watched: &Watched, now: UnixTime) -> Result<Arc<Serving>, Refused> {
    let state = watched.borrow();
    let missing = || Refused::new(Refusal::NoCredentials, state.missing(now).unwrap_or_default());
    state.usable(now).ok_or_else(missing)
}

/// Where a connection goes. One that was redirected goes to an address of this pod, or nowhere: a
/// neighbour can send packets for any address to the pod's interface.
fn destination(inbound: &Inbound, stream: &TcpStream) -> Result<SocketAddr, Refused> {
    if let Some(to) = inbound.to {
        return Ok(to);
    }
    let detail = || "the connection was made to the sidecar's own port".to_owned();
    let to = original_dst(stream)
        .ok_or_else(|| Refused::new(Refusal::NoOriginalDestination, detail()))?;
    match inbound.own.contain(to) {
        true => Ok(to),
        false => Err(Refused::new(Refusal::ForeignDestination, to.to_string())),
    }
}

impl Inbound {
    /// Connects to the application.
    async fn dial(&self, to: SocketAddr) -> Result<TcpStream, Refused> {
        dial(to, self.own.source_towards(to), &self.ports, self.dial_timeout).await
    }
}

impl Client {
    fn greeted(app: TcpStream) -> Self {
        Self { app: Some(app), ..Self::plain(Vec::new()) }
    }

    fn plain(early: Vec<u8>) -> Self {
        Self { session: None, early, peer: None, alpn: None, server_name: None, app: None }
    }
}
