//! What a client may do after an honest handshake: break the protocol, or keep us busy for nothing.

use std::io::Write;

use rustls::Connection;

use crate::authority::WEB;
use crate::ends::{Ends, Kind};
use crate::peer::connect;
use crate::stream::{is_reset, rest};
use crate::tls13::{ALERT, CHANGE, DATA, Forger, HANDSHAKE};

fn forger(ends: &Ends) -> Forger {
    Forger::shaken(connect(ends.at), &ends.authority.pem(), &ends.authority.issue(WEB))
}

/// Does something that must be cut at once, after the application has heard of the client.
fn cuts(name: &str, how: &str, detail: &str, what: impl Fn(&mut Forger) -> Vec<u8>) {
    let mut ends = Ends::of(Kind::Inbound);
    let mut forger = forger(&ends);
    let app = ends.accept();
    let before = forger.seal(DATA, b"before");
    forger.send(&before);
    (&app).take_exactly(b"before");
    let bytes = what(&mut forger);
    forger.send(&bytes);
    forger.is_cut();
    let read = rest(&app);
    assert!(is_reset(&read), "{name}: {read:?}");
    let line = ends.ended(how);
    let said = line["detail"].as_str().unwrap_or_default();
    assert!(said.contains(detail), "{name}: {said:?} does not say {detail:?}");
    let name = "countersign_sidecar_connections_closed_total";
    let closed = format!("{name}{{direction=\"inbound\",reason=\"{how}\"}}");
    assert_eq!(ends.sidecar.metric(&closed), Some(1.0));
    ends.leaks_nothing();
}

trait TakeExactly {
    fn take_exactly(self, wanted: &[u8]);
}

impl TakeExactly for &std::net::TcpStream {
    fn take_exactly(mut self, wanted: &[u8]) {
        let mut room = vec![0; wanted.len()];
        std::io::Read::read_exact(&mut self, &mut room).unwrap();
        assert_eq!(room, wanted);
    }
}

#[test]
fn a_record_that_was_changed_is_cut() {
    for place in [5, 9, 26] {
        cuts("changed", "tls_protocol", "changed on its way", |forger| {
            let mut record = forger.seal(DATA, b"after");
            record[place] ^= 1;
            record
        });
    }
}

#[test]
fn a_record_that_comes_twice_is_cut() {
    cuts("replayed", "tls_protocol", "changed on its way", |forger| {
        forger.seal(DATA, b"after").repeat(2)
    });
}

#[test]
fn a_record_longer_than_tls_allows_is_cut_before_it_has_come() {
    let longer = "longer than TLS allows";
    cuts("announced", "tls_protocol", longer, |_| vec![DATA, 3, 3, 0x48, 0x01]);
    cuts("sealed", "tls_protocol", longer, |forger| forger.seal(DATA, &[7; 16385]));
}

#[test]
fn a_change_of_cipher_after_the_handshake_is_cut() {
    cuts("bare", "tls_protocol", "a change of cipher", |_| vec![CHANGE, 3, 3, 0, 1, 1]);
    cuts("sealed", "tls_protocol", "unknown kind", |forger| forger.seal(CHANGE, &[1]));
}

#[test]
fn records_without_protection_are_cut() {
    for kind in [ALERT, HANDSHAKE] {
        cuts("bare", "tls_protocol", "an unprotected record", |_| vec![kind, 3, 3, 0, 2, 1, 0]);
    }
}

#[test]
fn records_without_content_are_cut_when_there_are_too_many() {
    cuts("empty data", "tls_protocol", "too many empty records", |forger| {
        (0..40).flat_map(|_| forger.seal(DATA, &[])).collect()
    });
    cuts("padding", "tls_protocol", "nothing but padding", |forger| forger.seal_padded(0, &[], 9));
    cuts("empty handshake", "tls_protocol", "empty handshake", |forger| {
        forger.seal(HANDSHAKE, &[])
    });
}

#[test]
fn warnings_without_end_are_cut() {
    cuts("warnings", "tls_protocol", "too many warnings", |forger| {
        (0..40).flat_map(|_| forger.seal(ALERT, &[1, 90])).collect()
    });
    cuts("broken", "tls_protocol", "an alert", |forger| forger.seal(ALERT, &[1]));
    cuts("fatal", "peer_alert", "80", |forger| forger.seal(ALERT, &[2, 80]));
}

#[test]
fn handshake_messages_that_have_no_place_are_cut() {
    let unexpected = "only data may come";
    cuts("a ClientHello", "tls_protocol", unexpected, |forger| {
        forger.seal(HANDSHAKE, &[1, 0, 0, 0])
    });
    cuts("a ticket", "tls_protocol", unexpected, |forger| forger.seal(HANDSHAKE, &[4, 0, 0, 0]));
    cuts("data in a message", "tls_protocol", unexpected, |forger| {
        [forger.seal(HANDSHAKE, &[24, 0]), forger.seal(DATA, b"x")].concat()
    });
    cuts("two updates at once", "tls_protocol", unexpected, |forger| {
        forger.seal(HANDSHAKE, &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0])
    });
    cuts("a long message", "tls_protocol", "longer than TLS allows", |forger| {
        let begin = forger.seal(HANDSHAKE, &[24, 0, 0xff, 0xff]);
        (0..40).fold(begin, |all, _| [all, forger.seal(HANDSHAKE, &[0; 1000])].concat())
    });
}

#[test]
fn key_updates_without_end_are_cut() {
    let mut ends = Ends::of(Kind::Inbound);
    let (mut peer, app) = ends.connect();
    peer.send(b"before").unwrap();
    (&app).take_exactly(b"before");
    let Some(Connection::Client(tls)) = &mut peer.tls else { unreachable!() };
    for _ in 0..1000 {
        tls.refresh_traffic_keys().unwrap();
        if tls.write_tls(&mut peer.sock).is_err() {
            break;
        }
    }
    let read = rest(&app);
    assert!(is_reset(&read), "{read:?}");
    let line = ends.ended("tls_protocol");
    assert!(line["detail"].as_str().unwrap().contains("too many messages"), "{line}");
    drop(peer.sock.flush());
}

#[test]
fn a_peer_that_goes_on_after_its_close_notify_is_cut_after_a_while() {
    cuts_after_end(|forger| forger.seal(DATA, &[7; 16000]).repeat(20));
}

fn cuts_after_end(what: impl Fn(&mut Forger) -> Vec<u8>) {
    let mut ends = Ends::of(Kind::Inbound);
    let mut forger = forger(&ends);
    let app = ends.accept();
    let end = forger.seal(ALERT, &[1, 0]);
    forger.send(&end);
    assert_eq!(rest(&app).unwrap(), b"");
    let more = what(&mut forger);
    forger.send(&more);
    forger.is_cut();
    let line = ends.ended("tls_protocol");
    assert!(line["detail"].as_str().unwrap().contains("after its close_notify"), "{line}");
}
