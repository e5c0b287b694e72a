//! Keys: how they are agreed on, how they change in the midst of a connection, and that no session is
//! ever resumed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use countersign_sidecar::tls::provider::provider;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::{ClientConfig, ClientConnection, Connection, HandshakeKind, NamedGroup, version};

use crate::authority::WEB;
use crate::ends::{Ends, Kind};
use crate::openssl::Openssl;
use crate::peer::{chain, client_config, client_of, connect, key, roots};
use crate::stream::{Peer, rest};

fn refresh(peer: &mut Peer) {
    match peer.tls.as_mut().unwrap() {
        Connection::Client(tls) => tls.refresh_traffic_keys().unwrap(),
        Connection::Server(tls) => tls.refresh_traffic_keys().unwrap(),
    }
}

#[test]
fn keys_may_change_at_any_time_in_either_role() {
    let piece: Vec<u8> = (0..2_000_003_u32).map(|byte| byte.to_le_bytes()[0] ^ 0x5a).collect();
    for kind in Kind::TLS {
        let mut ends = Ends::of(kind);
        let (mut peer, app) = ends.connect();
        for round in 0..20 {
            // With data before and behind it, and at rest.
            refresh(&mut peer);
            if round % 3 == 0 {
                refresh(&mut peer);
            }
            let mut heard = vec![0; piece.len()];
            std::thread::scope(|scope| {
                scope.spawn(|| (&app).read_exact(&mut heard).unwrap());
                peer.send(&piece).unwrap();
            });
            assert!(heard == piece, "{kind:?} up, round {round}");
            std::thread::scope(|scope| {
                scope.spawn(|| (&app).write_all(&piece).unwrap());
                peer.read_exact(&mut heard).unwrap();
            });
            assert!(heard == piece, "{kind:?} down, round {round}");
        }
        peer.end();
        assert_eq!(rest(&app).unwrap(), b"");
        app.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.rest().unwrap(), b"");
        ends.ended("closed");
    }
}

#[test]
fn keys_may_change_after_the_other_side_has_ended() {
    for kind in Kind::TLS {
        let mut ends = Ends::of(kind);
        let (mut peer, mut app) = ends.connect();
        app.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.rest().unwrap(), b"");
        for _ in 0..5 {
            // It asks for a change of ours, which has no use any more.
            refresh(&mut peer);
            peer.send(b"still here").unwrap();
            app.read_exact(&mut [0; 10]).unwrap();
        }
        peer.end();
        assert_eq!(rest(&app).unwrap(), b"");
        ends.ended("closed");
    }
}

fn hears(mut app: &TcpStream, line: &str) {
    let mut heard = vec![0; line.len()];
    app.read_exact(&mut heard).unwrap();
    assert_eq!(String::from_utf8(heard).unwrap(), line);
}

#[test]
fn openssl_s_key_updates_are_followed_and_answered() {
    let mut ends = Ends::of(Kind::Inbound);
    let set = ends.authority.issue(WEB);
    let mut openssl = Openssl::call(ends.at, &ends.authority, &set, &["-tls1_3"]);
    let app = ends.accept();
    // `k` changes its own key, `K` asks for ours, too.
    for command in ["k\n", "K\n", "K\n", "k\n", "K\n"] {
        openssl.types("up\n");
        hears(&app, "up\n");
        openssl.types(command);
        openssl.says("KEYUPDATE");
        openssl.types("more\n");
        hears(&app, "more\n");
        (&app).write_all(b"this is down\n").unwrap();
        openssl.says("this is down");
    }
    openssl.types("Q\n");
    assert_eq!(rest(&app).unwrap(), b"");
    drop(app);
    ends.ended("closed");
}

fn config(ends: &Ends, groups: CryptoProvider) -> ClientConfig {
    let set = ends.authority.issue(WEB);
    ClientConfig::builder_with_provider(Arc::new(groups))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(roots(&ends.authority.pem()))
        .with_client_auth_cert(chain(&set), key(&set))
        .unwrap()
}

fn group(tls: &Connection) -> NamedGroup {
    tls.negotiated_key_exchange_group().unwrap().name()
}

#[test]
fn keys_are_agreed_on_as_well_as_the_other_side_can() {
    let ends = Ends::of(Kind::Inbound);
    let cases = [
        (vec![kx_group::X25519MLKEM768, kx_group::X25519], NamedGroup::X25519MLKEM768),
        // What the client begins with is taken: another would cost it a round trip.
        (vec![kx_group::X25519, kx_group::X25519MLKEM768], NamedGroup::X25519),
        (vec![kx_group::X25519], NamedGroup::X25519),
        (vec![kx_group::SECP256R1], NamedGroup::secp256r1),
        // It begins with one that we do not speak, and is asked for another.
        (vec![kx_group::SECP384R1, kx_group::SECP256R1], NamedGroup::secp256r1),
    ];
    for (kx_groups, wanted) in cases {
        let groups = CryptoProvider { kx_groups, ..(*provider()).clone() };
        let peer = Peer::shaken(connect(ends.at), client_of(config(&ends, groups)));
        assert_eq!(group(peer.tls.as_ref().unwrap()), wanted);
    }
    let (peer, _app) = Ends::of(Kind::Outbound).connect();
    assert_eq!(group(peer.tls.as_ref().unwrap()), NamedGroup::X25519MLKEM768);
}

#[test]
fn a_client_without_a_group_of_ours_is_refused() {
    let mut ends = Ends::of(Kind::Inbound);
    let groups = CryptoProvider { kx_groups: vec![kx_group::SECP384R1], ..(*provider()).clone() };
    assert!(Peer::try_shaken(connect(ends.at), client_of(config(&ends, groups))).is_err());
    assert_eq!(ends.sidecar.line("message", "refused")["reason"], "tls_incompatible");
}

#[test]
fn no_session_is_resumed_and_no_ticket_is_sent() {
    let ends = Ends::of(Kind::Inbound);
    let set = ends.authority.issue(WEB);
    let config = Arc::new(client_config(&ends.authority.pem(), Some(&set)));
    for _ in 0..3 {
        let tls = ClientConnection::new(config.clone(), "web.test".try_into().unwrap()).unwrap();
        let mut peer = Peer::shaken(connect(ends.at), tls);
        let app = ends.accept();
        (&app).write_all(b"hello").unwrap();
        peer.read_exact(&mut [0; 5]).unwrap();
        let Some(Connection::Client(tls)) = peer.tls else { unreachable!() };
        assert_eq!(
            (tls.handshake_kind(), tls.tls13_tickets_received()),
            (Some(HandshakeKind::Full), 0)
        );
    }
    for version in ["-tls1_3", "-tls1_2"] {
        let ends = Ends::with_policy(r#"{"default":{"minVersion":"1.2"}}"#, &[]);
        let mut openssl =
            Openssl::call(ends.at, &ends.authority, &ends.authority.issue(WEB), &[version]);
        let app = ends.accept();
        (&app).write_all(b"hello\n").unwrap();
        openssl.types("Q\n");
        drop(app);
        let said = openssl.ends();
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
        assert!(!said.contains("TLS session ticket"), "{version}: {said}");
        assert!(!said.contains("Session Ticket arrived"), "{version}: {said}");
    }
}
