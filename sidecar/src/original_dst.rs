//! Where a connection went before it was redirected (SO_ORIGINAL_DST).

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;

use crate::listen::unmapped;

/// The address that the client asked for; nothing if the connection was not redirected.
pub(crate) fn original_dst(stream: &TcpStream) -> Option<SocketAddr> {
    let local = unmapped(stream.local_addr().ok()?);
    let socket = socket2::SockRef::from(stream);
    let found = match local.ip() {
        IpAddr::V4(_) => socket.original_dst_v4(),
        IpAddr::V6(_) => socket.original_dst_v6(),
    };
    let asked = unmapped(found.ok()?.as_socket()?);
    (asked != local).then_some(asked)
}
