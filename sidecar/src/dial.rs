//! Connects, to one address or to a name, with a deadline.

use std::net::SocketAddr;
use std::time::Duration;

use countersign_contract::Refusal;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::args::Target;
use crate::connection::Refused;
use crate::listen::tuned;
use crate::pacing;

/// Connects to the application. It is in the same pod: whether it is gone, the kernel knows.
pub(crate) async fn dial(address: SocketAddr, patience: Duration) -> Result<TcpStream, Refused> {
    let deadline = Instant::now() + patience;
    connected(address, deadline, async { near(address)?.connect(address).await }).await
}

/// A socket for a connection within the pod, whose small answers are not held back.
fn near(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    pacing::spare(SockRef::from(&socket));
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Connects to an address outside of the pod.
pub(crate) async fn dial_address(
    address: SocketAddr,
    patience: Duration,
    kernel_patience: Option<Duration>,
) -> Result<TcpStream, Refused> {
    let deadline = Instant::now() + patience;
    let stream = connected(address, deadline, TcpStream::connect(address)).await?;
    Ok(tuned(stream, kernel_patience))
}

/// Resolves a name and connects to the first of its addresses that answers.
pub(crate) async fn dial_target(
    target: &Target,
    patience: Duration,
    kernel_patience: Option<Duration>,
) -> Result<TcpStream, Refused> {
    let deadline = Instant::now() + patience;
    let unresolved = |detail: String| Refused::new(Refusal::ResolveFailed, detail);
    let resolved = timeout_at(deadline, lookup_host((target.host.as_str(), target.port))).await;
    let addresses = resolved
        .map_err(|_| unresolved(format!("{} was not resolved in time", target.host)))?
        .map_err(|error| unresolved(format!("{}: {error}", target.host)))?;
    dial_any(addresses, deadline).await.map(|stream| tuned(stream, kernel_patience))
}

async fn dial_any(
    addresses: impl Iterator<Item = SocketAddr>,
    deadline: Instant,
) -> Result<TcpStream, Refused> {
    let mut last = Refused::new(Refusal::ResolveFailed, "the name has no address".to_owned());
    for address in addresses {
        match connected(address, deadline, TcpStream::connect(address)).await {
            Err(refused) if refused.reason == Refusal::DialFailed => last = refused,
            connected => return connected,
        }
    }
    Err(last)
}

async fn connected(
    address: SocketAddr,
    deadline: Instant,
    connecting: impl Future<Output = std::io::Result<TcpStream>>,
) -> Result<TcpStream, Refused> {
    match timeout_at(deadline, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Refused::new(Refusal::DialFailed, format!("{address}: {error}"))),
        Err(_) => Err(Refused::new(Refusal::DialTimeout, address.to_string())),
    }
}
