//! Permissive ports whose application speaks TLS itself.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{JoinHandle, spawn};

use rustls::ClientConnection;

use crate::authority::{Authority, Set, WEB};
use crate::ends::Ends;
use crate::peer::{client_config, client_of, client_side, connect, server_on};
use crate::stream::{Peer, reset};

const POLICY: &str = r#"{"default":{"mode":"permissive"}}"#;

/// A client that says who it calls for, and by which protocols.
fn client(ends: &Ends, set: Option<&Set>, alpn: &[&str]) -> ClientConnection {
    let mut config = client_config(&ends.authority.pem(), set);
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    client_of(config)
}

fn shaking(ends: &Ends, tls: ClientConnection) -> JoinHandle<std::io::Result<Peer>> {
    let at = ends.at;
    spawn(move || Peer::try_shaken(connect(at), tls))
}

#[test]
fn client_outside_of_the_mesh_reaches_an_application_with_tls_of_its_own() {
    let ends = Ends::with_policy(POLICY, &[]);
    let own = Authority::new("the shop's own");
    let set = own.issue(WEB);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Bytes go between the sidecar and a server of TLS, which asks for certificates of its own root.
    let shop = server_on(listener, &set, &own.pem());
    let tls = client_side(&own.pem(), Some(&own.issue(WEB)));
    let shaken = shaking(&ends, tls);
    let app = ends.accept();
    carry(app, connect(shop));
    let mut peer = shaken.join().unwrap().unwrap();
    peer.send(b"hello").unwrap();
    peer.end();
    assert_eq!(peer.rest().unwrap(), b"heard: hello");
}

/// Both ways, in threads.
fn carry(one: TcpStream, other: TcpStream) {
    for (mut from, mut to) in [
        (one.try_clone().unwrap(), other.try_clone().unwrap()),
        (other.try_clone().unwrap(), one.try_clone().unwrap()),
    ] {
        spawn(move || {
            drop(std::io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
        });
    }
}

#[test]
fn caller_of_the_mesh_is_served_by_the_sidecar_whatever_the_application_speaks() {
    let ends = Ends::with_policy(POLICY, &[]);
    let set = ends.authority.issue(WEB);
    let shaken = shaking(&ends, client(&ends, Some(&set), &["countersign/1"]));
    let mut peer = shaken.join().unwrap().unwrap();
    let mut app = ends.accept();
    peer.send(b"hello").unwrap();
    let mut heard = [0; 5];
    app.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello", "the first connection is the caller's own");
}

#[test]
fn caller_that_does_not_offer_the_protocol_is_served_where_the_application_speaks_no_tls() {
    let ends = Ends::with_policy(POLICY, &[]);
    let set = ends.authority.issue(WEB);
    let answers: [fn(TcpStream); 3] = [
        |mut app| drop(app.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        |app| reset(app),
        // And one that says nothing.
        |mut app| drop(app.read_to_end(&mut Vec::new())),
    ];
    for answer in answers {
        for alpn in [&[][..], &["h2"]] {
            let shaken = shaking(&ends, client(&ends, Some(&set), alpn));
            answer(ends.accept());
            let mut peer = shaken.join().unwrap().unwrap();
            let mut app = ends.accept();
            peer.send(b"hello").unwrap();
            let mut heard = [0; 5];
            app.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"hello");
        }
    }
}

#[test]
fn client_without_a_certificate_is_refused_where_the_application_speaks_no_tls() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    let shaken = shaking(&ends, client(&ends, None, &[]));
    drop(ends.accept());
    if let Ok(mut peer) = shaken.join().unwrap() {
        assert!(peer.rest().is_err());
    }
    assert_eq!(ends.sidecar.line("message", "refused")["reason"], "no_client_certificate");
}

#[test]
fn tls_of_others_does_not_pass_a_permissive_port_that_allows_only_some() {
    let policy = format!(r#"{{"default":{{"mode":"permissive","allow":["{WEB}"]}}}}"#);
    let mut ends = Ends::with_policy(&policy, &[]);
    let shaken = shaking(&ends, client(&ends, None, &[]));
    if let Ok(mut peer) = shaken.join().unwrap() {
        assert!(peer.rest().is_err());
    }
    assert_eq!(ends.sidecar.line("message", "refused")["reason"], "no_client_certificate");
    ends.behind.set_nonblocking(true).unwrap();
    assert!(ends.behind.accept().is_err(), "the application was called for it");
}
