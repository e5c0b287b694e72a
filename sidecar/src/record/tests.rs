//! Sessions, with rustls itself at the other end, in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::CryptoProvider;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedCipherSuite, version,
};
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::{Error, MAX_PLAINTEXT, Negotiated, OVERHEAD, Opened, Session, alert};
use crate::tls::handshake::Side;
use crate::tls::provider::provider_of_both_versions;

/// Which side of the handshake the session was.
#[derive(Clone, Copy, Debug)]
enum Role {
    Server,
    Client,
}

/// A session, and rustls at its other end.
struct Stage {
    session: Session,
    rustls: Connection,
}

fn suites() -> impl Iterator<Item = SupportedCipherSuite> {
    // What differs between certificates of RSA and ECDSA is over once records flow.
    let all = provider_of_both_versions().cipher_suites.clone();
    all.into_iter().filter(|suite| !format!("{suite:?}").contains("ECDHE_RSA"))
}

fn configs(suite: SupportedCipherSuite) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let only =
        CryptoProvider { cipher_suites: vec![suite], ..(*provider_of_both_versions()).clone() };
    let (only, key) = (Arc::new(only), KeyPair::generate().unwrap());
    let params = CertificateParams::new(vec!["web.test".to_owned()]).unwrap();
    let der = params.self_signed(&key).unwrap().der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(der.clone()).unwrap();
    let versions = &[&version::TLS13, &version::TLS12];
    let mut server = ServerConfig::builder_with_provider(only.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    let mut client = ClientConfig::builder_with_provider(only)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server.enable_secret_extraction, client.enable_secret_extraction) = (true, true);
    (Arc::new(server), Arc::new(client))
}

/// Makes a handshake; what came behind it is returned.
fn shake(side: &mut impl Side, rustls: &mut Connection) -> Vec<u8> {
    let (mut incoming, mut outgoing) = (Vec::new(), Vec::new());
    loop {
        let mut is_done = false;
        loop {
            let UnbufferedStatus { discard, state, .. } = side.process(&mut incoming);
            let mut goes_on = true;
            match state.unwrap() {
                ConnectionState::EncodeTlsData(mut data) => {
                    let mut room = vec![0; 20_000];
                    let len = data.encode(&mut room).unwrap();
                    outgoing.extend_from_slice(&room[..len]);
                }
                ConnectionState::TransmitTlsData(sent) => sent.done(),
                ConnectionState::WriteTraffic(_) => (is_done, goes_on) = (true, false),
                _ => goes_on = false,
            }
            incoming.drain(..discard);
            if !goes_on {
                break;
            }
        }
        feed(rustls, &outgoing);
        outgoing.clear();
        if is_done && !rustls.is_handshaking() {
            incoming.extend(taken(rustls));
            return incoming;
        }
        incoming.extend(taken(rustls));
    }
}

fn feed(rustls: &mut Connection, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        rustls.read_tls(&mut bytes).unwrap();
        rustls.process_new_packets().unwrap();
    }
}

/// What rustls wants to send.
fn taken(rustls: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while rustls.wants_write() {
        rustls.write_tls(&mut bytes).unwrap();
    }
    bytes
}

impl Stage {
    fn new(role: Role, suite: SupportedCipherSuite) -> Self {
        let (server, client) = configs(suite);
        let name = || "web.test".try_into().unwrap();
        let (mut rustls, session, behind);
        match role {
            Role::Server => {
                rustls = ClientConnection::new(client, name()).unwrap().into();
                let mut side = UnbufferedServerConnection::new(server).unwrap();
                behind = shake(&mut side, &mut rustls);
                let (secrets, kernel) = side.dangerous_into_kernel_connection().unwrap();
                session = Session::new(secrets, Negotiated::Server(kernel)).unwrap();
            }
            Role::Client => {
                rustls = ServerConnection::new(server).unwrap().into();
                let mut side = UnbufferedClientConnection::new(client, name()).unwrap();
                behind = shake(&mut side, &mut rustls);
                let (secrets, kernel) = side.dangerous_into_kernel_connection().unwrap();
                session = Session::new(secrets, Negotiated::Client(kernel)).unwrap();
            }
        }
        let mut stage = Self { session, rustls };
        // Session tickets, which a client throws away.
        stage.open(&behind);
        stage
    }

    /// What comes out of records that are whole.
    fn open(&mut self, records: &[u8]) -> (Vec<u8>, bool) {
        let mut plain = vec![0; records.len()];
        let opened = self.session.open(records, &mut plain).unwrap();
        assert_eq!(opened.used, records.len());
        plain.truncate(opened.plain);
        (plain, opened.closed)
    }

    fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut sealed = vec![0; plain.len() + (plain.len() / MAX_PLAINTEXT + 3) * OVERHEAD];
        let len = self.session.seal(plain, &mut sealed).unwrap();
        sealed.truncate(len);
        sealed
    }

    /// What rustls seals.
    fn sent(&mut self, plain: &[u8]) -> Vec<u8> {
        self.rustls.set_buffer_limit(None);
        self.rustls.writer().write_all(plain).unwrap();
        taken(&mut self.rustls)
    }

    /// What rustls opens.
    fn received(&mut self, sealed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        for piece in sealed.chunks(8192) {
            feed(&mut self.rustls, piece);
            let mut room = vec![0; 32 * 1024];
            while let Ok(len @ 1..) = self.rustls.reader().read(&mut room) {
                plain.extend_from_slice(&room[..len]);
            }
        }
        plain
    }

    fn refresh(&mut self) {
        match &mut self.rustls {
            Connection::Client(tls) => tls.refresh_traffic_keys().unwrap(),
            Connection::Server(tls) => tls.refresh_traffic_keys().unwrap(),
        }
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|byte| (byte * 31 % 251) as u8).collect()
}

fn each(mut check: impl FnMut(Stage, &str)) {
    for suite in suites() {
        for role in [Role::Server, Role::Client] {
            check(Stage::new(role, suite), &format!("{role:?} with {suite:?}"));
        }
    }
}

fn is_tls13(stage: &Stage) -> bool {
    stage.session.version() == "TLSv1.3"
}

#[test]
fn what_one_side_seals_the_other_opens_whatever_its_length() {
    each(|mut stage, name| {
        for len in [1, 2, 100, MAX_PLAINTEXT, MAX_PLAINTEXT + 1, 8 * MAX_PLAINTEXT, 200_001] {
            let plain = bytes(len);
            let sealed = stage.seal(&plain);
            assert!(stage.received(&sealed) == plain, "{name}: {len} out");
            let sent = stage.sent(&plain);
            assert!(stage.open(&sent) == (plain, false), "{name}: {len} in");
        }
        assert!(stage.seal(&[]).is_empty(), "{name}: no record for no data");
    });
}

#[test]
fn a_close_notify_is_an_end_and_what_lies_behind_it_is_not_looked_at() {
    each(|mut stage, name| {
        let mut said = [0; 64];
        let len = stage.session.seal_alert(alert::CLOSE_NOTIFY, &mut said).unwrap();
        feed(&mut stage.rustls, &said[..len]);
        assert_eq!(stage.rustls.reader().read(&mut [0]).unwrap(), 0, "{name}");
        let mut sent = stage.sent(b"all");
        stage.rustls.send_close_notify();
        sent.extend(taken(&mut stage.rustls));
        let whole = sent.len();
        sent.extend(b"garbage");
        let mut plain = vec![0; sent.len()];
        let opened = stage.session.open(&sent, &mut plain).unwrap();
        assert_eq!(opened, Opened { used: whole, plain: 3, closed: true }, "{name}");
    });
}

#[test]
fn records_may_come_a_byte_at_a_time() {
    each(|mut stage, name| {
        let mut sent = stage.sent(&bytes(300));
        if is_tls13(&stage) {
            stage.refresh();
            sent.extend(taken(&mut stage.rustls));
        }
        sent.extend(stage.sent(&bytes(70)));
        stage.rustls.send_close_notify();
        sent.extend(taken(&mut stage.rustls));
        let (mut waiting, mut plain, mut closed) = (Vec::new(), Vec::new(), false);
        for byte in sent {
            assert!(!closed, "{name}");
            waiting.push(byte);
            let mut room = vec![0; waiting.len()];
            let opened = stage.session.open(&waiting, &mut room).unwrap();
            plain.extend_from_slice(&room[..opened.plain]);
            waiting.drain(..opened.used);
            closed = opened.closed;
        }
        assert!(
            closed && waiting.is_empty() && plain == [bytes(300), bytes(70)].concat(),
            "{name}"
        );
    });
}

#[test]
fn a_peer_that_asks_for_our_next_key_gets_it_with_the_next_bytes_or_without_any() {
    each(|mut stage, name| {
        if !is_tls13(&stage) {
            return;
        }
        for plain in [&b"with data"[..], b""] {
            stage.refresh();
            let asked = taken(&mut stage.rustls);
            assert_eq!(stage.open(&asked), (Vec::new(), false), "{name}");
            assert!(stage.session.owes(), "{name}");
            let sealed = stage.seal(plain);
            assert!(!sealed.is_empty() && !stage.session.owes(), "{name}");
            assert_eq!(stage.received(&sealed), plain, "{name}");
            let after = stage.seal(b"after");
            assert_eq!(stage.received(&after), b"after", "{name}");
        }
    });
}

#[test]
fn a_worn_out_key_is_changed_where_it_can_be_and_ends_the_connection_where_it_cannot() {
    each(|mut stage, name| {
        stage.session.wear_out(10);
        let (mut changed, mut refused) = (0, None);
        for round in 0..100 {
            let plain = bytes(round + 1);
            let mut sealed = vec![0; 400];
            match stage.session.seal(&plain, &mut sealed) {
                Ok(len) => {
                    changed += usize::from(len > plain.len() + OVERHEAD);
                    assert!(stage.received(&sealed[..len]) == plain, "{name}: {round}");
                }
                Err(error) => refused = refused.or(Some((round, error))),
            }
        }
        match (is_tls13(&stage), refused) {
            (true, None) => assert!(changed >= 9, "{name}: {changed}"),
            (false, Some((round, Error::Exhausted))) => {
                assert!((5..=10).contains(&round), "{round}")
            }
            other => panic!("{name}: {other:?}"),
        }
        let sent = stage.sent(b"the other way is as it was");
        assert_eq!(stage.open(&sent).0, b"the other way is as it was");
    });
}

#[test]
fn what_fits_is_sealed_into_its_room_even_if_the_key_changes() {
    each(|mut stage, name| {
        stage.session.wear_out(0);
        let room = 9 * (MAX_PLAINTEXT + OVERHEAD);
        let (plain, mut sealed) = (bytes(Session::fits(room)), vec![0; room]);
        if is_tls13(&stage) {
            let len = stage.session.seal(&plain, &mut sealed).unwrap();
            assert!(stage.received(&sealed[..len]) == plain, "{name}");
        }
    });
}

#[test]
fn what_does_not_fit_is_an_error_and_no_panic() {
    each(|mut stage, name| {
        for room in [0, 1, 5, 20, 27] {
            let sealed = stage.session.seal(&bytes(100), &mut vec![0; room]);
            assert_eq!(sealed, Err(Error::Exhausted), "{name}: {room}");
        }
        let sent = stage.sent(&bytes(100));
        assert!(stage.session.open(&sent, &mut [0; 50]).is_err(), "{name}");
    });
}
