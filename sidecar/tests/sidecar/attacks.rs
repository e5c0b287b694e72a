//! What strangers may do to the port before they have proved who they are: each is cut by its
//! deadline or at once, by name, and costs the application nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::ends::{Ends, Kind};
use crate::peer::{client_side, connect};
use crate::program::PATIENCE;

const HURRY: [&str; 2] = ["--handshake-timeout", "600ms"];

/// A ClientHello as rustls sends it.
pub(crate) fn hello(ends: &Ends) -> Vec<u8> {
    let mut hello = Vec::new();
    client_side(&ends.authority.pem(), None).write_tls(&mut hello).unwrap();
    hello
}

/// Waits until the sidecar has ended the connection; how long that took.
fn cut(stranger: &mut TcpStream) -> Duration {
    let since = Instant::now();
    let mut room = [0; 4096];
    loop {
        match stranger.read(&mut room) {
            Ok(0) => return since.elapsed(),
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "it is still there");
                return since.elapsed();
            }
            Ok(_) => {}
        }
    }
}

fn refused(ends: &mut Ends, reason: &str) -> String {
    let line = ends.sidecar.line("message", "refused");
    assert_eq!(line["reason"], reason, "{line}");
    assert_eq!(ends.sidecar.refusals("inbound", reason), Some(1.0));
    ends.behind.set_nonblocking(true).unwrap();
    assert!(ends.behind.accept().is_err(), "the application was called");
    ends.leaks_nothing();
    line["detail"].as_str().unwrap().to_owned()
}

/// Sends something that must be cut at once, and long before the deadline of a handshake.
fn cuts_at_once(name: &str, bytes: impl Fn(&Ends) -> Vec<u8>, reason: &str) -> String {
    let mut ends = Ends::with(Kind::Inbound, &["--handshake-timeout", "60s"]);
    let mut stranger = connect(ends.at);
    // It may be cut before all of it is sent.
    drop(stranger.write_all(&bytes(&ends)));
    assert!(cut(&mut stranger) < PATIENCE, "{name}");
    refused(&mut ends, reason)
}

#[test]
fn who_sends_nothing_is_cut() {
    let mut ends = Ends::with(Kind::Inbound, &HURRY);
    cut(&mut connect(ends.at));
    refused(&mut ends, "first_byte_timeout");
}

#[test]
fn who_sends_a_byte_at_a_time_is_cut() {
    let mut ends = Ends::with(Kind::Inbound, &HURRY);
    let (hello, mut stranger) = (hello(&ends), connect(ends.at));
    let since = Instant::now();
    for byte in hello.iter().cycle() {
        if stranger.write_all(&[*byte]).is_err() {
            break;
        }
        assert!(since.elapsed() < PATIENCE);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    refused(&mut ends, "handshake_timeout");
}

#[test]
fn who_stops_after_its_client_hello_is_cut() {
    let mut ends = Ends::with(Kind::Inbound, &HURRY);
    let mut stranger = connect(ends.at);
    stranger.write_all(&hello(&ends)).unwrap();
    cut(&mut stranger);
    refused(&mut ends, "handshake_timeout");
}

#[test]
fn what_is_not_tls_is_cut_at_once_and_named() {
    let cases: [(&str, &[u8]); 7] = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("HTTP", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("SSL 2.0", &[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10]),
        ("the PROXY protocol", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        ("the PROXY protocol", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"),
        ("something else", &[0x15, 3, 1, 0, 2, 1, 0]),
        ("something else", b"SSH-2.0-x\r\n"),
    ];
    for (name, bytes) in cases {
        let detail = cuts_at_once(name, |_| bytes.to_vec(), "plaintext");
        assert!(detail.contains(name), "{detail:?} does not name {name}");
    }
}

#[test]
fn what_only_claims_to_be_tls_is_cut_at_once() {
    // Of no version, of no length, and of no sense.
    let cases: [(&str, Vec<u8>); 4] = [
        ("garbage", [&[0x16][..], &[0xa5; 4000]].concat()),
        ("an empty handshake record", vec![0x16, 3, 1, 0, 0]),
        ("a message that is none", vec![0x16, 3, 1, 0, 4, 9, 9, 9, 9]),
        ("a ServerHello", vec![0x16, 3, 1, 0, 4, 2, 0, 0, 0]),
    ];
    for (name, bytes) in cases {
        cuts_at_once(name, |_| bytes.clone(), "tls_protocol");
    }
}

#[test]
fn a_client_hello_of_64_kib_is_cut_at_once_in_one_record_or_in_many() {
    let one = |_: &Ends| [&[0x16, 3, 1, 0xff, 0xff, 1, 0, 0xff, 0xfb][..], &[0; 65000]].concat();
    cuts_at_once("in one record", one, "tls_protocol");
    cuts_at_once("in many records", |_| long_hello(), "tls_protocol");
}

#[test]
fn a_client_hears_that_its_hello_is_too_long() {
    let ends = Ends::of(Kind::Inbound);
    let mut stranger = connect(ends.at);
    stranger.write_all(&long_hello()).unwrap();
    let mut said = [0; 7];
    stranger.read_exact(&mut said).unwrap();
    // A fatal alert: illegal_parameter.
    assert_eq!(said, [21, 3, 3, 0, 2, 2, 47]);
}

/// A ClientHello of 64 KiB, in records of a thousand bytes.
fn long_hello() -> Vec<u8> {
    let message = [&[1, 0, 0xff, 0xfb, 3, 3][..], &[0; 65000]].concat();
    let record = |piece: &[u8]| {
        let len = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&[0x16, 3, 1, len[0], len[1]], piece].concat()
    };
    message.chunks(1000).flat_map(record).collect()
}

#[test]
fn alerts_without_end_in_the_midst_of_a_handshake_are_cut_at_once() {
    let flood = |ends: &Ends| {
        let alerts = [0x15, 3, 3, 0, 2, 1, 90].repeat(1000);
        [hello(ends), alerts].concat()
    };
    cuts_at_once("alerts", flood, "tls_protocol");
}
