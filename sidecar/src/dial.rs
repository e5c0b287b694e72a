//! Connects, to one address or to a name, with a deadline.

use std::net::SocketAddr;
use std::time::Duration;

use countersign_contract::Refusal;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::args::Target;
use crate::connection::Refused;
use crate::listen::tuned;

/// Connects to the application. It is in the same pod: whether it is gone, the kernel knows.
pub(crate) async fn dial(address: SocketAddr, patience: Duration) -> Result<TcpStream, Refused> {
    let stream = dial_any([address].into_iter(), Instant::now() + patience).await?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "socket options");
    }
    Ok(stream)
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
        match timeout_at(deadline, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                last = Refused::new(Refusal::DialFailed, format!("{address}: {error}"))
            }
            Err(_) => return Err(Refused::new(Refusal::DialTimeout, address.to_string())),
        }
    }
    Err(last)
}
