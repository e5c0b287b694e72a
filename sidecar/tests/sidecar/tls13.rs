//! A client that has made an honest handshake of TLS 1.3, and then seals whatever it likes.

use std::io::{Read, Write};
use std::net::TcpStream;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::{ClientConfig, Connection, ConnectionTrafficSecrets, version};

use countersign_sidecar::tls::provider::provider;

use crate::authority::Set;
use crate::peer::{chain, client_of, key, roots};
use crate::stream::Peer;

/// The kinds of records.
pub(crate) const CHANGE: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const DATA: u8 = 23;

/// Its end of a connection.
pub(crate) struct Forger {
    pub(crate) sock: TcpStream,
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Forger {
    pub(crate) fn shaken(sock: TcpStream, ca: &str, set: &Set) -> Self {
        let only = CryptoProvider {
            cipher_suites: vec![TLS13_AES_128_GCM_SHA256],
            ..(*provider()).clone()
        };
        let mut config = ClientConfig::builder_with_provider(only.into())
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .with_root_certificates(roots(ca))
            .with_client_auth_cert(chain(set), key(set))
            .unwrap();
        config.enable_secret_extraction = true;
        let Peer { sock, tls } = Peer::shaken(sock, client_of(config));
        let Some(Connection::Client(tls)) = tls else { unreachable!() };
        let (sequence, secret) = tls.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secret else { unreachable!() };
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).unwrap());
        Self { sock, key, iv: iv.as_ref().try_into().unwrap(), sequence }
    }

    /// A record that holds this content, of this kind, as it goes over the wire.
    pub(crate) fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        self.seal_padded(kind, content, 0)
    }

    pub(crate) fn seal_padded(&mut self, kind: u8, content: &[u8], zeroes: usize) -> Vec<u8> {
        let mut sealed = [content, &[kind], &vec![0; zeroes]].concat();
        let len = u16::try_from(sealed.len() + 16).unwrap().to_be_bytes();
        let header = [DATA, 3, 3, len[0], len[1]];
        let mut nonce = self.iv;
        nonce[4..]
            .iter_mut()
            .zip(self.sequence.to_be_bytes())
            .for_each(|(byte, more)| *byte ^= more);
        self.sequence += 1;
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut sealed).unwrap();
        [&header[..], &sealed].concat()
    }

    /// Sends, as long as somebody listens.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        drop(self.sock.write_all(bytes));
    }

    /// Waits until the other side has ended the connection, however it did.
    pub(crate) fn is_cut(&mut self) {
        let mut room = [0; 4096];
        while self.sock.read(&mut room).is_ok_and(|read| read > 0) {}
    }
}
