//! Where one record ends; pure.

use super::error::Error;
use super::{HEADER, MAX_PLAINTEXT, kind};

/// What ciphertext may be longer than plaintext, in any version (RFC 5246, 6.2.3).
const MAX_EXPANSION: usize = 2048;

/// What a buffer begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Not a whole record yet: this many bytes are needed, at least.
    Partial(usize),
    /// A record of so many bytes, its header included.
    Whole {
        /// What the header says that it is.
        kind: u8,
        /// How long it is.
        len: usize,
    },
}

/// Reads the header of a record (RFC 8446, 5.1).
///
/// # Errors
/// When it is no header, or announces more than a record may hold: before anything is waited for.
pub fn frame(bytes: &[u8]) -> Result<Frame, Error> {
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(Frame::Partial(HEADER)) };
    let [kind, major, _, high, low] = *header;
    if !(kind::CHANGE_CIPHER_SPEC..=kind::DATA).contains(&kind) || major != 3 {
        return Err(Error::Malformed("the header of a record"));
    }
    let body = usize::from(u16::from_be_bytes([high, low]));
    if body > MAX_PLAINTEXT + MAX_EXPANSION {
        return Err(Error::TooLong);
    }
    let len = HEADER + body;
    Ok(if bytes.len() < len { Frame::Partial(len) } else { Frame::Whole { kind, len } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_how_long_a_record_is() {
        let cases: [(&[u8], Result<Frame, Error>); 8] = [
            (&[], Ok(Frame::Partial(5))),
            (&[23, 3, 3, 0], Ok(Frame::Partial(5))),
            (&[23, 3, 3, 0, 2], Ok(Frame::Partial(7))),
            (&[23, 3, 3, 0, 2, 9, 9, 9], Ok(Frame::Whole { kind: 23, len: 7 })),
            (&[21, 3, 1, 0, 0], Ok(Frame::Whole { kind: 21, len: 5 })),
            (&[23, 3, 3, 0x48, 0x01], Err(Error::TooLong)),
            (&[23, 2, 3, 0, 2], Err(Error::Malformed("the header of a record"))),
            (&[24, 3, 3, 0, 2], Err(Error::Malformed("the header of a record"))),
        ];
        for (bytes, expected) in cases {
            assert_eq!(frame(bytes), expected, "{bytes:?}");
        }
    }
}
