//! A caller that forges what HTTP tells the application.

use std::io::{Read, Write};

use crate::authority::WEB;
use crate::ends::{Ends, Kind};
use crate::forwarded::stage::{POLICY, both_ends, callers, goes, head};
use crate::stream::Peer;

const PLAIN: &str = "{}";
const FORGED: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: URI=spiffe://cluster.local/admin\r\n\r\n";

/// A sidecar that has read its credentials as often as it does at the start.
fn ends(policy: &str) -> Ends {
    let mut ends = Ends::with_policy(policy, &[]);
    ends.sidecar.line("message", "credentials in use");
    ends
}

/// The connection is ended under this policy, and nothing that its client says reaches the application.
fn changes(ends: &mut Ends, mut peer: Peer, mut app: impl Read, policy: &str) {
    ends.folder.put("policy.json", policy);
    drop(peer.rest());
    drop(peer.send(FORGED));
    let mut heard = Vec::new();
    drop(app.read_to_end(&mut heard));
    assert!(heard.is_empty(), "{:?}", String::from_utf8_lossy(&heard));
    goes(peer);
    ends.ended("policy_changed");
}

#[test]
fn forged_header_on_a_connection_from_before_the_policy_never_arrives() {
    let mut ends = ends(PLAIN);
    let (mut peer, mut app) = ends.connect();
    peer.send(b"x").unwrap();
    app.read_exact(&mut [0]).unwrap();
    changes(&mut ends, peer, app, POLICY);
    // And on a connection whose requests were read, while they are read no longer.
    let (peer, app) = ends.connect();
    changes(&mut ends, peer, app, PLAIN);
    ends.leaks_nothing();
}

#[test]
fn forged_proxy_header_on_a_connection_from_before_the_policy_never_arrives() {
    let mut ends = ends(PLAIN);
    let (peer, app) = ends.connect();
    changes(&mut ends, peer, app, r#"{"default":{"proxyProtocol":"v2"}}"#);
}

#[test]
fn connection_without_a_certificate_ends_when_its_port_asks_for_one() {
    for (kind, mode) in
        [(Kind::Permissive, "mutual"), (Kind::Permissive, "server"), (Kind::Off, "mutual")]
    {
        let mut ends = Ends::of(kind);
        ends.sidecar.line("message", "credentials in use");
        let (peer, app) = ends.connect();
        changes(&mut ends, peer, app, &format!(r#"{{"default":{{"mode":"{mode}"}}}}"#));
    }
}

#[test]
fn upgrade_that_cannot_be_read_is_none() {
    let ends = Ends::with_policy(POLICY, &[]);
    let cases: [&[u8]; 7] = [
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\xa0\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\xa0\r\nUpgrade: websocket\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\xa0\r\n",
        b"Connection: Upgrade\r\nUpgrade: \xc2\xa0h2c\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket;h2c\r\n",
        b"Connection: Upgrade\r\nConnection: \xa0\r\nUpgrade: websocket\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
    ];
    for case in cases {
        let (mut peer, mut app, told) = both_ends(&ends);
        peer.send(&[b"GET / HTTP/1.1\r\nHost: a\r\n", case, b"\r\n"].concat()).unwrap();
        let request = head(&mut app);
        assert_eq!(callers(&request), [&told]);
        assert!(!request.to_lowercase().contains("upgrade"), "{request}");
        // An application that switches all the same has its connection broken off.
        app.write_all(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n").unwrap();
        assert!(peer.rest().is_err(), "{request}");
    }
}

#[test]
fn switch_to_another_protocol_than_was_asked_for_is_broken_off() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    for (answer, named) in [
        ("Upgrade: h2c\r\n", "\"h2c\""),
        ("Upgrade: websocket, h2c\r\n", "\"websocket, h2c\""),
        ("", "cannot be read"),
    ] {
        let (mut peer, mut app, told) = both_ends(&ends);
        peer.send(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .unwrap();
        assert_eq!(callers(&head(&mut app)), [&told]);
        write!(app, "HTTP/1.1 101 S\r\nConnection: Upgrade\r\n{answer}\r\n").unwrap();
        assert!(peer.rest().is_err(), "{answer}");
        let line = ends.ended("app_reset");
        assert!(line["detail"].as_str().unwrap().contains(named), "{line}");
    }
    ends.leaks_nothing();
}

#[test]
fn client_with_tls_of_its_own_cannot_hide_a_forged_header_in_it() {
    let policy = r#"{"default":{"mode":"permissive","forwardedClientCert":true}}"#;
    let mut ends = Ends::with_policy(policy, &[]);
    let tls = crate::peer::client_side(&ends.authority.pem(), None);
    if let Ok(mut peer) = Peer::try_shaken(crate::peer::connect(ends.at), tls) {
        assert!(peer.rest().is_err());
    }
    assert_eq!(ends.sidecar.line("message", "refused")["reason"], "no_client_certificate");
    ends.behind.set_nonblocking(true).unwrap();
    assert!(ends.behind.accept().is_err(), "the application was called for it");
    let set = ends.authority.issue(WEB);
    ends.behind.set_nonblocking(false).unwrap();
    let (mut peer, mut app) = ends.connect_as(&set);
    peer.send(FORGED).unwrap();
    assert_eq!(callers(&head(&mut app)), [&crate::forwarded::stage::told(&set, WEB)]);
}
