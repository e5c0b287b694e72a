//! One outbound connection to an upstream that was named: the mirror of `inbound`.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_contract::{ExpectedPeer, Refusal};
use rustls_pki_types::{ServerName, UnixTime};
use tokio::net::TcpStream;

use crate::args::Target;
use crate::call::{Answered, Calling};
use crate::carrier::CarriedAs;
use crate::connection::{Connection, Refused};
use crate::dial::dial_target;
use crate::inbound::serving;
use crate::listen::Accepted;
use crate::live::{About, Live, Table, To};
use crate::metrics::Direction;
use crate::record::Session;
use crate::relay::{Relay, reset};
use crate::sweep::catch_up;

/// Where an upstream is, and who must answer.
#[derive(Debug)]
pub(crate) struct Outbound {
    /// Where it is.
    pub(crate) to: Target,
    /// The same, for people.
    pub(crate) name: Arc<str>,
    /// Who must answer.
    pub(crate) peer: ExpectedPeer,
    /// What it is called with.
    pub(crate) calling: Calling,
}

/// Serves one connection. Nothing that the application sends goes on before the server has proved
/// who it is.
pub(crate) async fn serve(outbound: &Outbound, table: &Arc<Table>, accepted: Accepted) {
    let Accepted { stream, client, permit } = accepted;
    let Calling { metrics, spans, .. } = &outbound.calling;
    let connection = Connection::open(metrics, spans.as_ref(), Direction::outbound, client);
    match Box::pin(call(outbound, table, stream, client)).await {
        Ok(mut relay) => {
            let ended = relay.run().await;
            connection.tell(relay.live().entry(), &ended);
        }
        Err(refused) => connection.refuse(&refused),
    }
    drop(permit);
}

async fn call(
    outbound: &Outbound,
    table: &Arc<Table>,
    app: TcpStream,
    from: SocketAddr,
) -> Result<Relay, Refused> {
    match answered(outbound, table, from).await {
        Ok((stream, session, early, live)) => {
            Ok(Relay::new(app, stream, Some(Box::new(session)), early, &[], live))
        }
        Err(refused) => {
            // The application must not take a refusal for an answer that is empty.
            reset(&app);
            Err(refused)
        }
    }
}

/// The server that was expected, and nobody else.
async fn answered(
    outbound: &Outbound,
    table: &Arc<Table>,
    from: SocketAddr,
) -> Result<(TcpStream, Session, Vec<u8>, Live), Refused> {
    let Outbound { to: target, peer: expected, calling, name } = outbound;
    let now = UnixTime::now();
    let serving = serving(&calling.serving, now)?;
    let host = ServerName::try_from(target.host.clone())
        .map_err(|error| Refused::new(Refusal::ResolveFailed, error.to_string()))?;
    let (timeout, patience) = (calling.dial_timeout, calling.kernel_patience);
    let mut stream = dial_target(target, timeout, patience).await?;
    let made = calling
        .shake(&serving.credentials, expected, host, &mut stream, calling.handshake_timeout)
        .await?;
    let Answered { session, early, peer } = made;
    let about = About {
        direction: Direction::outbound,
        client: from,
        to: To::Name(name.clone()),
        peer: Some(peer),
        since: now.as_secs(),
        carrier: CarriedAs::default(),
    };
    let live = table.open(about);
    catch_up(live.entry(), &serving, &calling.serving);
    Ok((stream, session, early, live))
}
