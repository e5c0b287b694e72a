//! What a connection costs before it has any bytes: its future, and what that holds.

use std::mem::size_of;

use crate::http::Http;
use crate::live::Entry;
use crate::record::Session;
use crate::relay::Relay;
use crate::{inbound, outbound};

/// The size of the future that a function returns.
fn of_future<A, B, C, F: Future>(_: impl FnOnce(A, B, C) -> F) -> usize {
    size_of::<F>()
}

fn of_run<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn a_connection_stays_small() {
    let cases = [
        ("an inbound connection", of_future(inbound::serve), 736),
        ("an outbound connection", of_future(outbound::serve), 736),
        ("what carries it", size_of::<Relay>(), 256),
        ("what carries requests, of either version", of_run(Http::run), 5120),
        ("its keys", size_of::<Session>(), 768),
        ("its entry in the table", size_of::<Entry>(), 192),
    ];
    let too_large: Vec<_> = cases.iter().filter(|(_, size, most)| size > most).collect();
    assert!(too_large.is_empty(), "{too_large:?}");
}
