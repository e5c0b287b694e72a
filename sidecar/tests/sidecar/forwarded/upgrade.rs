//! What begins as HTTP and goes on as something else.

use std::io::{Read, Write};

use super::stage::{POLICY, both_ends, callers, expect, head};
use crate::ends::Ends;

#[test]
fn a_web_socket_is_carried_both_ways_until_both_ends_are_done() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    let (mut peer, mut app, told) = both_ends(&ends);
    // What comes right behind the request is the new protocol's already.
    peer.send(
        b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Key: x\r\n\r\nearly",
    )
    .unwrap();
    let request = head(&mut app);
    assert_eq!(callers(&request), [&told]);
    let lower = request.to_lowercase();
    assert!(lower.contains("upgrade: websocket\r\n") && lower.contains("upgrade\r\n"), "{request}");
    app.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello",
    )
    .unwrap();
    let answer = head(&mut peer);
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: upgrade\r\n"), "{answer}");
    expect(&mut peer, "hello");
    expect(&mut app, "early");
    for _ in 0..3 {
        peer.send(b"\0there\xff\r\n\r\n").unwrap();
        let mut there = [0; 11];
        app.read_exact(&mut there).unwrap();
        assert_eq!(&there, b"\0there\xff\r\n\r\n");
        app.write_all(b"back").unwrap();
        expect(&mut peer, "back");
    }
    peer.end();
    assert_eq!(app.read(&mut [0]).unwrap(), 0);
    app.write_all(b"after the other's end").unwrap();
    drop(app);
    assert_eq!(peer.rest().unwrap(), b"after the other's end");
    ends.ended("closed");
    ends.leaks_nothing();
}

#[test]
fn a_web_socket_ends_with_what_allowed_it() {
    let policy =
        |ids: &str| format!(r#"{{"default":{{"forwardedClientCert":true,"allow":[{ids}]}}}}"#);
    let mut ends = Ends::with_policy(&policy("\"spiffe://cluster.local/*\""), &[]);
    ends.sidecar.line("message", "credentials in use");
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .unwrap();
    head(&mut app);
    app.write_all(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").unwrap();
    head(&mut peer);
    ends.folder.put("policy.json", &policy(""));
    assert!(peer.rest().is_err());
    assert!(app.read(&mut [0]).is_err());
    ends.ended("peer_not_allowed");
}

#[test]
fn nobody_goes_over_to_a_protocol_in_which_to_say_who_calls() {
    let ends = Ends::with_policy(POLICY, &[]);
    let (mut peer, mut app, told) = both_ends(&ends);
    peer.send(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
          HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    )
    .unwrap();
    let request = head(&mut app);
    assert_eq!(callers(&request), [&told]);
    let lower = request.to_lowercase();
    assert!(!lower.contains("upgrade") && !lower.contains("http2-settings"), "{request}");
}

#[test]
fn whether_a_tunnel_is_made_is_for_the_application_to_say() {
    let ends = Ends::with_policy(POLICY, &[]);
    let ask = b"CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test:5432\r\n\r\n";
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(ask).unwrap();
    assert!(head(&mut app).starts_with("CONNECT db.test:5432 HTTP/1.1\r\n"));
    app.write_all(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(head(&mut peer).starts_with("HTTP/1.1 405 No\r\n"));
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(ask).unwrap();
    head(&mut app);
    app.write_all(b"HTTP/1.1 200 Yes\r\n\r\n").unwrap();
    assert!(head(&mut peer).starts_with("HTTP/1.1 200 Yes\r\n"));
    peer.send(b"there").unwrap();
    expect(&mut app, "there");
    app.write_all(b"back").unwrap();
    expect(&mut peer, "back");
}

#[test]
fn an_application_that_goes_over_unasked_is_broken_off() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    for asked in ["", "Connection: Upgrade\r\nUpgrade: h2c\r\n"] {
        let (mut peer, mut app, _) = both_ends(&ends);
        peer.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{asked}\r\n").as_bytes()).unwrap();
        head(&mut app);
        app.write_all(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n").unwrap();
        assert!(peer.rest().is_err());
        ends.ended("app_reset");
    }
}
