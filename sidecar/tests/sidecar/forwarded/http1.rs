//! HTTP/1.1, byte by byte at either end.

use std::io::{Read, Write};

use rustls::Connection;

use super::stage::{POLICY, both_ends, callers, expect, goes, head};
use crate::authority::WEB;
use crate::ends::Ends;
use crate::peer::{client_side, connect};
use crate::stream::Peer;

#[test]
fn requests_that_come_together_are_answered_in_their_order() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    let (mut peer, mut app, told) = both_ends(&ends);
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: web.test\r\n\r\n");
    peer.send((one("/1") + &one("/2") + &one("/3")).as_bytes()).unwrap();
    for path in ["/1", "/2", "/3"] {
        let request = head(&mut app);
        assert!(request.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{request}");
        assert_eq!(callers(&request), [&told]);
        write!(app, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{path}").unwrap();
        assert!(head(&mut peer).starts_with("HTTP/1.1 200 OK\r\n"));
        expect(&mut peer, path);
    }
    peer.end();
    assert_eq!(app.read(&mut [0]).unwrap(), 0);
    assert!(peer.rest().unwrap().is_empty());
    let line = ends.ended("closed");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&(35 * 3).into(), &(40 * 3).into()));
    ends.leaks_nothing();
}

#[test]
fn chunks_go_both_ways_as_they_come_and_a_forgery_behind_them_does_not() {
    let ends = Ends::with_policy(POLICY, &[]);
    let (mut peer, mut app, told) = both_ends(&ends);
    peer.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\
          Trailer: X-Sum, X-Forwarded-Client-Cert, X_Forwarded_Client_Cert\r\n\r\n3\r\none\r\n",
    )
    .unwrap();
    let request = head(&mut app);
    assert_eq!(callers(&request), [&told]);
    assert!(request.to_lowercase().contains("transfer-encoding: chunked\r\n"), "{request}");
    expect(&mut app, "3\r\none\r\n");
    // The response begins before the request has ended.
    app.write_all(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n1\r\na\r\n",
    )
    .unwrap();
    head(&mut peer);
    expect(&mut peer, "1\r\na\r\n");
    peer.send(
        b"3\r\ntwo\r\n0\r\nX-Sum: 6\r\nX-Forwarded-Client-Cert: Hash=b\r\n\
          x_forwarded_client_cert: Hash=c\r\n\r\n",
    )
    .unwrap();
    expect(&mut app, "3\r\ntwo\r\n0\r\n");
    assert_eq!(head(&mut app).to_lowercase(), "x-sum: 6\r\n\r\n");
    app.write_all(b"1\r\nb\r\n0\r\nX-End: 1\r\n\r\n").unwrap();
    expect(&mut peer, "1\r\nb\r\n0\r\n");
    assert_eq!(head(&mut peer).to_lowercase(), "x-end: 1\r\n\r\n");
}

#[test]
fn what_is_not_of_one_connection_only_is_left_as_it_is() {
    let ends = Ends::with_policy(POLICY, &[]);
    let (mut peer, mut app, told) = both_ends(&ends);
    peer.send(
        b"GET http://web.test/a?b=c%20d HTTP/1.1\r\nHOST: web.test\r\nX-Case: 1\r\naccept: a\r\n\
          Accept: b\r\nForwarded: for=a\r\n\r\n",
    )
    .unwrap();
    let request = head(&mut app);
    assert!(request.starts_with("GET http://web.test/a?b=c%20d HTTP/1.1\r\nHOST: web.test\r\n"));
    for line in ["X-Case: 1\r\n", "accept: a\r\nAccept: b\r\n", "Forwarded: for=a\r\n"] {
        assert!(request.contains(line), "{request}");
    }
    assert_eq!(callers(&request), [&told]);
    app.write_all(b"HTTP/1.1 299 Fine So Far\r\nServer: Own\r\nContent-Length: 0\r\n\r\n").unwrap();
    let answer = head(&mut peer);
    assert!(answer.starts_with("HTTP/1.1 299 Fine So Far\r\nServer: Own\r\n"), "{answer}");
    assert!(!answer.to_lowercase().contains("date:"), "{answer}");
}

#[test]
fn an_application_that_closes_takes_its_client_along_and_one_that_breaks_off_breaks_it_off() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    head(&mut app);
    app.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end").unwrap();
    drop(app);
    assert!(head(&mut peer).to_lowercase().contains("connection: close\r\n"));
    assert!(String::from_utf8(peer.rest().unwrap()).unwrap().contains("to the end"));
    goes(peer);
    ends.ended("closed");
    // One that rests is closed by whoever has had enough of it.
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    head(&mut app);
    app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    head(&mut peer);
    drop(app);
    assert!(peer.rest().unwrap().is_empty());
    goes(peer);
    ends.ended("closed");
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    head(&mut app);
    app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart").unwrap();
    drop(app);
    head(&mut peer);
    assert!(peer.rest().is_err());
    ends.ended("app_reset");
    ends.leaks_nothing();
}

#[test]
fn a_client_that_breaks_off_takes_its_request_along() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    // The end of a stream without close_notify, and the clean end of a request that is not whole.
    for (rest, is_clean, how) in
        [("\r\n", false, "truncated"), ("Content-Length: 9\r\n\r\nx", true, "peer_reset")]
    {
        let (mut peer, mut app, _) = both_ends(&ends);
        peer.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}").as_bytes()).unwrap();
        head(&mut app);
        match is_clean {
            true => goes(peer),
            false => peer.fin(),
        }
        assert!(app.read_to_end(&mut Vec::new()).is_err(), "{how}");
        ends.ended(how);
    }
    ends.leaks_nothing();
}

#[test]
fn an_application_that_refuses_a_body_is_not_sent_it() {
    let ends = Ends::with_policy(POLICY, &[]);
    let (mut peer, mut app, _) = both_ends(&ends);
    let request = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    peer.send(request.as_bytes()).unwrap();
    assert!(head(&mut app).to_lowercase().contains("expect: 100-continue\r\n"));
    app.write_all(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(head(&mut peer).starts_with("HTTP/1.1 417 No\r\n"));
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(request.as_bytes()).unwrap();
    head(&mut app);
    app.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    assert_eq!(head(&mut peer), "HTTP/1.1 100 Continue\r\n\r\n");
    peer.send(b"12345").unwrap();
    expect(&mut app, "12345");
    // And one that never says a word is sent it all the same, after a while.
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(request.as_bytes()).unwrap();
    head(&mut app);
    assert_eq!(head(&mut peer), "HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn the_proxy_protocol_s_header_goes_before_the_first_request_where_both_are_asked_for() {
    let policy = r#"{"default":{"forwardedClientCert":true,"proxyProtocol":"v2"}}"#;
    let ends = Ends::with_policy(policy, &[]);
    let set = ends.authority.issue(WEB);
    let tls = client_side(&ends.authority.pem(), Some(&set));
    let mut peer = Peer::shaken(connect(ends.at), tls);
    let mut app = ends.accept();
    let mut greeting = [0; 16];
    app.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting[..12], b"\r\n\r\n\0\r\nQUIT\n");
    let rest = u16::from_be_bytes([greeting[14], greeting[15]]);
    app.read_exact(&mut vec![0; rest.into()]).unwrap();
    peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(callers(&head(&mut app)), [super::stage::told(&set, WEB)]);
}

#[test]
fn a_client_may_change_its_keys_and_say_what_it_says_byte_by_byte() {
    let ends = Ends::with_policy(POLICY, &[]);
    let (mut peer, mut app, told) = both_ends(&ends);
    for _ in 0..3 {
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" {
            peer.send(&[*byte]).unwrap();
        }
        assert_eq!(callers(&head(&mut app)), [&told]);
        // It asks for our next key, too, at a time when we have nothing to say.
        let Some(Connection::Client(tls)) = &mut peer.tls else { panic!("a client of TLS") };
        tls.refresh_traffic_keys().unwrap();
        peer.send(b"").unwrap();
        while peer.tls.as_ref().unwrap().wants_write() {
            peer.tls.as_mut().unwrap().write_tls(&mut peer.sock).unwrap();
        }
        app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        head(&mut peer);
        expect(&mut peer, "ok");
    }
}
