//! What is an upstream, or an identity, is the same when it is written and read again.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use countersign_contract::identity::{ExpectedPeer, SpiffeId, TrustDomain};
use countersign_contract::upstream::{Upstream, parse_list, split_host_port};
use libfuzzer_sys::fuzz_target;

fn reads_back<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string().parse::<T>().expect("what was written is read"), read);
    }
}

fuzz_target!(|text: &str| {
    reads_back::<Upstream>(text);
    reads_back::<ExpectedPeer>(text);
    reads_back::<SpiffeId>(text);
    reads_back::<TrustDomain>(text);
    if let Some((host, port)) = split_host_port(text) {
        assert!(port != 0 && text.contains(host));
    }
    if let Ok(list) = parse_list(text) {
        let written: Vec<_> = list.iter().map(ToString::to_string).collect();
        assert_eq!(parse_list(&written.join(",")).as_ref(), Ok(&list));
    }
});
