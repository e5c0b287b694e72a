//! Connections that are live, and what ends them: each by its name, and no others with them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::authority::{Authority, Set, Validity, WEB};
use crate::ends::{Ends, Kind};
use crate::peer::{client_side, connect, server_side};
use crate::program::until;
use crate::stream::{Peer, is_reset, rest};

const OTHER: &str = "spiffe://cluster.local/ns/shop/sa/other";

/// Something comes through, both ways.
fn flows(peer: &mut Peer, app: &mut TcpStream) {
    peer.send(b"there").unwrap();
    app.read_exact(&mut [0; 5]).unwrap();
    app.write_all(b"back").unwrap();
    peer.read_exact(&mut [0; 4]).unwrap();
}

/// What waits for both ends of a connection that was ended by us.
fn is_cut(peer: &mut Peer, app: &TcpStream) {
    let read = rest(app);
    assert!(is_reset(&read), "{read:?}");
    let read = peer.rest();
    assert!(read.is_err(), "{read:?}");
}

#[test]
fn a_connection_ends_with_its_peer_s_certificate_and_others_go_on() {
    for kind in Kind::TLS {
        let mut ends = Ends::with(kind, &["--peer-expiry-grace", "0s"]);
        let (mut long, mut long_app) = ends.connect();
        let short = ends.authority.issue_for(WEB, Validity::Seconds(3));
        let (mut peer, mut app) = ends.connect_as(&short);
        flows(&mut peer, &mut app);
        let said = peer.rest().unwrap_err().to_string();
        assert!(said.contains("CertificateExpired"), "{said}");
        assert!(is_reset(&rest(&app)));
        ends.ended("peer_expired");
        flows(&mut long, &mut long_app);
    }
}

#[test]
fn a_connection_may_outlast_its_peer_s_certificate_by_the_grace() {
    let mut ends = Ends::with(Kind::Inbound, &["--peer-expiry-grace", "3s"]);
    let short = ends.authority.issue_for(WEB, Validity::Seconds(2));
    let (mut peer, mut app) = ends.connect_as(&short);
    until("it has expired for those that come now", || {
        let tls = client_side(&ends.authority.pem(), Some(&short));
        drop(Peer::try_shaken(connect(ends.at), tls));
        (ends.sidecar.refusals("inbound", "peer_expired") >= Some(1.0)).then_some(())
    });
    flows(&mut peer, &mut app);
    is_cut(&mut peer, &app);
    ends.sidecar.line("end", "peer_expired");
}

/// A peer that was renewed keeps its connections, and nothing here says which were.
#[test]
fn a_connection_goes_on_by_default_after_its_peer_s_certificate_has_ended() {
    let ends = Ends::of(Kind::Inbound);
    let short = ends.authority.issue_for(WEB, Validity::Seconds(2));
    let (mut peer, mut app) = ends.connect_as(&short);
    until("it has expired for those that come now", || {
        let tls = client_side(&ends.authority.pem(), Some(&short));
        drop(Peer::try_shaken(connect(ends.at), tls));
        (ends.sidecar.refusals("inbound", "peer_expired") >= Some(1.0)).then_some(())
    });
    // Longer than sweeps are apart.
    for _ in 0..3 {
        std::thread::park_timeout(Duration::from_secs(1));
        flows(&mut peer, &mut app);
    }
}

/// Waits until a second set is in force.
fn in_force(ends: &mut Ends) {
    ends.sidecar.line("message", "credentials in use");
}

#[test]
fn connections_of_a_root_that_is_taken_away_end_and_those_of_others_go_on() {
    let mut ends = Ends::of(Kind::Inbound);
    in_force(&mut ends);
    let new = Authority::new("new root");
    let both = Set { ca: ends.authority.pem() + &new.pem(), ..ends.authority.issue(WEB) };
    ends.folder.swap("both", &both);
    in_force(&mut ends);
    let (mut old, mut old_app) = ends.connect();
    let (mut kept, mut kept_app) = ends.connect_as(&new.issue(WEB));
    flows(&mut old, &mut old_app);
    ends.folder.swap("new", &new.issue(WEB));
    in_force(&mut ends);
    is_cut(&mut old, &old_app);
    ends.ended("peer_untrusted");
    flows(&mut kept, &mut kept_app);
}

#[test]
fn a_connection_ends_when_its_peer_is_revoked_and_others_go_on() {
    for kind in Kind::TLS {
        let mut ends = Ends::of(kind);
        in_force(&mut ends);
        let revoked = ends.authority.issue(WEB);
        let (mut peer, app) = ends.connect_as(&revoked);
        let (mut other, mut other_app) = ends.connect();
        let list = ends.authority.revokes(&revoked);
        ends.folder.swap_with("listed", &ends.authority.issue(WEB), Some(&list));
        in_force(&mut ends);
        is_cut(&mut peer, &app);
        ends.ended("peer_untrusted");
        flows(&mut other, &mut other_app);
    }
}

#[test]
fn a_connection_ends_when_the_policy_does_not_allow_its_peer_any_longer() {
    let policy = |ids: &str| format!(r#"{{"default":{{"allow":[{ids}]}}}}"#);
    let mut ends = Ends::with_policy(&policy(&format!("\"{WEB}\",\"{OTHER}\"")), &[]);
    in_force(&mut ends);
    let (mut peer, app) = ends.connect_as(&ends.authority.issue(OTHER));
    let (mut kept, mut kept_app) = ends.connect();
    ends.folder.put("policy.json", &policy(&format!("\"{WEB}\"")));
    in_force(&mut ends);
    is_cut(&mut peer, &app);
    ends.ended("peer_not_allowed");
    flows(&mut kept, &mut kept_app);
}

/// Revokes a peer that has a live connection, and waits until a sweep has cut that one.
fn revoked(ends: &mut Ends, set: &Set) {
    let _live = ends.connect_as(set);
    let list = ends.authority.revokes(set);
    ends.folder.swap_with("listed", &ends.authority.issue(WEB), Some(&list));
    ends.ended("peer_untrusted");
}

#[test]
fn a_handshake_that_lasts_across_a_change_is_judged_by_what_holds_at_its_end() {
    let mut ends = Ends::of(Kind::Inbound);
    let client = ends.authority.issue(WEB);
    let mut tls = client_side(&ends.authority.pem(), Some(&client));
    let mut sock = connect(ends.at);
    tls.write_tls(&mut sock).unwrap();
    tls.read_tls(&mut sock).unwrap();
    revoked(&mut ends, &client);
    tls.process_new_packets().unwrap();
    let answer = Peer::try_shaken(sock, tls).and_then(|mut peer| peer.rest());
    assert!(answer.is_err(), "{answer:?}");
    ends.ended("peer_untrusted");

    let mut ends = Ends::of(Kind::Outbound);
    let server = ends.authority.issue(WEB);
    let app = connect(ends.at);
    let sock = ends.accept();
    revoked(&mut ends, &server);
    drop(Peer::try_shaken(sock, server_side(&server, &ends.authority.pem())));
    assert!(is_reset(&rest(&app)));
    ends.ended("peer_untrusted");
}

#[test]
fn a_connection_over_which_nothing_passes_ends() {
    for kind in Kind::ALL {
        let mut ends = Ends::with(kind, &["--idle-timeout", "400ms"]);
        let (mut peer, mut app) = ends.connect();
        // As long as something passes, it goes on for longer than that.
        for _ in 0..10 {
            flows(&mut peer, &mut app);
            std::thread::park_timeout(Duration::from_millis(100));
        }
        is_cut(&mut peer, &app);
        ends.ended("idle_timeout");
        ends.leaks_nothing();
    }
}

#[test]
fn a_connection_of_which_one_end_is_done_ends_sooner() {
    for kind in Kind::ALL {
        let mut ends = Ends::with(kind, &["--half-closed-timeout", "300ms"]);
        let (mut whole, mut whole_app) = ends.connect();
        let (mut peer, app) = ends.connect();
        peer.end();
        assert_eq!(rest(&app).unwrap(), b"");
        assert!(peer.rest().is_err());
        ends.ended("half_closed_timeout");
        let (mut peer, app) = ends.connect();
        app.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.rest().unwrap(), b"");
        assert!(is_reset(&rest(&app)));
        ends.ended("half_closed_timeout");
        flows(&mut whole, &mut whole_app);
    }
}

#[test]
fn an_end_that_does_not_read_what_it_is_sent_is_cut() {
    for kind in Kind::ALL {
        let mut ends = Ends::with(kind, &["--stall-timeout", "1500ms"]);
        let (_peer, mut app) = ends.connect();
        while app.write_all(&[7; 1 << 16]).is_ok() {}
        ends.ended("stalled");
        let (mut peer, _app) = ends.connect();
        while peer.send(&[7; 1 << 16]).is_ok() {}
        ends.ended("stalled");
        ends.leaks_nothing();
    }
}

#[test]
fn an_end_that_reads_slowly_is_not_cut() {
    for kind in Kind::TLS {
        let mut ends = Ends::with(kind, &["--stall-timeout", "1500ms"]);
        let (mut peer, mut app) = ends.connect();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                app.write_all(&vec![7; 24 << 20]).unwrap();
                app.shutdown(Shutdown::Write).unwrap();
            });
            let mut room = vec![0; 1 << 20];
            for _ in 0..24 {
                peer.read_exact(&mut room).unwrap();
                std::thread::park_timeout(Duration::from_millis(150));
            }
        });
        peer.end();
        peer.rest().unwrap();
        ends.ended("closed");
    }
}

#[test]
fn what_outlasts_the_drain_is_cut_by_name_at_both_ends() {
    for kind in Kind::ALL {
        let mut ends = Ends::with(kind, &["--drain-timeout", "300ms"]);
        let (mut peer, mut app) = ends.connect();
        flows(&mut peer, &mut app);
        ends.sidecar.terminate();
        is_cut(&mut peer, &app);
        ends.ended("drained");
        assert_eq!(ends.sidecar.wait().code(), Some(0));
    }
}
