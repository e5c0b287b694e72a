//! What a stranger's first bytes say; pure.

use std::fmt;

use countersign_contract::names::ALPN;
use rustls::server::Acceptor;

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

/// Whether a ClientHello is a sidecar's, which offers the mesh's own protocol (RFC 7301); nothing until it
/// is whole. One that rustls cannot read is none of ours.
#[must_use]
pub fn is_of_mesh(hello: &[u8]) -> Option<bool> {
    let (mut acceptor, mut rest) = (Acceptor::default(), hello);
    while !rest.is_empty() {
        if acceptor.read_tls(&mut rest).is_err() {
            return Some(false);
        }
    }
    match acceptor.accept() {
        Ok(None) => None,
        Ok(Some(accepted)) => {
            let hello = accepted.client_hello();
            Some(hello.alpn().is_some_and(|mut names| names.any(|name| name == ALPN.as_bytes())))
        }
        Err(_) => Some(false),
    }
}

/// Whether an application answers a ClientHello as TLS does, by the first bytes of its answer: a
/// handshake, or an alert.
#[must_use]
pub fn answers_as_tls(first: &[u8]) -> bool {
    matches!(first, [0x15 | 0x16] | [0x15 | 0x16, 3, ..])
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

    fn hello(alpn: &[&str]) -> Vec<u8> {
        let config = rustls::ClientConfig::builder_with_provider(crate::tls::provider::provider());
        let config = config.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        let config = config.with_root_certificates(rustls::RootCertStore::empty());
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = "web.test".try_into().unwrap();
        let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        hello
    }

    #[test]
    fn a_sidecar_is_known_by_the_protocol_that_it_offers() {
        let cases: [(&[&str], bool); 4] =
            [(&[], false), (&["h2", "http/1.1"], false), (&[ALPN], true), (&["h2", ALPN], true)];
        for (alpn, expected) in cases {
            let hello = hello(alpn);
            for len in [1, 4, 5, 100, hello.len() - 1] {
                assert_eq!(is_of_mesh(&hello[..len]), None, "{len} bytes of {alpn:?}");
            }
            assert_eq!(is_of_mesh(&hello), Some(expected), "{alpn:?}");
        }
        assert_eq!(is_of_mesh(&[0x16, 3, 1, 0, 4, 9, 9, 9, 9]), Some(false));
        assert_eq!(is_of_mesh(&[0x16, 3, 1, 0xff, 0xff, 1]), Some(false));
    }

    #[test]
    fn only_handshake_and_alert_are_answers_of_tls() {
        let cases: [(&[u8], bool); 7] = [
            (&[0x16], true),
            (&[0x16, 3, 3, 0, 100], true),
            (&[0x15, 3, 1, 0, 2], true),
            (&[0x16, 4], false),
            (&[0x17, 3, 3], false),
            (b"HTTP/1.1 400 Bad Request", false),
            (&[], false),
        ];
        for (first, expected) in cases {
            assert_eq!(answers_as_tls(first), expected, "{first:?}");
        }
    }
}
