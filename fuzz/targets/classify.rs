//! A stranger's first bytes, and the handshake behind them, as far as it goes.
//!
//! Half of the inputs are what the stranger sends. The others change bytes of a client of ours on
//! their way, which must be noticed: four bytes for each change, which flight, where (two), what.
#![no_main]

use std::sync::{Arc, LazyLock};

use countersign_fuzz::{WHO, credentials, port};
use countersign_sidecar::detect::{Opening, classify};
use countersign_sidecar::fuzzing::{Progress, Server};
use countersign_sidecar::tls::client_configuration;
use libfuzzer_sys::fuzz_target;
use rustls::{ClientConfig, ClientConnection, ServerConfig};

/// More than any answer of ours, alerts included.
const LONGEST: usize = 32 * 1024;

static PORTS: LazyLock<[Arc<ServerConfig>; 2]> =
    LazyLock::new(|| [port(true, false), port(false, true)]);

static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let set = credentials();
    let expected = WHO.parse().expect("an identity");
    let alpn = vec![b"h2".to_vec()];
    client_configuration(set.key.clone(), set.trust.clone(), expected, alpn).expect("it is ours")
});

fuzz_target!(|input: &[u8]| {
    let [how, input @ ..] = input else { return };
    let port = &PORTS[usize::from(how >> 1 & 1)];
    match how & 1 {
        0 => stranger(port, usize::from(how >> 2), input),
        _ => changed(port, input),
    }
});

/// Comes to nothing, however it is cut: nobody knows the keys.
fn stranger(port: &Arc<ServerConfig>, piece: usize, input: &[u8]) {
    let opening = classify(input);
    for len in 1..input.len().min(32) {
        let is_tls = classify(&input[..len]) == Opening::Tls;
        assert_eq!(is_tls, opening == Opening::Tls, "after {len} bytes");
    }
    if opening != Opening::Tls {
        return;
    }
    let mut server = Server::new(port.clone()).expect("a server");
    let mut answered = 0;
    for piece in input.chunks(if piece == 0 { input.len() } else { piece }) {
        match server.push(piece) {
            Progress::Goes(answer) => answered += answer.len(),
            Progress::Done(_) => panic!("a handshake with somebody who has no key"),
            Progress::Refused(reason, alert) => {
                assert!(!reason.is_empty() && alert.len() < LONGEST);
                return;
            }
        }
        assert!(answered < LONGEST);
    }
}

fn changed(port: &Arc<ServerConfig>, changes: &[u8]) {
    let mut server = Server::new(port.clone()).expect("a server");
    let name = "fuzz.test".try_into().expect("a name");
    let mut client = ClientConnection::new(CLIENT.clone(), name).expect("a client");
    let (mut is_whole, mut is_untouched) = (true, true);
    for flight in 0..3 {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).expect("it is written");
        }
        let before = sent.clone();
        change(&mut sent, flight, changes);
        is_untouched &= sent == before;
        is_whole &= without_versions(&sent) == without_versions(&before);
        match server.push(&sent) {
            Progress::Goes(answer) => {
                client.read_tls(&mut answer.as_slice()).expect("it is read");
                if client.process_new_packets().is_err() {
                    break;
                }
            }
            Progress::Done(_) => {
                assert!(is_whole, "what was changed was not noticed");
                return;
            }
            Progress::Refused(..) => break,
        }
    }
    assert!(!is_untouched, "a good client was refused");
}

fn change(sent: &mut [u8], flight: u8, changes: &[u8]) {
    for change in changes.chunks_exact(4).take(16).filter(|change| change[0] % 4 == flight) {
        let place = usize::from(u16::from_be_bytes([change[1], change[2]]));
        if let Some(byte) = sent.get_mut(place) {
            *byte ^= change[3];
        }
    }
}

/// The version in a record's header may be changed: it is to be ignored (RFC 8446, 5.1), and may be
/// refused.
fn without_versions(records: &[u8]) -> Vec<u8> {
    let (mut records, mut place) = (records.to_vec(), 0);
    while let Some([_, high, low, long, short]) = records.get_mut(place..place + 5) {
        (*high, *low) = (0, 0);
        place += 5 + usize::from(u16::from_be_bytes([*long, *short]));
    }
    records
}
