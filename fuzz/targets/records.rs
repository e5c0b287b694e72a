//! Records from a stranger, and records from a peer of bad will who has the keys.
//!
//! The input is a script of what the peer seals: what, how much of the rest, and how often. All that
//! comes out is a beginning of what was sealed as data, in order, and all of it where nothing
//! but data was sent.
#![no_main]

use std::sync::{Arc, LazyLock};

use countersign_fuzz::{WHO, credentials, port};
use countersign_sidecar::fuzzing::{change_key, seal, sessions};
use countersign_sidecar::record::{Frame, OVERHEAD, Session, frame};
use countersign_sidecar::tls::client_configuration;
use libfuzzer_sys::fuzz_target;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme, version};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// The longest script: as much as it says is sealed before it is opened.
const LONGEST: usize = 256 * 1024;

/// What a peer sent, and what of it was data.
#[derive(Default)]
struct Sent {
    wire: Vec<u8>,
    data: Vec<u8>,
    is_only_data: bool,
}

fuzz_target!(|input: &[u8]| {
    strange(input);
    let [how, script @ ..] = input else { return };
    let (client, server) = pair(how & 1 != 0);
    let (mut peer, mut ours) = if how & 2 != 0 { (client, server) } else { (server, client) };
    let sent = play(&mut peer, script, how & 1 == 0);
    let step = usize::from(how >> 2) * 97;
    let opened = open(&mut ours, &sent.wire, step);
    let plain = opened.as_ref().unwrap_or_else(|plain| plain);
    assert!(sent.data.starts_with(plain), "something else was opened");
    if sent.is_only_data {
        assert_eq!(opened.as_ref(), Ok(&sent.data), "data was lost");
    }
    if opened.is_ok() {
        answers(&mut ours, &mut peer);
    }
});

/// What is no record of anybody's.
fn strange(bytes: &[u8]) {
    match frame(bytes) {
        Ok(Frame::Partial(len)) => assert!(len > bytes.len()),
        Ok(Frame::Whole { len, .. }) => assert!((5..=bytes.len()).contains(&len)),
        Err(error) => assert!(error.alert().is_some() && !error.to_string().is_empty()),
    }
}

fn play(peer: &mut Session, mut script: &[u8], is_tls13: bool) -> Sent {
    let mut sent = Sent { is_only_data: true, ..Sent::default() };
    while let [what, len, rest @ ..] = script {
        let (content, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        script = rest;
        for _ in 0..=what >> 3 {
            if sent.wire.len() > LONGEST {
                return sent;
            }
            one(peer, what & 7, content, &mut sent, is_tls13);
        }
    }
    sent
}

fn one(peer: &mut Session, what: u8, content: &[u8], sent: &mut Sent, is_tls13: bool) {
    let start = sent.wire.len();
    let kind = match what {
        // An empty record is data that a peer may not send for ever.
        0 | 1 if !content.is_empty() => DATA,
        0 | 1 | 2 => ALERT,
        3 => HANDSHAKE,
        4 if is_tls13 => return update_key(peer, sent),
        5 => {
            sent.wire.extend_from_slice(content);
            sent.is_only_data &= content.is_empty();
            return;
        }
        6 => *content.first().unwrap_or(&DATA),
        _ => DATA,
    };
    sent.wire.resize(start + content.len() + OVERHEAD, 0);
    let len = seal(peer, kind, content, &mut sent.wire[start..]).expect("there is room");
    sent.wire.truncate(start + len);
    let (kind, content) = if is_tls13 { unpadded(kind, content) } else { (kind, content) };
    if kind == DATA {
        sent.data.extend_from_slice(content);
    }
    sent.is_only_data &= kind == DATA && !content.is_empty();
    if what == 7 {
        let last = sent.wire.len() - 1;
        sent.wire[last] ^= 1;
        sent.is_only_data = false;
    }
}

/// What a record is to who opens it: a type of zero is padding, and the type is the last byte before
/// it that is none (RFC 8446 5.4).
fn unpadded(kind: u8, content: &[u8]) -> (u8, &[u8]) {
    match content.iter().rposition(|byte| *byte != 0) {
        Some(last) if kind == 0 => (content[last], &content[..last]),
        _ => (kind, content),
    }
}

fn update_key(peer: &mut Session, sent: &mut Sent) {
    let start = sent.wire.len();
    sent.wire.resize(start + KEY_UPDATE.len() + OVERHEAD, 0);
    let len = seal(peer, HANDSHAKE, &KEY_UPDATE, &mut sent.wire[start..]).expect("there is room");
    sent.wire.truncate(start + len);
    change_key(peer).expect("there is a next key");
    // Too many of them are refused.
    sent.is_only_data = false;
}

/// Opens as the relay does: what came so far, at each step; what was opened before it broke.
fn open(ours: &mut Session, wire: &[u8], step: usize) -> Result<Vec<u8>, Vec<u8>> {
    let (mut plain, mut used, mut came) = (Vec::new(), 0, 0);
    while came < wire.len() {
        came = if step == 0 { wire.len() } else { wire.len().min(came + step) };
        let records = &wire[used..came];
        let mut out = vec![0; records.len()];
        match ours.open(records, &mut out) {
            Ok(opened) => {
                assert!(opened.used <= records.len() && opened.plain <= opened.used);
                used += opened.used;
                plain.extend_from_slice(&out[..opened.plain]);
                if opened.closed {
                    break;
                }
            }
            Err(error) => {
                assert!(error.alert() != Some(0));
                return Err(plain);
            }
        }
    }
    Ok(plain)
}

/// Whatever it was that was taken, the way back is not hurt by it.
fn answers(ours: &mut Session, peer: &mut Session) {
    let (mut wire, mut out) = ([0; 256], [0; 256]);
    let len = ours.seal(b"heard", &mut wire).expect("there is room");
    assert!(!ours.owes());
    let opened = peer.open(&wire[..len], &mut out).expect("the answer is whole");
    assert_eq!(&out[..opened.plain], b"heard");
}

/// Two ends that agreed on keys; quickly, for there is one pair for each input.
fn pair(is_tls12: bool) -> (Session, Session) {
    static SERVERS: LazyLock<[Arc<ServerConfig>; 2]> =
        LazyLock::new(|| [port(false, false), port(false, true)]);
    static CLIENTS: LazyLock<[Arc<ClientConfig>; 2]> = LazyLock::new(|| [tls13(), tls12()]);
    let which = usize::from(is_tls12);
    sessions(CLIENTS[which].clone(), SERVERS[which].clone()).expect("they agree")
}

fn tls13() -> Arc<ClientConfig> {
    let set = credentials();
    let expected = WHO.parse().expect("an identity");
    client_configuration(set.key.clone(), set.trust.clone(), expected, vec![]).expect("it is ours")
}

/// We never call with TLS 1.2; but we answer partners who do.
fn tls12() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS12])
        .expect("TLS 1.2")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    Arc::new(config)
}

/// Who answers is not what is tested here.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
