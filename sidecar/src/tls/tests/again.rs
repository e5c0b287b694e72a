//! Peers of live connections, whose certificates have expired meanwhile.

use super::*;

/// The upper CA of a stage ends in 2040.
fn expired() -> UnixTime {
    year(2041)
}

#[test]
fn expired_peer_is_judged_by_roots_and_revocation_as_before_it_expired() {
    let stage = Stage::new();
    let peer = stage.trust().client(&stage.chain(), year(2030)).unwrap();
    let of = |root: &Issuer, lists: &[CertificateRevocationListDer<'_>]| {
        trust(root, lists).client_again(&peer, expired()).map(|peer| peer.dns_names.clone())
    };
    let is = |found: Result<Vec<String>, Error>| match found {
        Ok(names) => {
            assert_eq!(names, ["web"]);
            None
        }
        Err(Error::InvalidCertificate(problem)) => Some(problem),
        Err(other) => panic!("{other}"),
    };
    let other = authority("other", 4000, None);
    let renewed = authority("root", 4000, None);
    assert_eq!(is(of(&stage.root, &[])), None, "its expiry is no reason");
    assert_eq!(is(of(&other, &[])), Some(CertificateError::UnknownIssuer));
    assert_eq!(is(of(&renewed, &[])), Some(CertificateError::BadSignature));
    let revoked = list(&stage.lower, 1, 4000);
    assert_eq!(is(of(&stage.root, &[revoked])), Some(CertificateError::Revoked));
    assert_eq!(is(of(&stage.root, &[list(&stage.lower, 2, 4000)])), None);
    // A list that was current while the certificate was valid, and has ended since.
    let ended = CertificateError::ExpiredRevocationList;
    for issuer in [&stage.lower, &stage.upper, &stage.root] {
        assert_eq!(is(of(&stage.root, &[list(issuer, 2, 2041)])), Some(ended.clone()));
    }
    assert_eq!(is(of(&stage.root, &[list(&other, 2, 2041)])), None, "it is of another CA");
}

#[test]
fn expired_peer_is_a_client_or_a_server_as_before() {
    let root = authority("root", 4000, None);
    let trust = trust(&root, &[]);
    let peer = trust.server(&[named(OWN, &root)], year(2026)).unwrap();
    assert!(trust.server_again(&peer, expired()).is_ok());
    let stage = Stage::new();
    let client = stage.trust().client(&stage.chain(), year(2030)).unwrap();
    assert!(stage.trust().server_again(&client, expired()).is_err());
}

#[test]
fn peer_verified_again_has_the_ca_that_vouches_for_it_now() {
    let root = authority("root", 4000, None);
    let (devices, next) = (authority("devices", 4000, Some(&root)), authority("next", 4000, None));
    let of = |keys: &[&Issuer]| {
        trust(&root, &[]).with_authorities(&authorities(&root.pem(), keys)).unwrap()
    };
    let chain = [named("", &devices), devices.der().clone()];
    let peer = of(&[&devices]).client(&chain, year(2026)).unwrap();
    for now in [year(2026), expired()] {
        let signer = |keys: &[&Issuer]| {
            let again = of(keys).client_again(&peer, now).unwrap();
            again.signed_by.as_ref().map(|by| by.signer)
        };
        assert_eq!(signer(&[&devices]), Some(Signer::Devices));
        assert_eq!(signer(&[&next]), Some(Signer::Mesh), "its CA is no longer the devices'");
    }
    // Where the devices have a root of their own, it ends with that.
    let own = trust(&next, &[]).with_authorities(&authorities(&root.pem(), &[&devices])).unwrap();
    let peer = own.client(&chain, year(2026)).unwrap();
    assert!(own.client_again(&peer, expired()).is_ok());
    assert!(trust(&next, &[]).client_again(&peer, expired()).is_err());
}
