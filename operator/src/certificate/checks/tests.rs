//! Each fault and its reason, and which of several is told.

mod renewal;
mod request;

use countersign_crds::KeyAlgorithm as SpecAlgorithm;
use k8s_openapi::api::core::v1::Secret;

use super::*;
use crate::certificate::support::{
    CertificateProse, SecretProse, certificate, now, secret_of, seen, wanted,
};

/// What there is: a Certificate, and its Secret if it has one.
struct Scene {
    certificate: Certificate,
    secret: Option<Secret>,
}

impl Scene {
    fn healthy() -> Self {
        let certificate = certificate("web");
        let secret = Some(secret_of(&certificate).made());
        Self { certificate, secret }
    }

    fn edit(&mut self, change: impl FnOnce(Secret) -> Secret) {
        self.secret = self.secret.take().map(change);
    }

    fn seen(&self) -> Observed {
        seen(&self.certificate, self.secret.as_ref())
    }

    fn found(&self) -> Option<Reason> {
        let (seen, wanted) = (self.seen(), wanted(&self.certificate));
        let trigger = trigger(&seen, &wanted, now());
        assert_eq!(trigger, unready(&seen, &wanted, now()), "a fault is both");
        trigger.map(|finding| finding.reason)
    }
}

/// What is the case, what makes it so, and what comes of it.
type Case<T> = (&'static str, fn(&mut Scene), T);

/// From the one that is told last to the one that is told first.
const FAULTS: [Case<Reason>; 14] = [
    (
        "another lifetime",
        |scene| scene.edit(|secret| secret.annotated(names::REQUESTED_SECONDS, "60")),
        Reason::RequestChanged,
    ),
    (
        "another name",
        |scene| scene.certificate.spec.dns_names.push("more.test".to_owned()),
        Reason::RequestChanged,
    ),
    ("another kind of key", |scene| ask_for_rsa(&mut scene.certificate), Reason::SecretMismatch),
    (
        "no word of the Certificate",
        |scene| scene.edit(|secret| secret.unannotated(names::CERTIFICATE_NAME)),
        Reason::IncorrectCertificate,
    ),
    (
        "another Certificate",
        |scene| scene.edit(|secret| secret.annotated(names::CERTIFICATE_NAME, "db")),
        Reason::IncorrectCertificate,
    ),
    (
        "no word of the issuer",
        |scene| scene.edit(|secret| secret.unannotated(names::ISSUER_NAME)),
        Reason::IncorrectIssuer,
    ),
    (
        "another issuer",
        |scene| scene.edit(|secret| secret.annotated(names::ISSUER_NAME, "mill")),
        Reason::IncorrectIssuer,
    ),
    (
        "the key of another certificate",
        |scene| scene.edit(|secret| secret.holding(names::TLS_KEY, another_key())),
        Reason::InvalidKeyPair,
    ),
    (
        "no certificate in tls.crt",
        |scene| scene.edit(|secret| secret.holding(names::TLS_CRT, "ink")),
        Reason::InvalidCertificate,
    ),
    (
        "no key in tls.key",
        |scene| scene.edit(|secret| secret.holding(names::TLS_KEY, "ink")),
        Reason::InvalidKeyPair,
    ),
    (
        "an empty tls.crt",
        |scene| scene.edit(|secret| secret.holding(names::TLS_CRT, "")),
        Reason::MissingData,
    ),
    (
        "no tls.key",
        |scene| scene.edit(|secret| secret.without(names::TLS_KEY)),
        Reason::MissingData,
    ),
    ("no data", |scene| scene.edit(|secret| Secret { data: None, ..secret }), Reason::MissingData),
    ("no Secret", |scene| scene.secret = None, Reason::DoesNotExist),
];

fn ask_for_rsa(certificate: &mut Certificate) {
    certificate.spec.private_key.get_or_insert_default().algorithm = Some(SpecAlgorithm::RSA);
}

fn another_key() -> String {
    secret_of(&certificate("other")).made().text(names::TLS_KEY)
}

#[test]
fn a_secret_that_is_as_it_should_be_is_left_alone() {
    assert_eq!(Scene::healthy().found(), None);
}

#[test]
fn each_fault_has_its_reason() {
    for (fault, make, reason) in FAULTS {
        let mut scene = Scene::healthy();
        make(&mut scene);
        assert_eq!(scene.found(), Some(reason), "{fault}");
    }
}

#[test]
fn missing_is_told_before_broken_and_broken_before_wrong() {
    let mut scene = Scene::healthy();
    for (fault, make, reason) in FAULTS {
        make(&mut scene);
        assert_eq!(scene.found(), Some(reason), "{fault}, with all of those before it");
    }
}

#[test]
fn a_fault_is_told_with_what_is_wrong() {
    let cases = [
        ("another kind of key", "the key is ECDSA 256, and spec.privateKey asks for RSA 2048"),
        ("another Certificate", "the Secret was issued for Certificate db"),
        ("another issuer", "the Secret was signed by Issuer mill, not by Issuer press"),
        ("no data", "the Secret has no tls.crt and no tls.key"),
        ("no Secret", "Secret web-tls does not exist"),
    ];
    for (fault, message) in cases {
        let mut scene = Scene::healthy();
        FAULTS.iter().find(|(name, ..)| *name == fault).unwrap().1(&mut scene);
        let told = trigger(&scene.seen(), &wanted(&scene.certificate), now()).unwrap().message;
        assert_eq!(told, message);
    }
}

#[test]
fn an_issuer_is_the_same_with_its_defaults_written_or_left_out() {
    let cases: [Case<bool>; 8] = [
        ("kind", |scene| refer(scene, Some("Issuer"), None), true),
        ("group", |scene| refer(scene, None, Some("countersign.dev")), true),
        ("empty", |scene| refer(scene, Some(""), Some("")), true),
        ("no kind noted", |scene| forget(scene, names::ISSUER_KIND), true),
        ("no group noted", |scene| forget(scene, names::ISSUER_GROUP), true),
        ("another kind", |scene| refer(scene, Some("ClusterIssuer"), None), false),
        ("another group", |scene| refer(scene, None, Some("example.org")), false),
        ("another name", |scene| scene.certificate.spec.issuer_ref.name.push('2'), false),
    ];
    for (case, change, same) in cases {
        let mut scene = Scene::healthy();
        change(&mut scene);
        assert_eq!(scene.found(), (!same).then_some(Reason::IncorrectIssuer), "{case}");
    }
}

fn refer(scene: &mut Scene, kind: Option<&str>, group: Option<&str>) {
    let reference = &mut scene.certificate.spec.issuer_ref;
    reference.kind = kind.map(str::to_owned);
    reference.group = group.map(str::to_owned);
}

fn forget(scene: &mut Scene, annotation: &str) {
    scene.edit(|secret| secret.unannotated(annotation));
}
