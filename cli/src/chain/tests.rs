//! What is wrong with a Secret, case by case.

use countersign_pki::{KeyAlgorithm, Request, Template, Validity, generate_key, self_sign};

use super::*;
use crate::support::{World, at, key, now, pem, text};

const END: &str = "2026-06-05T12:00:00Z";

fn codes(bundle: &Bundle) -> Vec<&'static str> {
    examine(bundle, now()).warnings.iter().map(|warning| warning.code).collect()
}

#[test]
fn a_whole_set_has_its_chain_and_no_warning() {
    let found = examine(&World::new().bundle(END), now());
    let subjects: Vec<_> =
        found.chain.iter().map(|link| link.certificate.subject.as_str()).collect();
    assert_eq!(subjects, ["CN=web", "CN=intermediate", "CN=root"]);
    let sources: Vec<_> = found.chain.iter().map(|link| link.source).collect();
    assert_eq!(sources, [Source::Certificate, Source::Certificate, Source::Roots]);
    assert_eq!((found.key, found.chain_state), (KeyState::Matches, ChainState::Verified));
    assert_eq!(found.warnings, []);
}

#[test]
fn whatever_is_wrong_is_named() {
    let (world, other) = (World::new(), World::new());
    let good = world.bundle(END);
    let own = key();
    let leaf = world.leaf("web", END, &own);
    let with = |certificate: &[&countersign_pki::CertificateDer<'static>]| Bundle {
        certificate: Some(text(certificate)),
        key: Some(Redacted::new(pem(&own))),
        roots: good.roots.clone(),
    };
    let nothing = Bundle::default();
    let cases: [(&str, Bundle, &[&str]); 13] = [
        ("nothing", nothing, &["certificateMissing", "caMissing", "keyMissing"]),
        ("no key", Bundle { key: None, ..good.clone() }, &["keyMissing"]),
        ("no root", Bundle { roots: None, ..good.clone() }, &["caMissing"]),
        ("an empty root", Bundle { roots: Some(Vec::new()), ..good.clone() }, &["caMissing"]),
        (
            "another key",
            Bundle { key: Some(Redacted::new(pem(&key()))), ..good.clone() },
            &["keyMismatch"],
        ),
        (
            "no key at all",
            Bundle { key: Some(Redacted::new(b"x".to_vec())), ..good.clone() },
            &["keyUnreadable"],
        ),
        (
            "no certificate at all",
            Bundle { certificate: Some(b"x".to_vec()), ..good.clone() },
            &["certificateUnreadable"],
        ),
        (
            "no root at all",
            Bundle { roots: Some(b"x".to_vec()), ..good.clone() },
            &["caUnreadable"],
        ),
        ("expired", world.bundle("2026-05-05T12:00:00Z"), &["expired"]),
        ("a gap", with(&[&leaf]), &["chainBroken"]),
        (
            "roots of others",
            Bundle { roots: other.bundle(END).roots, ..good.clone() },
            &["chainBroken"],
        ),
        ("the other way round", with(&[&world.intermediate, &leaf]), &["leafNotFirst"]),
        ("a stranger", with(&[&leaf, &world.intermediate, &other.intermediate]), &["notInChain"]),
    ];
    for (what, bundle, expected) in cases {
        assert_eq!(codes(&bundle), expected, "{what}");
    }
    let reversed = examine(&with(&[&world.intermediate, &leaf]), now());
    assert_eq!((reversed.key, reversed.chain.len()), (KeyState::Mismatch, 3));
}

fn by_itself(request: Request, begin: &str) -> Bundle {
    let own = generate_key(KeyAlgorithm::Ed25519).expect("a key");
    let validity = Validity { not_before: at(begin), not_after: at(END) };
    let template = Template::new(request, validity).expect("a template");
    let certificate = text(&[&self_sign(&template, &own).expect("a certificate")]);
    Bundle {
        roots: Some(certificate.clone()),
        certificate: Some(certificate),
        key: Some(Redacted::new(pem(&own))),
    }
}

#[test]
fn what_signed_itself_is_its_own_chain() {
    let named = Request { dns_names: vec!["a.test".to_owned()], ..Request::default() };
    let found = examine(&by_itself(named.clone(), "2026-01-01T00:00:00Z"), now());
    assert_eq!((found.chain.len(), found.chain_state), (1, ChainState::Verified));
    assert_eq!(found.warnings, []);
    assert_eq!(codes(&by_itself(named, "2026-05-06T00:00:00Z")), ["notYetValid"]);
    let old = Request { common_name: Some("a.test".to_owned()), ..Request::default() };
    assert_eq!(codes(&by_itself(old, "2026-01-01T00:00:00Z")), ["noNames"]);
}

#[test]
fn an_authority_that_stands_twice_or_above_itself_ends_the_way_up() {
    let world = World::new();
    let own = key();
    let leaf = world.leaf("web", END, &own);
    let again = [&leaf, &leaf, &world.intermediate, &world.root, &world.intermediate];
    let bundle = Bundle {
        certificate: Some(text(&again)),
        key: Some(Redacted::new(pem(&own))),
        roots: Some(text(&[&world.root, &world.root])),
    };
    let found = examine(&bundle, now());
    assert_eq!((found.chain.len(), found.chain_state), (3, ChainState::Verified));
    assert_eq!(found.warnings, []);
}
