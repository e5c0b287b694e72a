//! A chain that verified is remembered, and this gives nothing away. What can be shown of chains
//! alone is in the unit tests of `tls`; here are files that change, and keys that do not belong.

use std::net::Shutdown;
use std::sync::Arc;

use countersign_sidecar::tls::provider::provider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::authority::{Authority, Set, Validity, WEB};
use crate::ends::{Ends, Kind};
use crate::peer::{chain, client_config, client_of, connect, key};
use crate::program::until;
use crate::stream::Peer;

/// Passes twice: the second time it is remembered.
fn passes(ends: &mut Ends, set: &Set) {
    for _ in 0..2 {
        let (mut peer, app) = ends.connect_as(set);
        peer.end();
        app.shutdown(Shutdown::Write).unwrap();
        ends.ended("closed");
    }
}

#[test]
fn a_client_that_was_remembered_is_refused_under_another_root() {
    let mut ends = Ends::of(Kind::Inbound);
    let client = ends.authority.issue(WEB);
    passes(&mut ends, &client);
    let other = Authority::new("root");
    ends.folder.swap("second", &other.issue(WEB));
    ends.sidecar.line("message", "credentials in use");
    ends.sidecar.line("message", "credentials in use");
    // It trusts who answers now: only the other side may have something against it.
    let config = client_config(&other.pem(), Some(&client));
    let peer = Peer::try_shaken(connect(ends.at), client_of(config));
    assert!(peer.and_then(|mut peer| peer.rest()).is_err());
    assert_eq!(ends.sidecar.line("message", "refused")["reason"], "peer_untrusted");
}

#[test]
fn a_client_that_was_remembered_is_refused_once_it_is_revoked() {
    let mut ends = Ends::of(Kind::Inbound);
    let (client, other) = (ends.authority.issue(WEB), ends.authority.issue(WEB));
    passes(&mut ends, &client);
    let list = ends.authority.revokes(&client);
    ends.folder.swap_with("second", &ends.authority.issue(WEB), Some(&list));
    ends.sidecar.line("message", "credentials in use");
    ends.sidecar.line("message", "credentials in use");
    ends.refuses(&client, "peer_revoked");
    passes(&mut ends, &other);
}

#[test]
fn a_client_that_was_remembered_is_refused_once_its_certificate_has_ended() {
    let mut ends = Ends::with(Kind::Inbound, &["--peer-expiry-grace", "0s"]);
    let client = ends.authority.issue_for(WEB, Validity::Seconds(4));
    passes(&mut ends, &client);
    until("it has expired", || {
        try_pass(&ends, &client);
        (ends.sidecar.refusals("inbound", "peer_expired") >= Some(1.0)).then_some(())
    });
}

fn try_pass(ends: &Ends, set: &Set) {
    let tls = client_of(client_config(&ends.authority.pem(), Some(set)));
    if let Ok(mut peer) = Peer::try_shaken(connect(ends.at), tls) {
        peer.end();
        drop(peer.rest());
    }
}

#[test]
fn a_chain_without_its_key_is_worth_nothing_although_it_is_remembered() {
    let mut ends = Ends::of(Kind::Inbound);
    let client = ends.authority.issue(WEB);
    passes(&mut ends, &client);
    let thief = ends.authority.issue(WEB);
    let signs = provider().key_provider.load_private_key(key(&thief)).unwrap();
    let mut config = client_config(&ends.authority.pem(), None);
    let stolen = CertifiedKey::new(chain(&client), signs);
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(stolen));
    let peer = Peer::try_shaken(connect(ends.at), client_of(config));
    let answer = peer.and_then(|mut peer| peer.rest());
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(ends.sidecar.line("message", "refused")["reason"], "peer_untrusted");
}

#[test]
fn a_client_below_an_authority_of_ours_passes_if_it_sends_what_lies_between() {
    let mut ends = Ends::of(Kind::Inbound);
    let between = ends.authority.below("between");
    let bare = between.issue(WEB);
    let whole = Set { crt: bare.crt.clone() + &between.pem(), ..bare.clone() };
    passes(&mut ends, &whole);
    ends.refuses(&bare, "peer_untrusted");
    let namesake = ends.authority.below("between");
    let wrong = Set { crt: bare.crt.clone() + &namesake.pem(), ..bare };
    ends.refuses(&wrong, "peer_untrusted");
    passes(&mut ends, &whole);
}

#[test]
fn a_client_with_the_same_key_and_another_name_is_seen_as_that() {
    let mut ends = Ends::with_policy(&format!(r#"{{"default":{{"allow":["{WEB}"]}}}}"#), &[]);
    let (web, other) = ends.authority.issue_twice(WEB, "spiffe://cluster.local/ns/shop/sa/other");
    passes(&mut ends, &web);
    ends.refuses(&other, "peer_not_allowed");
    passes(&mut ends, &web);
}
