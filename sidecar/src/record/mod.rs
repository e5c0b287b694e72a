//! TLS records, from the end of the handshake on.
//!
//! rustls makes the handshake and keeps the key schedule ([`rustls::kernel`], the interface that it has
//! for record layers other than its own); aws-lc seals and opens. What is here is what lies
//! between: many records in one buffer, opened into one piece of plaintext, and one piece of
//! plaintext sealed into many records, so that each way a whole buffer costs one system call, one
//! pass of the cipher, and no copy. TLS 1.3 is RFC 8446, 5; TLS 1.2 RFC 5246, 6.2, with RFC 5288
//! and RFC 7905.

mod error;
mod frame;
mod handshake;
mod key;
mod session;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use frame::{Frame, frame};
pub use session::{Negotiated, Opened, Session};

/// The largest piece of plaintext that one record holds (RFC 8446, 5.1).
pub const MAX_PLAINTEXT: usize = 1 << 14;

/// The header of a record: kind, version, length.
pub const HEADER: usize = 5;

/// What a record of ours is longer than its plaintext, at most: header, explicit nonce of TLS 1.2
/// or kind of TLS 1.3, tag.
pub const OVERHEAD: usize = HEADER + 8 + 16;

/// The kinds of records.
mod kind {
    pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const DATA: u8 = 23;
}

/// Alerts that are sent or understood (RFC 8446, 6).
pub mod alert {
    /// The sender will send no more.
    pub const CLOSE_NOTIFY: u8 = 0;
    pub(super) const UNEXPECTED_MESSAGE: u8 = 10;
    pub(super) const BAD_RECORD_MAC: u8 = 20;
    pub(super) const RECORD_OVERFLOW: u8 = 22;
    pub(super) const DECODE_ERROR: u8 = 50;
    /// The peer's certificate expired; sent when it does so in the midst of a connection.
    pub const CERTIFICATE_EXPIRED: u8 = 45;
    /// The peer is who it says, and may not pass.
    pub const ACCESS_DENIED: u8 = 49;
    /// We cannot go on, through no fault of the peer's.
    pub const INTERNAL_ERROR: u8 = 80;
    pub(super) const USER_CANCELED: u8 = 90;
}
