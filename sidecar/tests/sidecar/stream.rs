//! The peer's end of a connection, whose last words can be chosen.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustix::net::{SendFlags, send};
use rustls::Connection;
use socket2::SockRef;

/// With TLS or without.
pub(crate) struct Peer {
    pub(crate) sock: TcpStream,
    pub(crate) tls: Option<Connection>,
}

impl Peer {
    pub(crate) fn plain(sock: TcpStream) -> Self {
        Self { sock, tls: None }
    }

    /// Makes the handshake.
    pub(crate) fn shaken(sock: TcpStream, tls: impl Into<Connection>) -> Self {
        Self::try_shaken(sock, tls).unwrap()
    }

    pub(crate) fn try_shaken(mut sock: TcpStream, tls: impl Into<Connection>) -> io::Result<Self> {
        let mut tls = tls.into();
        while tls.is_handshaking() {
            tls.complete_io(&mut sock)?;
        }
        while tls.wants_write() {
            tls.write_tls(&mut sock)?;
        }
        Ok(Self { sock, tls: Some(tls) })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return self.sock.write_all(bytes) };
        for piece in bytes.chunks(32 * 1024) {
            tls.writer().write_all(piece)?;
            while tls.wants_write() {
                tls.write_tls(&mut self.sock)?;
            }
        }
        Ok(())
    }

    /// Says that it will send no more, where TLS has a word for it.
    pub(crate) fn close_notify(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        tls.send_close_notify();
        while tls.wants_write() {
            tls.write_tls(&mut self.sock).unwrap();
        }
    }

    pub(crate) fn fin(&self) {
        self.sock.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends as one should.
    pub(crate) fn end(&mut self) {
        self.close_notify();
        self.fin();
    }

    /// Sends something and its end in one segment.
    pub(crate) fn send_with_end(&mut self, bytes: &[u8]) {
        let mut together = Vec::new();
        match &mut self.tls {
            None => together.extend_from_slice(bytes),
            Some(tls) => {
                tls.writer().write_all(bytes).unwrap();
                tls.send_close_notify();
                while tls.wants_write() {
                    tls.write_tls(&mut together).unwrap();
                }
            }
        }
        send_with_fin(&self.sock, &together);
    }

    /// Reads until the other side's end, which must be a clean one.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.read_to_end(&mut all)?;
        Ok(all)
    }
}

impl Read for Peer {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.sock.read(room) };
        loop {
            match tls.reader().read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            tls.read_tls(&mut self.sock)?;
            tls.process_new_packets().map_err(io::Error::other)?;
            while tls.wants_write() {
                tls.write_tls(&mut self.sock)?;
            }
        }
    }
}

/// The kernel holds back what is said to have more behind it, and sends it with the end.
pub(crate) fn send_with_fin(stream: &TcpStream, bytes: &[u8]) {
    assert_eq!(send(stream, bytes, SendFlags::MORE).unwrap(), bytes.len());
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Breaks a connection off.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// What a stream still holds, where its end must be clean.
pub(crate) fn rest(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    Ok(all)
}

/// Whether this is what a reader sees of a connection that was broken off.
pub(crate) fn is_reset<T: std::fmt::Debug>(read: &io::Result<T>) -> bool {
    read.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}
