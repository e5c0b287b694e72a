//! Messages of discovery are the same when they are written and read again, and an answer is
//! understood whole or not at all.
#![no_main]

use std::fmt::Debug;

use countersign_contract::ExpectedPeer;
use countersign_contract::discovery::{Heard, Protocol, Relay, Request, Response};
use countersign_sidecar::fuzzing::endpoints;
use libfuzzer_sys::fuzz_target;
use prost::Message;

fn read<T: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let read = T::decode(bytes).ok()?;
    let written = read.encode_to_vec();
    assert_eq!(T::decode(written.as_slice()).as_ref(), Ok(&read), "it reads back as another");
    Some(read)
}

fuzz_target!(|bytes: &[u8]| {
    read::<Request>(bytes);
    read::<Relay>(bytes);
    read::<Heard>(bytes);
    let Some(response) = read::<Response>(bytes) else { return };
    for answer in &response.answers {
        let Some(understood) = endpoints(answer) else { continue };
        assert_eq!(understood.len(), answer.endpoints.len(), "an endpoint was passed over");
        for ((address, peer), told) in understood.iter().zip(&answer.endpoints) {
            assert_eq!(Ok(*address), told.address.parse());
            assert_eq!(peer.is_some(), told.protocol() == Protocol::Mutual, "{told:?}");
            let identity = told.identity.parse::<ExpectedPeer>().map(|peer| peer.to_string());
            assert_eq!(peer.clone(), identity.ok(), "{told:?}");
        }
    }
});
