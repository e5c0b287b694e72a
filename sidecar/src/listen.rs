//! Accepts connections, and waits when it cannot.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::connection_limits::Permit;
use crate::pacing;

/// How many connections the kernel keeps for us before we accept them.
const BACKLOG: i32 = 4096;

/// How many of them are accepted at the end before others have their turn.
const ACCEPTED_AT_ONCE: i32 = 64;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listening on {address}: {source}")]
pub struct Error {
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    pub source: std::io::Error,
}

/// Listens; several workers may, on the same address. What is set here holds for every connection
/// that is accepted, without a call for each. A peer that acknowledges nothing, or reads nothing,
/// for `patience` is given up by the kernel (TCP_USER_TIMEOUT, RFC 5482).
pub(crate) fn listen(
    address: SocketAddr,
    patience: Option<Duration>,
) -> Result<std::net::TcpListener, Error> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            // IPv4 clients come as mapped addresses, on the same socket.
            socket.set_only_v6(false)?;
        }
        tune(&socket, patience)?;
        pacing::spare(SockRef::from(&socket));
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        std::io::Result::Ok(socket.into())
    };
    bound().map_err(|source| Error { address, source })
}

/// The same, but on `[::]` where the kernel has no IPv6, IPv4 clients alone are served.
pub(crate) fn listen_on_any(address: SocketAddr) -> Result<std::net::TcpListener, Error> {
    match listen(address, None) {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && has_no_ipv6(&error.source) => {
            listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())), None)
        }
        listening => listening,
    }
}

fn has_no_ipv6(error: &std::io::Error) -> bool {
    // EAFNOSUPPORT has no name in std.
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == std::io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// A connection, and the right to have it open.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) client: SocketAddr,
    pub(crate) permit: Permit,
}

/// Accepts until `stop` is cancelled, and then those who came before.
pub(crate) async fn accept_all(
    listener: &TcpListener,
    stop: &CancellationToken,
    mut serve: impl FnMut(TcpStream, SocketAddr),
) {
    let mut stopped = pin!(stop.cancelled());
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                backoff = Backoff::default();
                pacing::accepted(&stream, client);
                serve(stream, unmapped(client));
            }
            Err(error) => backoff.wait(&error).await,
        }
    }
    // To a client its connection stands as soon as the kernel has it: closing would reset it. Clients that
    // go on connecting hold up neither the drain nor what this thread serves beside.
    for place in 1..=BACKLOG {
        let Some((stream, client)) = waiting(listener) else { break };
        pacing::accepted(&stream, client);
        serve(stream, unmapped(client));
        if place % ACCEPTED_AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Who waits to be accepted, whether or not tokio has heard of it.
fn waiting(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    let (socket, client) = SockRef::from(listener).accept().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((TcpStream::from_std(socket.into()).ok()?, client.as_socket()?))
}

/// Most likely we are out of descriptors: they come back as connections end.
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(Duration::from_millis(5))
    }
}

impl Backoff {
    async fn wait(&mut self, error: &std::io::Error) {
        warn!(%error, "accepting");
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(1));
    }
}

/// An IPv4 client of a socket of both families appears as a mapped IPv6 address.
pub(crate) fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Small answers are not held back, and a peer that is gone is noticed.
fn tune(socket: &Socket, patience: Option<Duration>) -> std::io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(patience)
}

/// The same for a connection that we made.
pub(crate) fn tuned(stream: TcpStream, patience: Option<Duration>) -> TcpStream {
    let socket = SockRef::from(&stream);
    if let Err(error) = tune(&socket, patience) {
        warn!(%error, "socket options");
    }
    stream
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn queue_is_emptied_at_the_end_in_turns_and_not_without_end() {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let at = listener.local_addr().unwrap();
        let connect = || std::net::TcpStream::connect(at).unwrap();
        let clients: Vec<_> = (0..100).map(|_| connect()).collect();
        let stop = CancellationToken::new();
        stop.cancel();
        let (accepted, more) = (Cell::new(0), Cell::new(Vec::new()));
        let mut accepting = pin!(accept_all(&listener, &stop, |_, _| {
            accepted.set(accepted.get() + 1);
            // Each is followed by another one, as in a flood.
            let mut connected = more.take();
            connected.push(connect());
            if connected.len() > 200 {
                connected.remove(0);
            }
            more.set(connected);
        }));
        assert!(futures::poll!(&mut accepting).is_pending(), "others have their turn");
        assert_eq!(accepted.get(), ACCEPTED_AT_ONCE);
        accepting.await;
        assert_eq!(accepted.get(), BACKLOG);
        drop(clients);
    }
}
