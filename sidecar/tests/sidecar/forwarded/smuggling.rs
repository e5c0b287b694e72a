//! Requests that two readers could read differently, and what is no request.

use std::io::{ErrorKind, Read, Write};

use super::stage::{POLICY, both_ends, callers, goes, head};
use crate::ends::Ends;

/// What is answered with `status`, and never seen by the application.
fn refused(ends: &mut Ends, request: &[u8], status: &str) {
    let shown = String::from_utf8_lossy(&request[..request.len().min(100)]).into_owned();
    let (mut peer, mut app, _) = both_ends(ends);
    peer.send(request).unwrap();
    let answer = head(&mut peer);
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
    assert!(peer.rest().unwrap().is_empty(), "{shown:?}");
    let mut seen = Vec::new();
    let end = app.read_to_end(&mut seen);
    assert!(seen.is_empty(), "{shown:?}: {:?}", String::from_utf8_lossy(&seen));
    drop((end, peer));
    let line = ends.ended("http_protocol");
    assert!(line["detail"].is_string(), "{line}");
}

#[test]
fn what_is_ambiguous_is_refused_and_counted() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    let cases = [
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        "Content-Length: 5, 6\r\n\r\n12345",
        "Content-Length: +5\r\n\r\n12345",
        "Content-Length: -1\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "X-A: b\r\n continued\r\n\r\n",
        "X-A: b\r\n\tcontinued\r\n\r\n",
        " X-A: b\r\n\r\n",
        "X-A: b\0c\r\n\r\n",
        "X-A: b\rc\r\n\r\n",
        "X A: b\r\n\r\n",
        ": b\r\n\r\n",
        "no colon\r\n\r\n",
    ];
    for case in &cases {
        refused(&mut ends, format!("POST / HTTP/1.1\r\nHost: a\r\n{case}").as_bytes(), "400");
    }
    refused(&mut ends, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400");
    let name = "countersign_sidecar_connections_closed_total";
    let counted =
        ends.sidecar.metric(&format!("{name}{{direction=\"inbound\",reason=\"http_protocol\"}}"));
    assert_eq!(counted, Some(cases.len() as f64 + 1.0));
    ends.leaks_nothing();
}

#[test]
fn what_is_not_http_is_refused_and_counted() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    let cases: [&[u8]; 5] = [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"GET / HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
    ];
    for case in cases {
        refused(&mut ends, case, "400");
    }
    ends.leaks_nothing();
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    let long = format!("GET / HTTP/1.1\r\nX-A: {}\r\n\r\n", "a".repeat(70_000));
    refused(&mut ends, long.as_bytes(), "431");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X-A: b\r\n".repeat(300));
    refused(&mut ends, many.as_bytes(), "431");
}

#[test]
fn what_has_one_meaning_by_the_standard_is_written_so_that_it_has_no_other() {
    let ends = Ends::with_policy(POLICY, &[]);
    // Transfer-Encoding counts (RFC 9112, 6.3); the last part is the body of no other request.
    let cases = [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "X-A: b\nContent-Length: 0\n\n",
    ];
    for case in cases {
        let (mut peer, mut app, told) = both_ends(&ends);
        peer.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{case}").as_bytes()).unwrap();
        let request = head(&mut app);
        let lower = request.to_lowercase();
        let lengths = lower.matches("content-length").count();
        let chunked = lower.matches("transfer-encoding: chunked\r\n").count();
        assert_eq!(lengths + chunked, 1, "{case:?}: {request}");
        assert!(!request.replace("\r\n", "").contains('\n'), "{case:?}: {request:?}");
        assert_eq!(callers(&request), [&told]);
    }
}

#[test]
fn a_chunk_that_is_none_breaks_the_request_off() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    for chunk in ["x\r\n", "-1\r\n\r\n", "10000000000000000\r\n", "1\r\nabc\r\n"] {
        let (mut peer, mut app, _) = both_ends(&ends);
        let start = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        peer.send(start.as_bytes()).unwrap();
        head(&mut app);
        peer.send(chunk.as_bytes()).unwrap();
        let error = app.read_to_end(&mut Vec::new()).expect_err(chunk);
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        drop(peer.rest());
        ends.ended("http_protocol");
    }
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\npart").unwrap();
    head(&mut app);
    goes(peer);
    assert!(app.read_to_end(&mut Vec::new()).is_err());
    ends.ended("peer_reset");
}

#[test]
fn a_connection_may_rest_and_a_request_that_has_begun_may_not() {
    let mut ends = Ends::with_policy(POLICY, &["--handshake-timeout", "500ms"]);
    let (mut rests, mut rests_app, told) = both_ends(&ends);
    for begun in [&b"P"[..], b"GET / HTTP/1.1\r\nHost", b"PRI * HTTP/2.0\r\n"] {
        let (mut peer, mut app, _) = both_ends(&ends);
        peer.send(begun).unwrap();
        drop(peer.rest());
        goes(peer);
        let line = ends.ended("http_protocol");
        assert!(line["detail"].as_str().unwrap().contains("does not"), "{line}");
        drop(app.read(&mut [0]));
    }
    for _ in 0..2 {
        rests.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(callers(&head(&mut rests_app)), [&told]);
        // As long as it takes another one to be given up.
        let (mut late, _app, _) = both_ends(&ends);
        late.send(b"GET").unwrap();
        drop(late.rest());
        goes(late);
        ends.ended("http_protocol");
        rests_app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        head(&mut rests);
    }
}
