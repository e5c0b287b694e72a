//! Connects, to one address or to a name, with a deadline.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use countersign_contract::Refusal;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::args::Target;
use crate::connection::Refused;
use crate::listen::tuned;
use crate::source_ports::SourcePorts;

/// Connects to the application. It is in the same pod: whether it is gone, the kernel knows.
pub(crate) async fn dial(
    address: SocketAddr,
    source: Option<IpAddr>,
    ports: &SourcePorts,
    patience: Duration,
) -> Result<TcpStream, Refused> {
    let deadline = Instant::now() + patience;
    connected(address, deadline, ports.connect(address, source)).await
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

/// Each address leaves half of the time that is left to those after it: one that does not answer must
/// not make the others unreachable.
async fn dial_any(
    addresses: impl Iterator<Item = SocketAddr>,
    deadline: Instant,
) -> Result<TcpStream, Refused> {
    let mut last = Refused::new(Refusal::ResolveFailed, "the name has no address".to_owned());
    let mut addresses = addresses.peekable();
    while let Some(address) = addresses.next() {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let until = if addresses.peek().is_some() { now + left / 2 } else { deadline };
        match connected(address, until, TcpStream::connect(address)).await {
            Err(refused) => last = refused,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        // A listener whose queue is full drops what comes (listen(2)), as a black hole does.
        let full =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        full.listen(0).unwrap();
        let silent = full.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = Vec::new();
        while let Ok(Ok(stream)) =
            tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(silent)).await
        {
            waiting.push(stream);
        }
        let answers = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let right = answers.local_addr().unwrap();
        let deadline = Instant::now() + Duration::from_secs(2);
        let stream = dial_any([silent, right].into_iter(), deadline).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), right);
        let deadline = Instant::now() + Duration::from_millis(100);
        let refused = dial_any([silent].into_iter(), deadline).await.unwrap_err();
        assert_eq!(refused.reason, Refusal::DialTimeout);
    }
}
