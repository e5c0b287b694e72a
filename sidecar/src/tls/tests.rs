//! What is remembered of chains that verified, and that it gives nothing away.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use countersign_contract::access::{Allow, Authorities, Signer};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, date_time_ymd,
};
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use super::digest::spki_digest;
use super::{Peer, Trust};

mod again;
mod strangers;

type Issuer = CertifiedIssuer<'static, KeyPair>;
type Chain = Vec<CertificateDer<'static>>;

/// The year, as every certificate here has its own.
fn year(year: i32) -> UnixTime {
    let since = date_time_ymd(year, 1, 1).unix_timestamp();
    UnixTime::since_unix_epoch(Duration::from_secs(since.try_into().unwrap()))
}

fn authority(name: &str, until: i32, above: Option<&Issuer>) -> Issuer {
    limited(name, until, above, BasicConstraints::Unconstrained)
}

/// The same, with how many authorities may follow below it.
fn limited(name: &str, until: i32, above: Option<&Issuer>, below: BasicConstraints) -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(below);
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
    assert_eq!(peer.chain, chain[..3], "only what leads to the root is kept");
    assert!(Arc::ptr_eq(&peer, &trust.client(&chain, now).unwrap()), "it is remembered");
    drop(peer);
    let peer = trust.client(&chain, now).unwrap();
    assert_eq!(peer.chain, chain[..3], "the same of a peer that comes again");
    assert!(trust.client_again(&peer, now).is_ok());
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

/// A leaf for both ends of a connection, with a URI, a DNS name and a common name.
fn named(uri: &str, above: &Issuer) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(vec!["till.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "till-7");
    if !uri.is_empty() {
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    }
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = date_time_ymd(2010, 1, 1);
    params.not_after = date_time_ymd(2035, 1, 1);
    params.signed_by(&KeyPair::generate().unwrap(), above).unwrap().der().clone()
}

fn key_of(issuer: &Issuer) -> String {
    let (_, parsed) = x509_parser::parse_x509_certificate(issuer.der()).unwrap();
    spki_digest(parsed.tbs_certificate.subject_pki.raw)
}

fn authorities(roots: &str, keys: &[&Issuer]) -> Authorities {
    Authorities {
        trust_domain: "d".to_owned(),
        device_roots: roots.to_owned(),
        device_keys: keys.iter().map(|issuer| key_of(issuer)).collect(),
    }
}

const OWN: &str = "spiffe://d/ns/shop/sa/web";

/// Who signed what a client shows, where it is let in.
fn signer(trust: &Trust, leaf: CertificateDer<'static>, above: &[&Issuer]) -> Option<Signer> {
    let above = above.iter().map(|issuer| issuer.der().clone());
    let chain: Chain = std::iter::once(leaf).chain(above).collect();
    let first = trust.client(&chain, year(2026)).ok()?;
    let first = first.signed_by.as_ref().map(|by| by.signer);
    // Nobody holds the peer any more: it is described anew, of what is remembered of its chain.
    let again = trust.client(&chain, year(2026)).unwrap();
    assert_eq!(again.signed_by.as_ref().map(|by| by.signer), first, "it is remembered");
    first
}

#[test]
fn the_ca_of_people_and_devices_is_told_from_the_meshs_by_its_root() {
    let (root, other) = (authority("root", 4000, None), authority("devices", 4000, None));
    let mesh = authority("mesh", 4000, Some(&root));
    let devices = authority("devices intermediate", 4000, Some(&other));
    // Of an intermediate before the last one, which the root alone tells.
    let before = authority("devices before", 4000, Some(&other));
    let known = authorities(&other.pem(), &[&devices, &other]);
    let trust = trust(&root, &[]).with_authorities(&known).unwrap();
    let cases = [
        (signer(&trust, named(OWN, &mesh), &[&mesh]), Some(Signer::Mesh)),
        (signer(&trust, named("", &devices), &[&devices]), Some(Signer::Devices)),
        (signer(&trust, named("", &before), &[&before]), Some(Signer::Devices)),
        (
            signer(&trust, named("spiffe://partner.example/x", &devices), &[&devices]),
            Some(Signer::Devices),
        ),
        (signer(&trust, named("https://d/x", &devices), &[&devices]), Some(Signer::Devices)),
        // It never vouches for a workload.
        (signer(&trust, named(OWN, &devices), &[&devices]), None),
        (signer(&trust, named("SPIFFE://D/ns/shop/sa/web", &devices), &[&devices]), None),
        (signer(&trust, named("", &authority("stranger", 4000, None)), &[]), None),
    ];
    for (place, (found, expected)) in cases.into_iter().enumerate() {
        assert_eq!(found, expected, "case {place}");
    }
}

#[test]
fn where_both_cas_share_a_root_the_keys_tell_them_apart() {
    let root = authority("root", 4000, None);
    let mesh = authority("mesh", 4000, Some(&root));
    let devices = authority("devices", 4000, Some(&root));
    let known = authorities(&root.pem(), &[&devices]);
    let trust = trust(&root, &[]).with_authorities(&known).unwrap();
    assert_eq!(signer(&trust, named(OWN, &mesh), &[&mesh]), Some(Signer::Mesh));
    assert_eq!(signer(&trust, named("", &devices), &[&devices]), Some(Signer::Devices));
    assert_eq!(signer(&trust, named(OWN, &devices), &[&devices]), None);
    // Another CA below it vouches for no name of a device.
    let another = authority("another", 4000, Some(&root));
    assert_eq!(signer(&trust, named("", &another), &[&another]), Some(Signer::Mesh));
}

#[test]
fn names_count_as_far_as_their_ca_may_vouch_for_them() {
    let (root, devices) = (authority("root", 4000, None), authority("devices", 4000, None));
    let known = authorities(&devices.pem(), &[&devices]);
    let trust = trust(&root, &[]).with_authorities(&known).unwrap();
    let peer = |uri: &str, above: &Issuer| trust.client(&[named(uri, above)], year(2026)).unwrap();
    let rule = |json: &str| serde_json::from_str::<Allow>(json).unwrap();
    let (till, dns) = (rule(r#"{"commonNames":["till-*"]}"#), rule(r#""dns:till.example""#));
    let (own, partner) =
        (rule(r#"{"namespaces":["shop"]}"#), rule(r#"{"trustDomains":["partner.example"]}"#));
    let foreign = "spiffe://partner.example/ns/shop/sa/web";
    let cases = [
        (peer(OWN, &root), [false, false, true, false]),
        (peer(foreign, &root), [false, false, false, false]),
        (peer("", &devices), [true, true, false, false]),
        (peer(foreign, &devices), [true, true, true, true]),
    ];
    for (peer, expected) in cases {
        let found = [&till, &dns, &own, &partner].map(|rule| rule.admits(&peer.caller()));
        assert_eq!(found, expected, "{peer}");
    }
    assert_eq!(peer(foreign, &root).spiffe_id(), None, "no log line says that it is that one");
}

#[test]
fn no_server_is_believed_for_a_certificate_of_a_device() {
    let (root, devices) = (authority("root", 4000, None), authority("devices", 4000, None));
    let known = authorities(&devices.pem(), &[&devices]);
    let own_root = trust(&root, &[]).with_authorities(&known).unwrap();
    let shared = trust(&root, &[]);
    let below = authority("below", 4000, Some(&root));
    let shared = shared.with_authorities(&authorities(&root.pem(), &[&below])).unwrap();
    assert!(own_root.server(&[named("", &root)], year(2026)).is_ok());
    assert!(own_root.server(&[named("", &devices)], year(2026)).is_err());
    assert!(shared.server(&[named("", &below), below.der().clone()], year(2026)).is_err());
}

#[test]
fn without_a_ca_of_devices_no_certificate_is_a_devices() {
    let root = authority("root", 4000, None);
    let trust = trust(&root, &[]).with_authorities(&authorities("", &[])).unwrap();
    assert_eq!(signer(&trust, named("", &root), &[]), Some(Signer::Mesh));
    assert_eq!(signer(&trust, named("", &authority("stranger", 4000, None)), &[]), None);
}

#[test]
fn every_root_that_clients_may_chain_to_is_named_to_them() {
    let (root, devices) = (authority("root", 4000, None), authority("devices", 4000, None));
    let trust = trust(&root, &[]).with_authorities(&authorities(&devices.pem(), &[])).unwrap();
    assert_eq!(trust.subjects().len(), 2);
}

#[test]
fn an_authority_below_one_with_path_length_0_is_refused() {
    for (length, is_trusted) in [(0, false), (1, true)] {
        let root = authority("root", 4000, None);
        let upper = limited("upper", 2040, Some(&root), BasicConstraints::Constrained(length));
        let lower = authority("lower", 4000, Some(&upper));
        let stage = Stage { root, upper, lower, key: KeyPair::generate().unwrap() };
        let found = stage.trust().client(&stage.chain(), year(2020));
        assert_eq!(found.is_ok(), is_trusted, "{found:?}");
        let direct = leaf("web", 1, 2050, &stage.key, &stage.upper);
        let chain = [direct, stage.upper.der().clone()];
        assert!(stage.trust().client(&chain, year(2020)).is_ok(), "a leaf below it is trusted");
    }
}
