//! Accepts connections, and waits when it cannot.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
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
pub(crate) struct Accepting<'a> {
    listener: &'a TcpListener,
    /// Goes once it has resolved.
    stopped: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    backoff: Backoff,
    /// Accepted since.
    accepted_late: i32,
}

impl<'a> Accepting<'a> {
    pub(crate) fn new(listener: &'a TcpListener, stop: &CancellationToken) -> Self {
        let stopped = Some(Box::pin(stop.clone().cancelled_owned()));
        Self { listener, stopped, backoff: Backoff::default(), accepted_late: 0 }
    }

    /// The next connection; nothing, once all are served.
    pub(crate) async fn next(&mut self) -> Option<(TcpStream, SocketAddr)> {
        while let Some(stopped) = &mut self.stopped {
            let accepted = tokio::select! {
                biased;
                () = stopped => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok(accepted) => {
                    self.backoff = Backoff::default();
                    return Some(seen(accepted));
                }
                Err(error) => self.backoff.wait(&error).await,
            }
        }
        self.stopped = None;
        self.next_that_waits().await.map(seen)
    }

    /// To a client its connection stands as soon as the kernel has it: closing would reset it. Clients that
    /// go on connecting hold up neither the drain nor what this thread serves beside.
    async fn next_that_waits(&mut self) -> Option<(TcpStream, SocketAddr)> {
        if self.accepted_late == BACKLOG {
            return None;
        }
        self.accepted_late += 1;
        if self.accepted_late % ACCEPTED_AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
        waiting(self.listener)
    }
}

fn seen((stream, client): (TcpStream, SocketAddr)) -> (TcpStream, SocketAddr) {
    pacing::accepted(&stream, client);
    (stream, unmapped(client))
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
    use std::pin::pin;

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
        let mut accepting = pin!(async {
            let mut accepting = Accepting::new(&listener, &stop);
            while accepting.next().await.is_some() {
                accepted.set(accepted.get() + 1);
                // Each is followed by another one, as in a flood.
                let mut connected = more.take();
                connected.push(connect());
                if connected.len() > 200 {
                    connected.remove(0);
                }
                more.set(connected);
            }
        });
        assert!(futures::poll!(&mut accepting).is_pending(), "others have their turn");
        assert_eq!(accepted.get(), ACCEPTED_AT_ONCE - 1);
        accepting.await;
        assert_eq!(accepted.get(), BACKLOG);
        drop(clients);
    }
}
