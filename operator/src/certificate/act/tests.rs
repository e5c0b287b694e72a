use k8s_openapi::api::core::v1::Secret;

use super::*;
use crate::certificate::names;
use crate::certificate::support::{
    CertificateProse, SecretProse, certificate, secret_of, seen, wanted,
};

fn key_in(secret: &Secret) -> Vec<u8> {
    PrivateKey::from_pem(secret.text(names::TLS_KEY).as_bytes()).unwrap().public_key_spki()
}

/// Whether a certificate issued beside this Secret has the key that is in it.
fn keeps(certificate: &Certificate, key: &[u8], secret: Option<&Secret>) -> bool {
    let kept = kept_key(&seen(certificate, secret), &wanted(certificate)).unwrap();
    kept.is_some_and(|kept| kept.public_key_spki() == key)
}

#[test]
fn a_key_is_new_with_every_certificate() {
    let web = certificate("web");
    let secret = secret_of(&web).made();
    assert!(!keeps(&web, &key_in(&secret), Some(&secret)));
}

#[test]
fn a_key_that_must_be_kept_is_used_again_whatever_else_is_wrong() {
    type Case = (&'static str, fn(Secret) -> Secret, bool);
    let cases: [Case; 4] = [
        ("a good Secret", |secret| secret, true),
        ("a lost tls.crt", |secret| secret.without(names::TLS_CRT), true),
        ("a damaged tls.crt", |secret| secret.holding(names::TLS_CRT, "ink"), true),
        ("a lost tls.key", |secret| secret.without(names::TLS_KEY), false),
    ];
    let web = certificate("web").keeping_its_key();
    for (case, change, kept) in cases {
        let secret = secret_of(&web).made();
        let key = key_in(&secret);
        assert_eq!(keeps(&web, &key, Some(&change(secret))), kept, "{case}");
    }
}

#[test]
fn a_key_of_ones_own_is_taken_from_a_secret_that_holds_nothing_else() {
    let web = certificate("web").keeping_its_key();
    let text = secret_of(&web).made().text(names::TLS_KEY);
    let own = Secret::default().holding(names::TLS_CRT, "").holding(names::TLS_KEY, text);
    assert!(keeps(&web, &key_in(&own), Some(&own)));
}

#[test]
fn a_key_that_must_be_kept_and_cannot_be_read_is_an_error() {
    let web = certificate("web").keeping_its_key();
    let damaged = secret_of(&web).made().holding(names::TLS_KEY, "ink");
    assert!(kept_key(&seen(&web, Some(&damaged)), &wanted(&web)).is_err());
}

#[test]
fn a_secret_that_the_watches_do_not_know_of_yet_is_found_by_the_refused_write() {
    let refused = |code: u16, field: &str| -> Status {
        let causes = json!([{ "reason": "FieldValueInvalid", "message": "no", "field": field }]);
        let details = json!({ "name": "web", "kind": "Secret", "causes": causes });
        serde_json::from_value(json!({ "status": "Failure", "code": code, "details": details }))
            .unwrap()
    };
    let cases = [
        (409, ".data.tls.crt", true),
        // A Secret of another type, where nothing else conflicts.
        (422, "type", true),
        (422, "metadata.annotations", false),
        (403, "type", false),
    ];
    for (code, field, expected) in cases {
        assert_eq!(is_occupied(&refused(code, field)), expected, "{code} {field}");
    }
}
