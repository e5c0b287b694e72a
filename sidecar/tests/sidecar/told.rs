//! What the application is told of its client, before anything that the client says.

use std::io::Read;
use std::net::TcpStream;

use proxy_header::{ParseConfig, ProxyHeader, Tlv};

use crate::authority::WEB;
use crate::ends::Ends;
use crate::peer::{client_config, client_of, client_side, connect};
use crate::stream::Peer;

const MUTUAL: &str = r#"{"default":{"alpn":["h2"],"proxyProtocol":"v2"}}"#;

/// Reads the header, and no more.
fn header(mut app: &TcpStream) -> ProxyHeader<'static> {
    let mut bytes = vec![0; 16];
    app.read_exact(&mut bytes).unwrap();
    let rest = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    bytes.resize(16 + rest, 0);
    app.read_exact(&mut bytes[16..]).unwrap();
    let (header, used) = ProxyHeader::parse(&bytes, ParseConfig::default()).unwrap();
    assert_eq!(used, bytes.len());
    header.into_owned()
}

fn custom(header: &ProxyHeader<'_>, wanted: u8) -> Vec<String> {
    let text = |tlv| match tlv {
        Ok(Tlv::Custom(kind, text)) if kind == wanted => {
            Some(String::from_utf8(text.into()).unwrap())
        }
        _ => None,
    };
    header.tlvs().filter_map(text).collect()
}

#[test]
fn an_application_that_asks_is_told_who_calls_before_the_first_byte() {
    let ends = Ends::with_policy(MUTUAL, &[]);
    let set = ends.authority.issue(WEB);
    let mut config = client_config(&ends.authority.pem(), Some(&set));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut peer = Peer::shaken(connect(ends.at), client_of(config));
    // It says nothing, and the application is told all the same.
    let mut app = ends.accept();
    let header = header(&app);
    let addresses = header.proxied_address().unwrap();
    assert_eq!(addresses.source, peer.sock.local_addr().unwrap());
    assert_eq!(addresses.destination, ends.behind.local_addr().unwrap());
    assert_eq!(header.alpn(), Some(&b"h2"[..]));
    assert_eq!(header.authority(), Some("web.test"));
    let ssl = header.ssl().unwrap();
    assert!(ssl.client_ssl() && ssl.client_cert_conn() && ssl.client_cert_sess());
    assert_eq!((ssl.verify(), ssl.version()), (0, Some("TLSv1.3")));
    assert_eq!(custom(&header, 0xe0), [WEB]);
    assert_eq!(custom(&header, 0xe1), ["web.test"]);
    peer.send(b"hello").unwrap();
    let mut said = [0; 5];
    app.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hello");
}

#[test]
fn a_client_that_shows_no_certificate_is_told_as_one_that_nobody_verified() {
    let ends = Ends::with_policy(r#"{"default":{"mode":"server","proxyProtocol":"v2"}}"#, &[]);
    let _peer = Peer::shaken(connect(ends.at), client_side(&ends.authority.pem(), None));
    let header = header(&ends.accept());
    let ssl = header.ssl().unwrap();
    assert!(ssl.client_ssl() && !ssl.client_cert_conn() && !ssl.client_cert_sess());
    assert_ne!(ssl.verify(), 0);
    assert!(custom(&header, 0xe0).is_empty() && header.alpn().is_none());
}

#[test]
fn a_client_without_tls_cannot_tell_of_itself() {
    for mode in ["permissive", "off"] {
        let policy = format!(r#"{{"default":{{"mode":"{mode}","proxyProtocol":"v2"}}}}"#);
        let ends = Ends::with_policy(&policy, &[]);
        let mut peer = Peer::plain(connect(ends.at));
        let forged = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
        peer.send(forged).unwrap();
        let mut app = ends.accept();
        let header = header(&app);
        assert_eq!(header.proxied_address().unwrap().source, peer.sock.local_addr().unwrap());
        assert!(header.ssl().is_none(), "{mode}");
        let mut said = vec![0; forged.len()];
        app.read_exact(&mut said).unwrap();
        assert_eq!(said, forged, "{mode}");
    }
}
