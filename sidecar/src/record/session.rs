//! Both directions of one connection.

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets, ProtocolVersion, SupportedCipherSuite};

use super::error::Error;
use super::frame::{Frame, frame};
use super::handshake::{KEY_UPDATE, Message, Messages};
use super::key::Key;
use super::{HEADER, MAX_PLAINTEXT, OVERHEAD, alert, kind};

/// How many messages that carry no data a peer may send in a row: it could keep us busy with them
/// for ever. As many as rustls allows.
const PATIENCE: u8 = 32;

/// A key is changed so many records before it may not be used any more.
const MARGIN: u64 = 1 << 16;

/// The key schedule, which rustls keeps.
pub enum Negotiated {
    /// We are the server.
    Server(KernelConnection<ServerConnectionData>),
    /// We are the client.
    Client(KernelConnection<ClientConnectionData>),
}

impl Negotiated {
    fn version(&self) -> ProtocolVersion {
        match self {
            Self::Server(kernel) => kernel.protocol_version(),
            Self::Client(kernel) => kernel.protocol_version(),
        }
    }

    fn limit(&self) -> u64 {
        let suite = match self {
            Self::Server(kernel) => kernel.negotiated_cipher_suite(),
            Self::Client(kernel) => kernel.negotiated_cipher_suite(),
        };
        match suite {
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
        }
    }

    fn next_tx(&mut self) -> Result<(u64, ConnectionTrafficSecrets), rustls::Error> {
        match self {
            Self::Server(kernel) => kernel.update_tx_secret(),
            Self::Client(kernel) => kernel.update_tx_secret(),
        }
    }

    fn next_rx(&mut self) -> Result<(u64, ConnectionTrafficSecrets), rustls::Error> {
        match self {
            Self::Server(kernel) => kernel.update_rx_secret(),
            Self::Client(kernel) => kernel.update_rx_secret(),
        }
    }
}

/// Both keys of a connection, and what its peer may still do.
pub struct Session {
    rx: Key,
    tx: Key,
    negotiated: Negotiated,
    messages: Messages,
    /// How many records the sealing key may seal.
    limit: u64,
    /// Whether the peer asked for our next key.
    owes_update: bool,
    patience: u8,
}

/// What was opened of a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// How many bytes of the buffer are done with.
    pub used: usize,
    /// How many bytes of plaintext they held.
    pub plain: usize,
    /// Whether the peer said that it will send no more. What is behind that is not looked at.
    pub closed: bool,
}

impl Session {
    /// Takes over after a handshake.
    ///
    /// # Errors
    /// When the secrets are of a cipher that is not ours.
    pub fn new(secrets: ExtractedSecrets, negotiated: Negotiated) -> Result<Self, Error> {
        let version = negotiated.version();
        let (rx_sequence, rx) = secrets.rx;
        let (tx_sequence, tx) = secrets.tx;
        Ok(Self {
            rx: Key::new(rx, rx_sequence, version)?,
            tx: Key::new(tx, tx_sequence, version)?,
            limit: negotiated.limit(),
            negotiated,
            messages: Messages::default(),
            owes_update: false,
            patience: PATIENCE,
        })
    }

    /// Every key may seal only so many records from now on.
    #[cfg(test)]
    pub(super) fn wear_out(&mut self, records: u64) {
        self.limit = MARGIN + records;
    }

    /// The version of TLS, as the PROXY protocol spells it.
    #[must_use]
    pub fn version(&self) -> &'static str {
        if self.tx.is_tls13() { "TLSv1.3" } else { "TLSv1.2" }
    }

    /// Opens every whole record of `records` into `out`, which is at least as long.
    ///
    /// # Errors
    /// When the peer breaks the protocol, or says by an alert that it ends. What was opened before
    /// is lost with it: nothing of a connection that breaks is worth keeping.
    pub fn open(&mut self, records: &[u8], out: &mut [u8]) -> Result<Opened, Error> {
        let mut opened = Opened::default();
        while !opened.closed
            && let Frame::Whole { kind, len } = frame(&records[opened.used..])?
        {
            let record = &records[opened.used..opened.used + len];
            opened.used += len;
            self.check(kind, len)?;
            let out = &mut out[opened.plain..];
            let (kind, len) = self.rx.open(record, out)?;
            self.take(kind, &out[..len], &mut opened)?;
        }
        Ok(opened)
    }

    /// TLS 1.3 has less room for what a cipher adds than TLS 1.2 (RFC 8446, 5.2).
    fn check(&self, kind: u8, len: usize) -> Result<(), Error> {
        if self.rx.is_tls13() && len > HEADER + MAX_PLAINTEXT + 256 {
            return Err(Error::TooLong);
        }
        match kind {
            kind::CHANGE_CIPHER_SPEC => Err(Error::Unexpected("a change of cipher")),
            kind::DATA => Ok(()),
            _ if self.rx.is_tls13() => Err(Error::Unexpected("an unprotected record")),
            _ => Ok(()),
        }
    }

    fn take(&mut self, kind: u8, content: &[u8], opened: &mut Opened) -> Result<(), Error> {
        if kind != kind::HANDSHAKE && self.messages.is_between() {
            return Err(Error::Unexpected("a record in the middle of a message"));
        }
        match (kind, content) {
            (kind::DATA, []) => self.be_patient("empty records"),
            (kind::DATA, data) => {
                opened.plain += data.len();
                self.patience = PATIENCE;
                Ok(())
            }
            (kind::ALERT, [_, alert::CLOSE_NOTIFY]) => {
                opened.closed = true;
                Ok(())
            }
            (kind::ALERT, [level, description]) => self.alert(*level, *description),
            (kind::ALERT, _) => Err(Error::Malformed("an alert")),
            (kind::HANDSHAKE, []) => Err(Error::Unexpected("an empty handshake record")),
            (kind::HANDSHAKE, bytes) => self.handshake(bytes),
            _ => Err(Error::Unexpected("a record of an unknown kind")),
        }
    }

    /// Warnings are not fatal in TLS 1.2; of TLS 1.3's, only one is none (RFC 8446, 6.1).
    fn alert(&mut self, level: u8, description: u8) -> Result<(), Error> {
        let is_warning = level == 1 && (!self.rx.is_tls13() || description == alert::USER_CANCELED);
        if is_warning { self.be_patient("warnings") } else { Err(Error::Alert(description)) }
    }

    fn be_patient(&mut self, with: &'static str) -> Result<(), Error> {
        self.patience = self.patience.checked_sub(1).ok_or(Error::TooMany(with))?;
        Ok(())
    }

    fn handshake(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if !self.rx.is_tls13() {
            return Err(Error::Unexpected("a wish to negotiate again"));
        }
        self.messages.push(bytes)?;
        while let Some(message) = self.messages.next()? {
            self.be_patient("messages")?;
            match (message, &self.negotiated) {
                (Message::KeyUpdate { wanted }, _) => {
                    let next = self.negotiated.next_rx();
                    self.rx = self.replaced(next)?;
                    self.owes_update |= wanted;
                }
                (Message::Ticket, Negotiated::Client(_)) => {}
                (Message::Ticket, Negotiated::Server(_)) => {
                    return Err(Error::Unexpected("a session ticket of a client"));
                }
            }
        }
        Ok(())
    }

    fn replaced(
        &self,
        next: Result<(u64, ConnectionTrafficSecrets), rustls::Error>,
    ) -> Result<Key, Error> {
        let (sequence, secrets) = next.map_err(|error| Error::Keys(error.to_string()))?;
        Key::new(secrets, sequence, ProtocolVersion::TLSv1_3)
    }

    /// How many bytes of plaintext fit into `room` bytes of records, with a change of key before.
    #[must_use]
    pub fn fits(room: usize) -> usize {
        let records = (room / (MAX_PLAINTEXT + OVERHEAD)).saturating_sub(1);
        records * MAX_PLAINTEXT
    }

    /// Whether something is to be sent although there is no data: the peer asked for our next key.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.owes_update
    }

    /// Seals `plain` into as many records as it takes, at the start of `out`; their length. A
    /// change of our key goes before them where one is due.
    ///
    /// # Errors
    /// When `out` is too short, or the key has sealed all that it may.
    pub fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let mut written = self.update_key(out)?;
        for piece in plain.chunks(MAX_PLAINTEXT) {
            written += self.tx.seal(kind::DATA, piece, &mut out[written..])?;
        }
        Ok(written)
    }

    /// Nearly worn out keys are changed; TLS 1.2 cannot, and ends.
    fn update_key(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let is_worn = self.tx.sequence() >= self.limit.saturating_sub(MARGIN);
        if !is_worn && !self.owes_update {
            return Ok(0);
        }
        if !self.tx.is_tls13() {
            return Err(Error::Exhausted);
        }
        let written = self.tx.seal(kind::HANDSHAKE, &KEY_UPDATE, out)?;
        let next = self.negotiated.next_tx();
        self.tx = self.replaced(next)?;
        self.owes_update = false;
        Ok(written)
    }

    /// Seals an alert: `close_notify` as the end of what we send, any other as the end of all.
    ///
    /// # Errors
    /// When `out` is too short.
    pub fn seal_alert(&mut self, description: u8, out: &mut [u8]) -> Result<usize, Error> {
        let level = if description == alert::CLOSE_NOTIFY { 1 } else { 2 };
        self.tx.seal(kind::ALERT, &[level, description], out)
    }
    /// Seals whatever a peer of bad will, who has the keys, might send.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn seal_any(
        &mut self,
        kind: u8,
        content: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        self.tx.seal(kind, content, out)
    }

    /// Changes our key without telling the peer of it.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn change_key(&mut self) -> Result<(), Error> {
        let next = self.negotiated.next_tx();
        self.tx = self.replaced(next)?;
        Ok(())
    }
}
