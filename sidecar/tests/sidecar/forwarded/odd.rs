//! Requests and responses that are unusual, and that many servers and clients take.

use std::fmt::Write as _;
use std::io::{Read, Write};

use super::stage::{POLICY, both_ends, callers, expect, goes, head};
use crate::ends::Ends;
use crate::stream::reset;

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn client_that_ends_after_a_whole_request_is_answered() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    for rest in ["\r\n", "Content-Length: 4\r\n\r\nbody"] {
        let (mut peer, mut app, told) = both_ends(&ends);
        peer.send_with_end(format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}").as_bytes());
        assert_eq!(callers(&head(&mut app)), [&told]);
        app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer").unwrap();
        let answer = String::from_utf8(peer.rest().unwrap()).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("answer"),
            "{answer}"
        );
        goes(peer);
        ends.ended("closed");
    }
    ends.leaks_nothing();
}

#[test]
fn more_headers_than_a_hundred_pass_both_ways() {
    let ends = Ends::with_policy(POLICY, &[]);
    let (mut peer, mut app, told) = both_ends(&ends);
    let mut many = String::new();
    for number in 0..240 {
        write!(many, "X-N{number}: {number}\r\n").unwrap();
    }
    peer.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes()).unwrap();
    let request = head(&mut app);
    assert_eq!(callers(&request), [&told]);
    assert!(request.contains("X-N239: 239\r\n"), "{request}");
    write!(app, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{many}\r\n").unwrap();
    assert!(head(&mut peer).contains("X-N239: 239\r\n"));
}

#[test]
fn response_that_cannot_be_read_is_a_bad_gateway() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    for response in ["nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n"] {
        let (mut peer, mut app, _) = both_ends(&ends);
        peer.send(ASK).unwrap();
        head(&mut app);
        app.write_all(response.as_bytes()).unwrap();
        let answer = head(&mut peer);
        assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
        assert!(peer.rest().unwrap().is_empty());
        goes(peer);
        let line = ends.ended("app_reset");
        assert!(line["detail"].as_str().unwrap().contains("cannot be read"), "{line}");
        drop(app.read(&mut [0]));
    }
    ends.leaks_nothing();
}

#[test]
fn response_of_an_old_server_is_written_anew() {
    let ends = Ends::with_policy(POLICY, &[]);
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(ASK).unwrap();
    head(&mut app);
    app.write_all(b"HTTP/1.0 200 OK\r\nX-A: one\r\n two\r\nX-B : b\r\nContent-Length: 2\r\n\r\nok")
        .unwrap();
    let answer = head(&mut peer);
    assert!(
        answer.lines().any(|line| line.starts_with("X-A: one") && line.ends_with("two")),
        "{answer}"
    );
    assert!(answer.contains("X-B: b\r\n"), "{answer}");
    expect(&mut peer, "ok");
}

#[test]
fn request_that_is_refused_is_named_in_the_log() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    let cases = [
        ("GET /search/<b>?token=secret HTTP/1.1", "\"GET /search/<b>\"..., where '<' is at 8"),
        ("GET /run/`id` HTTP/1.1", "'`' is at 5"),
        ("GET /s?q=\"x\" HTTP/1.1", "\"GET /s\"..., where '\"' is at 5"),
    ];
    for (line, expected) in cases {
        let (mut peer, _app, _) = both_ends(&ends);
        peer.send(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        assert!(head(&mut peer).starts_with("HTTP/1.1 400 "), "{line}");
        drop(peer.rest());
        goes(peer);
        let told = ends.ended("http_protocol");
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.contains(expected) && !detail.contains("secret"), "{line}: {detail}");
    }
}

#[test]
fn targets_that_are_odd_and_sound_arrive_as_they_are() {
    let ends = Ends::with_policy(POLICY, &[]);
    for (target, arrives) in [
        ("/a^b|c{d}", "/a^b|c{d}"),
        ("/k\u{e4}se", "/k\u{e4}se"),
        ("//x//y", "//x//y"),
        ("/a\"b", "/a\"b"),
        // A fragment is no part of a request's target (RFC 9110, 7.1).
        ("/a#b", "/a"),
    ] {
        let (mut peer, mut app, told) = both_ends(&ends);
        peer.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        let request = head(&mut app);
        assert!(request.starts_with(&format!("GET {arrives} HTTP/1.1\r\n")), "{request}");
        assert_eq!(callers(&request), [&told]);
    }
}

#[test]
fn client_that_resets_while_its_request_runs_takes_it_along() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(ASK).unwrap();
    head(&mut app);
    reset(peer.sock);
    assert!(app.read(&mut [0]).is_err());
    ends.ended("peer_reset");
    ends.leaks_nothing();
}

#[test]
fn requests_behind_the_one_that_runs_wait_their_turn_however_many_they_are() {
    let ends = Ends::with_policy(POLICY, &[]);
    let (mut peer, mut app, told) = both_ends(&ends);
    let all = ASK.repeat(2000);
    let sent = std::thread::spawn(move || {
        peer.send(&all).unwrap();
        peer
    });
    for _ in 0..2000 {
        assert_eq!(callers(&head(&mut app)), [&told]);
        app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    }
    let mut peer = sent.join().unwrap();
    for _ in 0..2000 {
        assert!(head(&mut peer).starts_with("HTTP/1.1 200 OK\r\n"));
    }
}
