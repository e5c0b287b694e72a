//! Much that comes after the other side's end, or in the way of one.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::ends::{Ends, Kind};
use crate::stream::{Peer, reset, rest};

const MUCH: usize = 64 << 20;

/// Bytes of which no two neighbouring pieces are alike, so that a piece that is missing, doubled or
/// in another place is seen.
fn much() -> Vec<u8> {
    (0..MUCH as u64 / 8)
        .flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

#[test]
fn much_that_is_sent_after_the_other_side_ended_arrives_whole() {
    let much = much();
    for kind in Kind::ALL {
        let mut ends = Ends::of(kind);
        let (mut peer, mut app) = ends.connect();
        peer.end();
        assert_eq!(rest(&app).unwrap(), b"");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                app.write_all(&much).unwrap();
                app.shutdown(Shutdown::Write).unwrap();
            });
            assert!(peer.rest().unwrap() == much, "{kind:?}: down");
        });
        ends.ended("closed");
        let (mut peer, app) = ends.connect();
        app.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.rest().unwrap(), b"");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                peer.send(&much).unwrap();
                peer.end();
            });
            assert!(rest(&app).unwrap() == much, "{kind:?}: up");
        });
        ends.ended("closed");
        ends.leaks_nothing();
    }
}

#[test]
fn much_that_goes_both_ways_at_once_arrives_whole() {
    let much = much();
    for kind in [Kind::Inbound, Kind::Outbound] {
        let mut ends = Ends::of(kind);
        let (mut peer, app) = ends.connect();
        let (reading, mut writing) = (app.try_clone().unwrap(), app);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                writing.write_all(&much).unwrap();
                writing.shutdown(Shutdown::Write).unwrap();
            });
            let up = scope.spawn(|| rest(&reading).unwrap());
            // One thread for a session of rustls': it reads as much as it has sent.
            let mut down = vec![0; MUCH];
            for (piece, room) in much.chunks(1 << 20).zip(down.chunks_mut(1 << 20)) {
                peer.send(piece).unwrap();
                peer.read_exact(room).unwrap();
            }
            peer.end();
            assert!(peer.rest().unwrap().is_empty() && down == much, "{kind:?}: down");
            assert!(up.join().unwrap() == much, "{kind:?}: up");
        });
        ends.ended("closed");
        ends.leaks_nothing();
    }
}

/// Sends until nothing more is taken: what lies between is full.
fn fill(peer: &mut Peer) {
    let tls = peer.tls.as_mut().unwrap();
    tls.set_buffer_limit(None);
    tls.writer().write_all(&vec![7; 24 << 20]).unwrap();
    peer.sock.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while tls.wants_write() && tls.write_tls(&mut peer.sock).is_ok() {}
}

#[test]
fn an_application_that_breaks_off_while_it_does_not_read_is_told_as_that() {
    for kind in Kind::TLS {
        let mut ends = Ends::of(kind);
        let (mut peer, app) = ends.connect();
        fill(&mut peer);
        reset(app);
        ends.ended("app_reset");
        ends.leaks_nothing();
    }
}

#[test]
fn a_peer_that_breaks_off_while_nobody_reads_is_told_as_that() {
    for kind in Kind::TLS {
        let mut ends = Ends::of(kind);
        let (mut peer, mut app) = ends.connect();
        fill(&mut peer);
        reset(peer.sock);
        // Only what is sent to it finds out.
        app.write_all(b"is anybody there?").unwrap();
        ends.ended("peer_reset");
        ends.leaks_nothing();
    }
}
