//! What a client may send while no head of a request has begun, for as long as it likes.

use std::io::{Read, Write};

use hyper::Response;

use super::frames::{frame, get, greeted, next};
use super::hyper2::{Frames, application};
use super::stage::{POLICY, Stage, both_ends, callers, expect, goes, head};
use crate::ends::Ends;

const SHORT: [&str; 2] = ["--handshake-timeout", "500ms"];
const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Waits as long as it takes until a head that has begun just now is given up.
fn a_head_is_given_up(ends: &mut Ends) {
    let (mut late, _app, _) = both_ends(ends);
    late.send(b"GET").unwrap();
    drop(late.rest());
    goes(late);
    ends.ended("http_protocol");
}

#[test]
fn http2_connection_that_rests_is_not_cut_whatever_frames_come() {
    let app = application(|_| async { Response::new(Frames::none()) });
    let mut stage = Stage::with(app, POLICY, &SHORT);
    let mut peer = greeted(&stage);
    let frames = [
        frame(4, 1, 0, &[]),
        frame(6, 0, 0, &[0; 8]),
        frame(8, 0, 0, &[0, 0, 0, 1]),
        frame(2, 0, 3, &[0, 0, 0, 0, 16]),
    ];
    for (place, quiet) in frames.iter().enumerate() {
        peer.send(quiet).unwrap();
        // A list of headers that does not end has a deadline, in a frame or between two.
        let mut late = greeted(&stage);
        let begun = get(1, "x-a", "b");
        match place % 2 {
            0 => late.send(&begun[..10]).unwrap(),
            _ => late.send(&frame(1, 1, 1, &begun[9..])).unwrap(),
        }
        drop(late.rest());
        goes(late);
        let line = stage.sidecar.line("message", "connection");
        assert_eq!(line["end"], "http_protocol", "{line}");
    }
    peer.send(&get(5, "x-a", "b")).unwrap();
    assert_eq!(next(&mut peer, 1).0, 5, "a request is answered after all that");
}

#[test]
fn empty_lines_between_requests_begin_no_head() {
    let mut ends = Ends::with_policy(POLICY, &SHORT);
    let (mut peer, mut app, told) = both_ends(&ends);
    for _ in 0..2 {
        peer.send(ASK).unwrap();
        assert_eq!(callers(&head(&mut app)), [&told]);
        app.write_all(ANSWER).unwrap();
        head(&mut peer);
        peer.send(b"\r\n").unwrap();
        a_head_is_given_up(&mut ends);
    }
}

#[test]
fn upload_that_is_answered_early_may_go_on() {
    let mut ends = Ends::with_policy(POLICY, &SHORT);
    let (mut peer, mut app, told) = both_ends(&ends);
    peer.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\nfirst").unwrap();
    head(&mut app);
    expect(&mut app, "first");
    app.write_all(ANSWER).unwrap();
    assert!(head(&mut peer).starts_with("HTTP/1.1 200 OK\r\n"));
    for more in ["and a", "gain."] {
        a_head_is_given_up(&mut ends);
        peer.send(more.as_bytes()).unwrap();
        expect(&mut app, more);
    }
    peer.send(ASK).unwrap();
    assert_eq!(callers(&head(&mut app)), [&told]);
    drop(app.read(&mut []));
}
