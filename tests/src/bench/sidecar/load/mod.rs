//! The load, which must cost less than what it measures: blocking threads, no runtime, and after the
//! handshake no TLS library either.
//!
//! `client` connects, `record` seals and opens what then goes through a `channel`, `backend` is the
//! plain server behind the terminator, and `pattern` says what bytes every stream carries.

use socket2::SockRef;

pub(super) mod backend;
pub(super) mod channel;
pub(super) mod client;
pub(super) mod pattern;
pub(super) mod record;

/// What the load sends is not paced. Where the machine's congestion control does that (BBR), the
/// timers run on whichever core acknowledged last, which is the terminator's: it would be measured
/// with the work of the load in it.
fn unpaced(socket: SockRef<'_>) -> std::io::Result<()> {
    socket.set_tcp_congestion(b"reno")
}
