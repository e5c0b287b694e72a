//! How connections end, in every combination, byte for byte; and that each end is told as what it is.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::ends::{Ends, Kind};
use crate::stream::{is_reset, reset, rest, send_with_fin};

#[test]
fn whoever_ends_first_still_hears_the_other_out() {
    for kind in Kind::ALL {
        let mut ends = Ends::of(kind);
        let (mut peer, mut app) = ends.connect();
        peer.send(b"question").unwrap();
        peer.end();
        assert_eq!(rest(&app).unwrap(), b"question", "{kind:?}");
        app.write_all(b"answer").unwrap();
        app.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.rest().unwrap(), b"answer", "{kind:?}");
        let line = ends.ended("closed");
        let (inside, outside) = if kind == Kind::Outbound { (6, 8) } else { (8, 6) };
        assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&inside.into(), &outside.into()));

        let (mut peer, mut app) = ends.connect();
        app.write_all(b"farewell").unwrap();
        app.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.rest().unwrap(), b"farewell", "{kind:?}");
        peer.send(b"last word").unwrap();
        peer.end();
        assert_eq!(rest(&app).unwrap(), b"last word", "{kind:?}");
        ends.ended("closed");
        drop((peer, app));
        ends.leaks_nothing();
    }
}

#[test]
fn both_may_end_at_once() {
    for kind in Kind::ALL {
        let mut ends = Ends::of(kind);
        for _ in 0..20 {
            let (mut peer, mut app) = ends.connect();
            peer.send(b"up").unwrap();
            app.write_all(b"down").unwrap();
            peer.end();
            app.shutdown(Shutdown::Write).unwrap();
            assert_eq!(rest(&app).unwrap(), b"up", "{kind:?}");
            assert_eq!(peer.rest().unwrap(), b"down", "{kind:?}");
            ends.ended("closed");
        }
        ends.leaks_nothing();
    }
}

#[test]
fn data_and_its_end_may_come_in_one_segment() {
    for kind in Kind::ALL {
        let mut ends = Ends::of(kind);
        let (mut peer, app) = ends.connect();
        peer.send_with_end(b"all of it");
        assert_eq!(rest(&app).unwrap(), b"all of it", "{kind:?}");
        send_with_fin(&app, b"all of this");
        assert_eq!(peer.rest().unwrap(), b"all of this", "{kind:?}");
        ends.ended("closed");
        ends.leaks_nothing();
    }
}

#[test]
fn a_close_notify_without_fin_is_an_end() {
    for kind in Kind::TLS {
        let mut ends = Ends::of(kind);
        let (mut peer, mut app) = ends.connect();
        peer.send(b"question").unwrap();
        peer.close_notify();
        assert_eq!(rest(&app).unwrap(), b"question", "{kind:?}");
        app.write_all(b"answer").unwrap();
        app.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.rest().unwrap(), b"answer", "{kind:?}");
        ends.ended("closed");
        ends.leaks_nothing();
    }
}

#[test]
fn a_fin_without_close_notify_is_a_truncation_and_resets_the_application() {
    for kind in Kind::TLS {
        let mut ends = Ends::of(kind);
        let (mut peer, mut app) = ends.connect();
        peer.send(b"pay 10").unwrap();
        let mut heard = [0; 6];
        app.read_exact(&mut heard).unwrap();
        peer.fin();
        let read = app.read(&mut heard);
        assert!(is_reset(&read), "{kind:?}: {read:?}");
        ends.ended("truncated");
        ends.leaks_nothing();
    }
}

#[test]
fn a_fin_in_the_midst_of_a_record_is_a_truncation() {
    for kind in Kind::TLS {
        let mut ends = Ends::of(kind);
        let (mut peer, app) = ends.connect();
        let tls = peer.tls.as_mut().unwrap();
        tls.writer().write_all(b"pay 10").unwrap();
        let mut record = Vec::new();
        tls.write_tls(&mut record).unwrap();
        send_with_fin(&peer.sock, &record[..record.len() - 1]);
        let read = rest(&app);
        assert!(is_reset(&read), "{kind:?}: {read:?}");
        ends.ended("truncated");
    }
}

#[test]
fn a_peer_that_breaks_off_is_never_a_clean_end_for_the_application() {
    for kind in Kind::ALL {
        let mut ends = Ends::of(kind);
        let (mut peer, mut app) = ends.connect();
        peer.send(b"half").unwrap();
        app.read_exact(&mut [0; 4]).unwrap();
        reset(peer.sock);
        let read = app.read(&mut [0]);
        assert!(is_reset(&read), "{kind:?}: {read:?}");
        ends.ended("peer_reset");
        ends.leaks_nothing();
    }
}

#[test]
fn an_application_that_breaks_off_is_never_a_clean_end_for_its_peer() {
    for kind in Kind::ALL {
        let mut ends = Ends::of(kind);
        let (mut peer, mut app) = ends.connect();
        app.write_all(b"half").unwrap();
        peer.read_exact(&mut [0; 4]).unwrap();
        reset(app);
        let read = peer.rest();
        assert!(is_reset(&read), "{kind:?}: {read:?}");
        ends.ended("app_reset");
        ends.leaks_nothing();
    }
}

#[test]
fn whoever_ended_may_still_break_off_what_the_other_sends() {
    for kind in Kind::ALL {
        let mut ends = Ends::of(kind);
        let (mut peer, mut app) = ends.connect();
        peer.end();
        rest(&app).unwrap();
        reset(peer.sock);
        while app.write_all(b"is anybody there?").is_ok() {
            std::thread::yield_now();
        }
        ends.ended("peer_reset");

        let (mut peer, app) = ends.connect();
        app.shutdown(Shutdown::Write).unwrap();
        peer.rest().unwrap();
        reset(app);
        while peer.send(b"is anybody there?").is_ok() {
            std::thread::yield_now();
        }
        ends.ended("app_reset");
        ends.leaks_nothing();
    }
}
