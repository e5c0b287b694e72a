//! A connection after its handshake.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, bail, ensure};

use super::record::{self, Half, Kind};

/// An alert that tells of an orderly end (RFC 8446, 6.1).
const CLOSE_NOTIFY: [u8; 2] = [1, 0];

/// Bytes go in and come out; the records are sealed and opened here.
pub(crate) struct Channel {
    stream: TcpStream,
    sealing: Half,
    opening: Half,
    out: Vec<u8>,
    held: Vec<u8>,
    /// Of `held`, what was read and not opened yet.
    from: usize,
    to: usize,
}

impl Channel {
    pub(crate) fn new(stream: TcpStream, sealing: Half, opening: Half) -> Self {
        let held = vec![0; record::FULL + record::OVERHEAD + 256];
        Self { stream, sealing, opening, out: Vec::new(), held, from: 0, to: 0 }
    }

    /// Reads this much at once from now on.
    pub(crate) fn read_at_once(&mut self, bytes: usize) {
        self.held.resize(bytes.max(self.held.len()), 0);
    }

    /// Gives its buffers back: it will stand idle.
    pub(crate) fn rest(&mut self) {
        (self.out, self.held) = (Vec::new(), Vec::new());
    }

    /// Seals everything, and writes it in one go.
    pub(crate) fn write(&mut self, plain: &[u8]) -> anyhow::Result<()> {
        self.out.clear();
        for piece in plain.chunks(record::FULL) {
            self.sealing.seal(Kind::Data, piece, &mut self.out)?;
        }
        self.stream.write_all(&self.out).context("writing to the terminator")
    }

    /// The next bytes that came; nothing at an orderly end.
    pub(crate) fn read(&mut self) -> anyhow::Result<Option<&[u8]>> {
        loop {
            let Some(end) = self.fill()? else { return Ok(None) };
            let start = std::mem::replace(&mut self.from, end);
            let (kind, plain) = self.opening.open(&mut self.held[start..end])?;
            let range = (start + record::HEAD, plain.len());
            match kind {
                Kind::Data => return Ok(Some(&self.held[range.0..range.0 + range.1])),
                // Session tickets, which some send whatever they are told.
                Kind::Handshake => {}
                Kind::Alert if plain == CLOSE_NOTIFY => return Ok(None),
                Kind::Alert => bail!("the terminator sent the alert {plain:?}"),
            }
        }
    }

    /// Reads until a whole record is held, and tells where it ends.
    fn fill(&mut self) -> anyhow::Result<Option<usize>> {
        loop {
            let held = &self.held[self.from..self.to];
            if let Some(length) = record::length(held) {
                ensure!(length <= self.held.len(), "a record of {length} bytes");
                if held.len() >= length {
                    return Ok(Some(self.from + length));
                }
            }
            self.held.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
            let read = self.stream.read(&mut self.held[self.to..]);
            match read.context("reading from the terminator")? {
                0 if self.to == 0 => return Ok(None),
                0 => bail!("the terminator closed within a record"),
                read => self.to += read,
            }
        }
    }

    /// Reads this many bytes, whatever they are.
    pub(crate) fn read_exact(&mut self, bytes: usize) -> anyhow::Result<()> {
        let mut missing = bytes;
        while missing > 0 {
            let piece = self.read()?.context("the terminator closed before the answer")?;
            missing = missing.checked_sub(piece.len()).context("more came than was asked for")?;
        }
        Ok(())
    }

    /// Says that nothing more will be sent; reading goes on.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        self.out.clear();
        self.sealing.seal(Kind::Alert, &CLOSE_NOTIFY, &mut self.out)?;
        self.stream.write_all(&self.out).context("closing towards the terminator")
    }

    /// Closes in order.
    pub(crate) fn close(mut self) -> anyhow::Result<()> {
        self.finish()
    }
}
