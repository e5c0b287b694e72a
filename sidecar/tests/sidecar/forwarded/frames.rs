//! HTTP/2 by the byte.

use std::io::Read;

use super::stage::Stage;
use crate::authority::WEB;
use crate::peer::{client_side, connect};
use crate::stream::Peer;

/// One frame (RFC 9113, 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A request for `/`, without a body, and with a header that is not compressed.
pub(crate) fn get(stream: u32, name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x84, 0x01, 1, b'a', 0x00];
    for text in [name, value] {
        block.push(u8::try_from(text.len()).unwrap());
        block.extend_from_slice(text.as_bytes());
    }
    frame(1, 5, stream, &block)
}

/// A connection of HTTP/2 by the byte, after its greeting.
pub(crate) fn greeted(stage: &Stage) -> Peer {
    let tls = client_side(&stage.authority.pem(), Some(&stage.authority.issue(WEB)));
    let mut peer = Peer::shaken(connect(stage.at), tls);
    peer.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &[])[..]].concat()).unwrap();
    peer
}

/// Reads frames until one of this kind comes; its stream and its payload.
pub(crate) fn next(peer: &mut impl Read, kind: u8) -> (u32, Vec<u8>) {
    loop {
        let mut header = [0; 9];
        peer.read_exact(&mut header).unwrap();
        let len = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        peer.read_exact(&mut payload).unwrap();
        if header[3] == kind {
            let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            return (stream, payload);
        }
    }
}
