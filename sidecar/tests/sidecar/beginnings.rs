//! Handshakes that are cut into odd pieces, and what comes in one piece with them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use rustls::ClientConnection;

use crate::authority::WEB;
use crate::ends::{Ends, Kind};
use crate::peer::{client_side, connect, server_side};
use crate::stream::{Peer, rest, send_with_fin};

fn client(ends: &Ends) -> ClientConnection {
    client_side(&ends.authority.pem(), Some(&ends.authority.issue(WEB)))
}

/// The same handshake message, in records of so many bytes each.
fn cut_up(record: &[u8], len: usize) -> Vec<u8> {
    let piece = |piece: &[u8]| {
        let len = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&[0x16, 3, 1, len[0], len[1]], piece].concat()
    };
    record[5..].chunks(len).flat_map(piece).collect()
}

#[test]
fn a_client_hello_may_come_in_many_records_and_many_segments() {
    for (len, together) in [(1, true), (7, true), (100, false), (500, true), (500, false)] {
        let ends = Ends::of(Kind::Inbound);
        let (mut tls, mut sock) = (client(&ends), connect(ends.at));
        let mut hello = Vec::new();
        tls.write_tls(&mut hello).unwrap();
        let records = cut_up(&hello, len);
        for segment in records.chunks(if together { records.len() } else { 50 }) {
            sock.write_all(segment).unwrap();
        }
        let mut peer = Peer::shaken(sock, tls);
        peer.send(b"hello").unwrap();
        ends.accept().read_exact(&mut [0; 5]).unwrap();
    }
}

/// Reads the server's flight, however many pieces it comes in.
fn answered(tls: &mut ClientConnection, sock: &mut TcpStream) {
    tls.write_tls(sock).unwrap();
    while tls.is_handshaking() && !tls.wants_write() {
        tls.read_tls(sock).unwrap();
        tls.process_new_packets().unwrap();
    }
}

#[test]
fn a_request_and_its_end_may_come_in_one_piece_with_the_handshake() {
    for len in [0, 1, 10_000] {
        let mut ends = Ends::of(Kind::Inbound);
        let (mut tls, mut sock) = (client(&ends), connect(ends.at));
        answered(&mut tls, &mut sock);
        tls.writer().write_all(&vec![7; len]).unwrap();
        tls.send_close_notify();
        let mut all = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut all).unwrap();
        }
        send_with_fin(&sock, &all);
        let app = ends.accept();
        assert_eq!(rest(&app).unwrap(), vec![7; len]);
        (&app).write_all(b"answer").unwrap();
        app.shutdown(Shutdown::Write).unwrap();
        let mut peer = Peer { sock, tls: Some(tls.into()) };
        assert_eq!(peer.rest().unwrap(), b"answer");
        ends.ended("closed");
    }
}

#[test]
fn the_end_of_a_handshake_may_come_a_byte_at_a_time() {
    let ends = Ends::of(Kind::Inbound);
    let (mut tls, mut sock) = (client(&ends), connect(ends.at));
    answered(&mut tls, &mut sock);
    tls.writer().write_all(b"hello").unwrap();
    let mut all = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut all).unwrap();
    }
    all.iter().for_each(|byte| sock.write_all(&[*byte]).unwrap());
    let mut heard = [0; 5];
    ends.accept().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
}

#[test]
fn an_upstream_may_answer_and_end_in_one_piece_with_the_handshake() {
    let mut ends = Ends::of(Kind::Outbound);
    let app = connect(ends.at);
    let mut sock = ends.accept();
    let mut tls = server_side(&ends.authority.issue(WEB), &ends.authority.pem());
    while tls.is_handshaking() {
        if tls.wants_write() {
            tls.write_tls(&mut sock).unwrap();
        } else {
            tls.read_tls(&mut sock).unwrap();
            tls.process_new_packets().unwrap();
        }
    }
    // Tickets, greeting and end.
    let mut peer = Peer { sock, tls: Some(tls.into()) };
    peer.send_with_end(b"greeting");
    assert_eq!(rest(&app).unwrap(), b"greeting");
    app.shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.rest().unwrap(), b"");
    ends.ended("closed");
}
