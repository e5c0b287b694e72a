//! What is remembered of chains that verified, and that it gives nothing away.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    date_time_ymd,
};
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use super::{Peer, Trust};

type Issuer = CertifiedIssuer<'static, KeyPair>;
type Chain = Vec<CertificateDer<'static>>;

/// The year, as every certificate here has its own.
fn year(year: i32) -> UnixTime {
    let since = date_time_ymd(year, 1, 1).unix_timestamp();
    UnixTime::since_unix_epoch(Duration::from_secs(since.try_into().unwrap()))
}

fn authority(name: &str, until: i32, above: Option<&Issuer>) -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    match above {
        Some(above) => CertifiedIssuer::signed_by(params, key, above).unwrap(),
        None => CertifiedIssuer::self_signed(params, key).unwrap(),
    }
}

/// A leaf for clients, from 2010 on.
fn leaf(
    name: &str,
    serial: u64,
    until: i32,
    key: &KeyPair,
    above: &Issuer,
) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.serial_number = Some(serial.into());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = date_time_ymd(2010, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params.signed_by(key, above).unwrap().der().clone()
}

/// Root, two authorities below it, and a leaf.
struct Stage {
    root: Issuer,
    upper: Issuer,
    lower: Issuer,
    key: KeyPair,
}

impl Stage {
    fn new() -> Self {
        let root = authority("root", 4000, None);
        let upper = authority("upper", 2040, Some(&root));
        let lower = authority("lower", 4000, Some(&upper));
        Self { root, upper, lower, key: KeyPair::generate().unwrap() }
    }

    fn trust(&self) -> Trust {
        trust(&self.root, &[])
    }

    fn chain(&self) -> Chain {
        let leaf = leaf("web", 1, 2050, &self.key, &self.lower);
        vec![leaf, self.lower.der().clone(), self.upper.der().clone()]
    }
}

fn trust(root: &Issuer, lists: &[CertificateRevocationListDer<'_>]) -> Trust {
    let mut store = RootCertStore::empty();
    store.add(root.der().clone()).unwrap();
    Trust::new(Arc::new(store), lists).unwrap()
}

/// A list of `issuer` that revokes the leaf of this serial number, current until then.
fn list(issuer: &Issuer, serial: u64, until: i32) -> CertificateRevocationListDer<'static> {
    let revoked = RevokedCertParams {
        serial_number: serial.into(),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().into()
}

fn problem(found: Result<Arc<Peer>, Error>) -> CertificateError {
    match found.unwrap_err() {
        Error::InvalidCertificate(problem) => problem,
        other => panic!("{other}"),
    }
}

#[test]
fn a_chain_is_remembered_while_every_certificate_in_it_is_valid() {
    let (stage, now) = (Stage::new(), year(2030));
    let (trust, chain) = (stage.trust(), stage.chain());
    let peer = trust.client(&chain, now).unwrap();
    assert_eq!(peer.dns_names, ["web"]);
    // The upper authority is the first to end.
    assert_eq!(peer.not_after, year(2040).as_secs());
    assert!(Arc::ptr_eq(&peer, &trust.client(&chain, now).unwrap()));
    for (then, ended) in [(year(2041), true), (year(2009), false)] {
        let problem = problem(trust.client(&chain, then));
        let is_expired = matches!(problem, CertificateError::ExpiredContext { .. });
        assert!(is_expired == ended, "{problem:?}");
    }
    // What happened meanwhile changes nothing.
    assert!(trust.client(&chain, now).is_ok());
}

#[test]
fn a_chain_in_which_any_bit_differs_is_another_chain() {
    let (stage, now) = (Stage::new(), year(2030));
    let (trust, chain) = (stage.trust(), stage.chain());
    trust.client(&chain, now).unwrap();
    for place in 0..chain.len() {
        for byte in 0..chain[place].len() {
            let mut changed = chain.clone();
            let mut der = chain[place].to_vec();
            der[byte] ^= 1 << (byte % 8);
            changed[place] = der.into();
            assert!(trust.client(&changed, now).is_err(), "byte {byte} of certificate {place}");
        }
    }
}

#[test]
fn a_certificate_with_the_same_key_and_other_names_is_seen_as_those() {
    let (stage, now) = (Stage::new(), year(2030));
    let (trust, chain) = (stage.trust(), stage.chain());
    let web = trust.client(&chain, now).unwrap();
    let other = leaf("db", 1, 2050, &stage.key, &stage.lower);
    let renamed = [&[other], &chain[1..]].concat();
    let db = trust.client(&renamed, now).unwrap();
    assert_eq!(
        (&*web.dns_names, &*db.dns_names),
        (&["web".to_owned()][..], &["db".to_owned()][..])
    );
    assert_eq!(trust.client(&chain, now).unwrap().dns_names, ["web"]);
}

#[test]
fn a_chain_without_one_of_its_authorities_or_with_another_is_refused() {
    let (stage, now) = (Stage::new(), year(2030));
    let (trust, chain) = (stage.trust(), stage.chain());
    trust.client(&chain, now).unwrap();
    let same_name = authority("lower", 4000, Some(&stage.upper)).der().clone();
    let foreign = authority("lower", 4000, None).der().clone();
    let without = vec![chain[0].clone(), chain[2].clone()];
    let cases = [
        without,
        vec![chain[0].clone(), same_name, chain[2].clone()],
        vec![chain[0].clone(), foreign, chain[2].clone()],
        chain[..1].to_vec(),
        chain[1..].to_vec(),
        Vec::new(),
    ];
    for case in cases {
        assert!(trust.client(&case, now).is_err(), "{case:?}");
    }
    let turned = vec![chain[0].clone(), chain[2].clone(), chain[1].clone()];
    assert_eq!(trust.client(&turned, now).unwrap().dns_names, ["web"]);
}

#[test]
fn another_root_remembers_nothing_of_the_one_before() {
    let (stage, now) = (Stage::new(), year(2030));
    let chain = stage.chain();
    stage.trust().client(&chain, now).unwrap();
    let other = trust(&authority("root", 4000, None), &[]);
    assert_eq!(problem(other.client(&chain, now)), CertificateError::BadSignature);
}

#[test]
fn a_chain_for_clients_is_none_for_servers_although_it_is_remembered() {
    let (stage, now) = (Stage::new(), year(2030));
    let (trust, chain) = (stage.trust(), stage.chain());
    trust.client(&chain, now).unwrap();
    assert_eq!(problem(trust.server(&chain, now)), CertificateError::InvalidPurpose);
}

#[test]
fn a_revoked_leaf_is_refused_and_a_list_that_has_ended_vouches_for_nobody() {
    let (stage, now) = (Stage::new(), year(2030));
    let chain = stage.chain();
    let revoking = trust(&stage.root, &[list(&stage.lower, 1, 2032)]);
    assert_eq!(problem(revoking.client(&chain, now)), CertificateError::Revoked);
    let sparing = trust(&stage.root, &[list(&stage.lower, 2, 2032)]);
    sparing.client(&chain, now).unwrap();
    // It is remembered, and the list has ended meanwhile.
    let late = problem(sparing.client(&chain, year(2033)));
    assert!(matches!(late, CertificateError::ExpiredRevocationListContext { .. }), "{late:?}");
}

#[test]
fn a_certificate_that_is_sent_along_and_not_needed_shortens_nothing() {
    let (stage, now) = (Stage::new(), year(2030));
    let trust = stage.trust();
    let useless = authority("upper", 2020, None).der().clone();
    let chain = [stage.chain(), vec![useless]].concat();
    let peer = trust.client(&chain, now).unwrap();
    assert_eq!(peer.not_after, year(2040).as_secs());
    assert!(Arc::ptr_eq(&peer, &trust.client(&chain, now).unwrap()), "it is remembered");
}

#[test]
fn no_more_chains_are_remembered_than_there_is_room_for() {
    let (stage, now) = (Stage::new(), year(2030));
    let trust = stage.trust();
    let first = stage.chain();
    let peers: Vec<_> = (1..=1100)
        .map(|serial| {
            let leaf = leaf("web", serial, 2050, &stage.key, &stage.lower);
            trust.client(&[&[leaf], &first[1..]].concat(), now).unwrap()
        })
        .collect();
    assert!(trust.remembers() <= 1024);
    assert_eq!(peers.len(), 1100);
}
