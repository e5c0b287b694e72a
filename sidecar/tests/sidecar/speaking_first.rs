//! Applications that speak first, as those of SMTP and MySQL do, on ports that admit plaintext.

use std::io::{Read as _, Write as _};

use crate::authority::WEB;
use crate::ends::Ends;
use crate::peer::{client_config, client_of, connect};
use crate::stream::Peer;

/// Nobody waits for this in a test that passes.
const LONG: [&str; 4] = ["--first-byte-timeout", "10m", "--handshake-timeout", "10m"];

const GREETING: &[u8] = b"220 at your service\r\n";

fn heard(mut stream: impl std::io::Read, expected: &[u8]) {
    let mut said = vec![0; expected.len()];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(said, expected);
}

#[test]
fn who_says_nothing_hears_an_application_that_speaks_first() {
    let ends = Ends::with_policy(r#"{"default":{"mode":"permissive"}}"#, &LONG);
    let mut client = connect(ends.at);
    let mut app = ends.accept();
    app.write_all(GREETING).unwrap();
    heard(&client, GREETING);
    client.write_all(b"QUIT\r\n").unwrap();
    heard(&app, b"QUIT\r\n");
}

#[test]
fn an_application_is_told_of_a_client_before_it_speaks_first() {
    let policy = r#"{"default":{"mode":"permissive","proxyProtocol":"v2"}}"#;
    let ends = Ends::with_policy(policy, &LONG);
    let client = connect(ends.at);
    let mut app = ends.accept();
    // The signature, the version with the command, and 12 bytes of addresses of IPv4.
    let mut header = [0; 16];
    app.read_exact(&mut header).unwrap();
    assert!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n"), "{header:?}");
    let mut addresses = vec![0; usize::from(u16::from_be_bytes([header[14], header[15]]))];
    app.read_exact(&mut addresses).unwrap();
    app.write_all(GREETING).unwrap();
    heard(&client, GREETING);
}

#[test]
fn a_handshake_that_comes_late_is_still_one() {
    let ends = Ends::with_policy(r#"{"default":{"mode":"permissive"}}"#, &LONG);
    let late = connect(ends.at);
    // The application was asked whether it speaks first, and does not.
    let asked = ends.accept();
    let set = ends.authority.issue(WEB);
    let mut config = client_config(&ends.authority.pem(), Some(&set));
    config.alpn_protocols = vec![b"countersign/1".to_vec()];
    let mut peer = Peer::shaken(late, client_of(config));
    let mut app = ends.accept();
    heard_nothing(asked);
    app.write_all(GREETING).unwrap();
    heard(&mut peer, GREETING);
}

#[test]
fn an_application_that_admits_only_some_is_not_asked_for_a_stranger() {
    let policy = format!(r#"{{"default":{{"mode":"permissive","allow":["{WEB}"]}}}}"#);
    let mut ends = Ends::with_policy(&policy, &["--first-byte-timeout", "1s"]);
    let _silent = connect(ends.at);
    assert_eq!(ends.sidecar.line("message", "refused")["reason"], "peer_not_allowed");
    ends.behind.set_nonblocking(true).unwrap();
    assert!(ends.behind.accept().is_err());
}

fn heard_nothing(mut app: std::net::TcpStream) {
    assert_eq!(app.read(&mut [0]).unwrap(), 0);
}
