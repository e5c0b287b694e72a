//! A caller that forges what HTTP tells the application.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hyper::Response;
use hyper::header::HeaderMap;

use crate::authority::WEB;
use crate::ends::{Ends, Kind};
use crate::forwarded::frames::{frame, get, greeted, next};
use crate::forwarded::hyper2::{Frames, application};
use crate::forwarded::stage::{POLICY, Stage, both_ends, callers, goes, head};
use crate::program::until;
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

/// Waits until a number grows no more.
fn settles(number: &AtomicUsize) {
    let mut last = usize::MAX;
    until("nothing is taken any more", || {
        std::thread::park_timeout(Duration::from_millis(500));
        let now = number.load(Relaxed);
        (std::mem::replace(&mut last, now) == now).then_some(())
    });
}

#[test]
fn answers_of_http2_that_nobody_reads_hold_bounded_memory() {
    const CONNECTIONS: usize = 4;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let app = application(move |_| {
        let counter = counter.clone();
        async move {
            let (mut pieces, body) = Frames::new();
            tokio::spawn(async move {
                for _ in 0..1000 {
                    pieces.send(vec![0; 16384]).await;
                    counter.fetch_add(1, Relaxed);
                }
                pieces.end(HeaderMap::new()).await;
            });
            Response::new(body)
        }
    });
    let stage = Stage::before(app, POLICY);
    let before = stage.sidecar.resident();
    let connected = |_| {
        let mut peer = greeted(&stage);
        // The largest windows that there are.
        let settings = [&[0, 4][..], &0x7fff_ffff_u32.to_be_bytes()].concat();
        peer.send(&frame(4, 0, 0, &settings)).unwrap();
        peer.send(&frame(8, 0, 0, &0x7fff_0000_u32.to_be_bytes())).unwrap();
        (0..100).for_each(|place| peer.send(&get(2 * place + 1, "x-a", "b")).unwrap());
        peer
    };
    let _unread: Vec<Peer> = (0..CONNECTIONS).map(connected).collect();
    until("answers come", || (sent.load(Relaxed) > 0).then_some(()));
    settles(&sent);
    let each = stage.sidecar.resident().saturating_sub(before) / CONNECTIONS;
    assert!(each < 4 << 20, "{each} bytes each");
}

/// A request of many headers that take one byte each (RFC 7541, 6.1).
fn indexed(stream: u32, headers: usize) -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x84, 0x41, 1, b'a', 0x40, 1, b'a', 0];
    block.resize(block.len() + headers, 0xbe);
    frame(1, 5, stream, &block)
}

#[test]
fn requests_of_many_headers_that_wait_are_sent_back() {
    let app = application(|_| std::future::pending());
    let stage = Stage::before(app, POLICY);
    let before = stage.sidecar.resident();
    let mut peer = greeted(&stage);
    peer.send(&indexed(1, 1900)).unwrap();
    // Too many headers are answered with 431, as in HTTP/1.1.
    let (stream, answer) = next(&mut peer, 1);
    assert_eq!(stream, 1);
    assert!(answer.windows(3).any(|code| code == b"431") || answer.len() < 16, "{answer:?}");
    for stream in (3..200).step_by(2) {
        peer.send(&indexed(stream, 200)).unwrap();
    }
    // REFUSED_STREAM: the client may send it again.
    let (_, code) = next(&mut peer, 3);
    assert_eq!(code, 7u32.to_be_bytes());
    let held = stage.sidecar.resident().saturating_sub(before);
    assert!(held < 8 << 20, "{held} bytes");
}

#[test]
fn answers_of_http1_that_nobody_reads_hold_bounded_memory() {
    const CONNECTIONS: usize = 30;
    let ends = Ends::with_policy(POLICY, &[]);
    let set = ends.authority.issue(WEB);
    let before = ends.sidecar.resident();
    let unread = |_| {
        let (mut peer, mut app) = ends.connect_as(&set);
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        head(&mut app);
        app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
        app.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        while app.write_all(&[0; 65536]).is_ok() {}
        (peer, app)
    };
    let unread: Vec<(Peer, TcpStream)> = (0..CONNECTIONS).map(unread).collect();
    let each = ends.sidecar.resident().saturating_sub(before) / unread.len();
    assert!(each < 384 << 10, "{each} bytes each");
}

#[test]
fn connections_of_http_for_which_there_is_no_memory_are_refused_by_name() {
    let mut ends = Ends::with_policy(POLICY, &["--http-memory", "1024"]);
    let set = ends.authority.issue(WEB);
    // Four connections have room, two of one source.
    let held: Vec<_> = (0..2).map(|_| ends.connect_as(&set)).collect();
    ends.refuses(&set, "overloaded");
    drop(held);
    until("there is room again", || {
        let tls = crate::peer::client_side(&ends.authority.pem(), Some(&set));
        let mut peer = Peer::try_shaken(crate::peer::connect(ends.at), tls).ok()?;
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
        ends.behind.set_nonblocking(true).unwrap();
        let accepted = ends.behind.accept().ok();
        ends.behind.set_nonblocking(false).unwrap();
        accepted.map(drop)
    });
}
