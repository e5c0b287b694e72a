//! Accepts connections, no more than may be open, and waits when it cannot.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listening on {address}: {source}")]
pub struct Error {
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    pub source: std::io::Error,
}

/// Listens; several workers may, on the same address.
pub(crate) fn listen(address: SocketAddr) -> Result<std::net::TcpListener, Error> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            // IPv4 clients come as mapped addresses, on the same socket.
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        socket.set_nonblocking(true)?;
        std::io::Result::Ok(socket.into())
    };
    bound().map_err(|source| Error { address, source })
}

/// A connection, and the right to have it open.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) client: SocketAddr,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// The next connection; nothing once `stop` is cancelled. The right to a connection is taken
/// before it is accepted: those for whom there is none wait in the kernel's queue.
pub(crate) async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<Accepted> {
    let mut backoff = Duration::from_millis(5);
    let permit = tokio::select! {
        permit = permits.clone().acquire_owned() => permit.ok()?,
        () = stop.cancelled() => return None,
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return None,
        };
        match accepted {
            Ok((stream, client)) => {
                let client = unmapped(client);
                return Some(Accepted { stream: tuned(stream), client, permit });
            }
            Err(error) => {
                // Most likely out of descriptors: they come back as connections end.
                warn!(%error, "accepting");
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(Duration::from_secs(1));
            }
        }
    }
}

/// An IPv4 client of a socket of both families appears as a mapped IPv6 address.
pub(crate) fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Small answers are not held back, and a peer that is gone is noticed.
pub(crate) fn tuned(stream: TcpStream) -> TcpStream {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    let set = stream
        .set_nodelay(true)
        .and_then(|()| socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = set {
        warn!(%error, "socket options");
    }
    stream
}
