//! What a stranger's first byte says; pure.

/// How a connection opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Something that is not TLS.
    Plaintext,
    /// A TLS handshake, or what claims to be one.
    Tls,
}

/// A TLS connection opens with a record of type 22, handshake (RFC 8446, 5.1). No text protocol
/// begins with that control character; what follows it is for the TLS library to judge.
#[must_use]
pub fn classify(first: u8) -> Opening {
    if first == 0x16 { Opening::Tls } else { Opening::Plaintext }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_handshake_record_opens_tls() {
        assert_eq!(classify(0x16), Opening::Tls);
        for first in [b'G', b'P', 0x00, 0x15, 0x17, 0x80, 0xff] {
            assert_eq!(classify(first), Opening::Plaintext, "{first:#x}");
        }
    }
}
