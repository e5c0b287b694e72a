//! Single reads and writes of a socket that tokio watches.
//!
//! A read that does not fill its room has emptied the socket, and a write that does not take all has
//! filled it. tokio's own `poll_read` knows that, its `try_read` does not: it would ask the kernel
//! once more, each time. Telling tokio that the call would have blocked has the same effect.

use std::io;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Reads once into `room`; nothing if there is nothing to read. 0 is the end.
pub(crate) fn read(stream: &TcpStream, room: &mut [u8]) -> io::Result<Option<usize>> {
    let whole = room.len();
    attempt(stream, Interest::READABLE, whole, || {
        Ok(rustix::net::recv(stream, &mut *room, RecvFlags::empty())?.0)
    })
}

/// Reads once, whatever tokio knows of the socket.
pub(crate) fn read_now(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(stream, room, RecvFlags::DONTWAIT)?.0)
}

/// Reads once onto the end of a vector, which becomes no longer than `most`.
pub(crate) fn read_onto(
    stream: &TcpStream,
    bytes: &mut Vec<u8>,
    most: usize,
) -> io::Result<Option<usize>> {
    let mut room = [0; 4096];
    let len = room.len().min(most - bytes.len());
    let read = read(stream, &mut room[..len])?;
    bytes.extend_from_slice(&room[..read.unwrap_or_default()]);
    Ok(read)
}

/// Writes once; nothing if nothing can be taken. What is the last goes out with the end that
/// follows at once, as one segment.
fn write(stream: &TcpStream, bytes: &[u8], is_last: bool) -> io::Result<Option<usize>> {
    let more = if is_last { SendFlags::MORE } else { SendFlags::empty() };
    attempt(stream, Interest::WRITABLE, bytes.len(), || {
        Ok(rustix::net::send(stream, bytes, SendFlags::NOSIGNAL | more)?)
    })
}

/// Writes once, or has the task woken when that is worth trying.
pub(crate) fn poll_write(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    bytes: &[u8],
    is_last: bool,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        if let Some(written) = write(stream, bytes, is_last)? {
            return Poll::Ready(Ok(written));
        }
    }
}

fn attempt(
    stream: &TcpStream,
    interest: Interest,
    whole: usize,
    call: impl FnOnce() -> io::Result<usize>,
) -> io::Result<Option<usize>> {
    let mut short = None;
    let tried = stream.try_io(interest, || {
        let done = call()?;
        if 0 < done && done < whole {
            short = Some(done);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(done)
    });
    match tried {
        Ok(done) => Ok(Some(done)),
        Err(_) if short.is_some() => Ok(short),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        },
    }
}

/// Says that nothing more will be sent.
pub(crate) fn end(stream: &TcpStream) -> io::Result<()> {
    match socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write) {
        // The other side has closed meanwhile: it will be seen when it is read.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        ended => ended,
    }
}

/// Ends a connection so that whoever reads from it cannot take what came for the whole.
pub(crate) fn reset(stream: &TcpStream) {
    let set = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
    if let Err(error) = set {
        tracing::debug!(%error, "resetting");
    }
}
