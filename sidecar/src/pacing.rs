//! Connections that do not leave the machine are not paced.
//!
//! Congestion control that finds out the rate of a path, and sends no faster (BBR), pays for that
//! with a timer and a wake-up every few segments. Between two programs of one pod there is no path:
//! neither loss nor queue but the reader's own. Where the machine's own choice is one that paces,
//! such connections get Reno, which is in every kernel and open to every program (tcp(7)), and all
//! others keep that choice. It must be made before a connection is: pacing that has begun goes on.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpStream;

const UNPACED: &[u8] = b"reno";

/// The machine's own choice, if it paces, and if we may choose between it and Reno.
static PACED: LazyLock<Option<Vec<u8>>> = LazyLock::new(|| {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).ok()?;
    let own = named(socket.tcp_congestion().ok()?);
    socket.set_tcp_congestion(UNPACED).ok()?;
    socket.set_tcp_congestion(&own).ok()?;
    paces(&own).then_some(own)
});

/// The kernel fills up what it was given.
fn named(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
    name
}

fn paces(name: &[u8]) -> bool {
    name.starts_with(b"bbr")
}

/// Of a socket that is about to connect to this machine, or to listen: those that are accepted
/// inherit it, until it is known where they come from.
pub(crate) fn spare(socket: SockRef<'_>) {
    if PACED.is_some() {
        choose(&socket, UNPACED);
    }
}

/// Gives an accepted connection that came from elsewhere the machine's own choice again.
pub(crate) fn accepted(stream: &TcpStream, client: SocketAddr) {
    let Some(own) = &*PACED else { return };
    let here = stream.local_addr().map(|here| here.ip());
    if !here.is_ok_and(|here| is_near(here, client.ip())) {
        choose(&SockRef::from(stream), own);
    }
}

/// Whether both ends of a connection are on this machine: what is sent from an address to itself, or
/// to or from one of the loopback, never leaves it. Pure.
pub(crate) fn is_near(here: IpAddr, there: IpAddr) -> bool {
    let (here, there) = (here.to_canonical(), there.to_canonical());
    here == there || here.is_loopback() || there.is_loopback()
}

fn choose(socket: &SockRef<'_>, name: &[u8]) {
    if let Err(error) = socket.set_tcp_congestion(name) {
        tracing::debug!(%error, "congestion control");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_leaves_the_machine_is_near() {
        let cases = [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.8.0.2", true),
            // What was redirected: the client has the pod's address.
            ("127.0.0.1", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("::ffff:10.1.2.3", "10.1.2.3", true),
            ("::1", "::1", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("fd00::1", "fd00::2", false),
            ("::ffff:10.1.2.3", "::ffff:10.1.2.4", false),
        ];
        for (here, there, expected) in cases {
            let near = is_near(here.parse().unwrap(), there.parse().unwrap());
            assert_eq!(near, expected, "{here} {there}");
        }
    }

    #[test]
    fn the_name_of_an_algorithm_ends_where_the_kernel_stopped() {
        assert_eq!(named(b"bbr\0\0\0".to_vec()), b"bbr");
        assert_eq!(named(b"reno".to_vec()), b"reno");
        assert!(paces(b"bbr") && paces(b"bbr3") && !paces(b"cubic") && !paces(b"reno"));
    }
}
