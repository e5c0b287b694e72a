//! What a stranger's first bytes say; pure.

use std::fmt;

/// How a connection opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A TLS handshake, or what claims to be one.
    Tls,
    /// A request of HTTP/1, or the preface of HTTP/2.
    Http,
    /// A ClientHello of SSL 2.0, which nobody may speak (RFC 6176).
    SslV2,
    /// A PROXY protocol header, of either version.
    ProxyHeader,
    /// Something else.
    Other,
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::SslV2 => "SSL 2.0",
            Self::ProxyHeader => "the PROXY protocol",
            Self::Other => "something else",
        })
    }
}

/// A TLS connection opens with a record of type 22, handshake (RFC 8446, 5.1). No text protocol
/// begins with that control character; what follows it is for the TLS library to judge. For all
/// that is not TLS, it is only a name.
#[must_use]
pub fn classify(first: &[u8]) -> Opening {
    const METHODS: [&[u8]; 10] = [
        b"GET ",
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"DELETE ",
        b"OPTIONS ",
        b"PATCH ",
        b"CONNECT ",
        b"TRACE ",
        b"PRI * HTTP/2",
    ];
    match first {
        [0x16, ..] => Opening::Tls,
        [0x80..=0xff, _, 1, 0 | 2 | 3, ..] => Opening::SslV2,
        [0x0d, 0x0a, 0x0d, 0x0a, 0x00, ..] | [b'P', b'R', b'O', b'X', b'Y', b' ', ..] => {
            Opening::ProxyHeader
        }
        _ if METHODS.iter().any(|method| first.starts_with(method)) => Opening::Http,
        _ => Opening::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_handshake_record_opens_tls() {
        let cases: [(&[u8], Opening); 10] = [
            (&[0x16], Opening::Tls),
            (&[0x16, 3, 1, 0, 4], Opening::Tls),
            (&[], Opening::Other),
            (&[0x15, 3, 1], Opening::Other),
            (&[0x17], Opening::Other),
            (b"GET / HTTP/1.1", Opening::Http),
            (b"PRI * HTTP/2.0\r\n", Opening::Http),
            (&[0x80, 0x2e, 1, 0, 2], Opening::SslV2),
            (b"PROXY TCP4 1.2.3.4", Opening::ProxyHeader),
            (b"\r\n\r\n\0\r\nQUIT\n", Opening::ProxyHeader),
        ];
        for (first, expected) in cases {
            assert_eq!(classify(first), expected, "{first:?}");
        }
    }
}
