//! What is in a Secret, and what is written on it.

mod metadata;

use countersign_crds::{KeyAlgorithm as SpecAlgorithm, KeyEncoding as SpecEncoding};
use k8s_openapi::api::core::v1::Secret;

use super::*;
use crate::certificate::support::{
    CertificateProse, Press, SecretProse, applied, certificate, healthy, now, secret_of, seen,
    wanted,
};
use crate::pki::{Validity, generate_key};

/// The Secret tidied, where nothing but labels and annotations can be wrong.
fn tidied(certificate: &Certificate, stored: &Stored) -> Option<Secret> {
    super::tidied(certificate, stored, &Passwords::default(), now()).unwrap()
}

#[test]
fn a_secret_holds_the_leaf_then_its_intermediates_its_key_and_the_root() {
    let secret = secret_of(&certificate("web")).made();
    let keys: Vec<_> = secret.data.as_ref().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["ca.crt", "tls.crt", "tls.key"]);
    let read = |key| CertificateFacts::all_from_pem(secret.text(key).as_bytes()).unwrap();
    let (chain, roots) = (read(names::TLS_CRT), read(names::CA_CRT));
    let [leaf, middle] = &chain[..] else { panic!("{} certificates", chain.len()) };
    let [root] = &roots[..] else { panic!("{} roots", roots.len()) };
    assert_eq!(leaf.says.dns_names, ["web.test"]);
    assert!(leaf.verify_issued_by(middle) && middle.verify_issued_by(root));
    assert!(root.is_self_signed());
    let key = PrivateKey::from_pem(secret.text(names::TLS_KEY).as_bytes()).unwrap();
    assert!(leaf.matches_key(&key));
}

#[test]
fn without_a_known_root_there_is_no_ca_crt() {
    let wanted = wanted(&certificate("web"));
    let key = generate_key(wanted.algorithm).unwrap();
    let signed = Signed { chain: "a chain".to_owned(), ca: None };
    let data = data(&signed, &key, &wanted).unwrap();
    assert!(data.keys().eq(["tls.crt", "tls.key"]), "{:?}", data.keys());
}

#[test]
fn a_key_is_written_as_the_spec_asks() {
    use SpecAlgorithm::{ECDSA, Ed25519, RSA};
    use SpecEncoding::{PKCS1, PKCS8};
    let cases = [
        (RSA, None, "RSA PRIVATE KEY"),
        (RSA, Some(PKCS1), "RSA PRIVATE KEY"),
        (RSA, Some(PKCS8), "PRIVATE KEY"),
        (ECDSA, None, "EC PRIVATE KEY"),
        (ECDSA, Some(PKCS1), "EC PRIVATE KEY"),
        (ECDSA, Some(PKCS8), "PRIVATE KEY"),
        (Ed25519, None, "PRIVATE KEY"),
        (Ed25519, Some(PKCS1), "PRIVATE KEY"),
        (Ed25519, Some(PKCS8), "PRIVATE KEY"),
    ];
    for (algorithm, encoding, label) in cases {
        let web = certificate("web").with(|spec| {
            let key = spec.private_key.get_or_insert_default();
            (key.algorithm, key.encoding) = (Some(algorithm), encoding);
        });
        let text = secret_of(&web).made().text(names::TLS_KEY);
        let begins = format!("-----BEGIN {label}-----");
        assert!(text.starts_with(&begins), "{algorithm:?} {encoding:?}: {:?}", text.lines().next());
    }
}

#[test]
fn a_secret_is_found_where_the_certificate_says() {
    let secret = secret_of(&certificate("web")).made();
    assert_eq!(secret.metadata.namespace.as_deref(), Some("shop"));
    assert_eq!(secret.metadata.name.as_deref(), Some("web-tls"));
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
}

#[test]
fn a_secret_outlives_its_certificate_but_for_an_identity() {
    let mut web = certificate("web");
    assert_eq!(secret_of(&web).made().metadata.owner_references, None);
    web.labels_mut().insert(IDENTITY_LABEL.to_owned(), "true".to_owned());
    let owners = secret_of(&web).made().metadata.owner_references.unwrap();
    let [owner] = &owners[..] else { panic!("{owners:?}") };
    assert_eq!((owner.kind.as_str(), owner.name.as_str()), ("Certificate", "web"));
    assert_eq!((owner.uid.as_str(), owner.controller), ("uid-of-web", Some(true)));
}

#[test]
fn only_a_secret_that_the_operator_made_goes_with_its_certificate() {
    let web = certificate("web")
        .with(|spec| spec.secret_deletion_policy = Some(SecretDeletionPolicy::Delete));
    let made = secret_of(&web).made();
    let controlled = |uid: &str| {
        let mut secret = made.clone();
        let mut owner = web.controller_owner_ref(&()).unwrap();
        owner.uid = uid.to_owned();
        secret.metadata.owner_references = Some(vec![owner]);
        secret
    };
    let cases = [
        ("new", None, Some(true)),
        ("ours", Some(made.clone()), Some(true)),
        ("controlled by the Certificate", Some(controlled("uid-of-web")), Some(true)),
        ("controlled by another", Some(controlled("uid-of-api")), None),
    ];
    for (what, secret, controls) in cases {
        let found = owner(&web, secret.as_ref().map(Stored::of).as_ref());
        assert_eq!(found.unwrap().controller, controls, "{what}");
    }
    let adopted = made.made_by("kubectl-create");
    assert_eq!(owner(&web, Some(&Stored::of(&adopted))), None);
    let tidy = tidied(&web, &Stored::of(&adopted)).unwrap();
    assert_eq!(tidy.metadata.owner_references, None);
}

#[test]
fn tidying_writes_what_is_there_again_and_nothing_of_others() {
    let web = certificate("web");
    let before = secret_of(&web).made().holding("keystore.p12", "of somebody else");
    let after = tidied(&web, &Stored::of(&before)).unwrap();
    let mut ours = before.data.unwrap();
    ours.remove("keystore.p12");
    assert_eq!(after.data, Some(ours), "to apply a key of others would take it from them");
    assert_eq!(after.metadata.managed_fields, None, "an apply must not have any");
}

#[test]
fn what_is_broken_is_not_tidied() {
    let web = certificate("web");
    let broken = secret_of(&web).made().holding(names::TLS_CRT, "ink").unannotated(names::IP_SANS);
    assert!(tidied(&web, &Stored::of(&broken)).is_none());
    assert!(!is_untidy(&seen(&web, Some(&broken))));
    assert!(!is_untidy(&seen(&web, None)));
}

/// As long as it takes; nobody looks at it.
fn validity() -> Validity {
    Validity { not_before: now(), not_after: now() + jiff::SignedDuration::from_hours(1) }
}

#[test]
fn annotations_tell_what_was_signed_and_not_what_was_asked_for() {
    let web = certificate("web");
    let asked = wanted(&web);
    let key = generate_key(asked.algorithm).unwrap();
    let request = crate::pki::Request {
        common_name: Some("signed".to_owned()),
        dns_names: vec!["signed.test".to_owned()],
        ..asked.request.clone()
    };
    let signed = Press::new().print(&request, &key, validity());
    let leaf = CertificateFacts::from_pem(signed.chain.as_bytes()).unwrap();
    let data = data(&signed, &key, &asked).unwrap();
    let secret = applied(issued(&web, &asked, &leaf, data, None));
    assert_eq!(secret.annotations()[names::COMMON_NAME], "signed");
    assert_eq!(secret.annotations()[names::ALT_NAMES], "signed.test");
}
