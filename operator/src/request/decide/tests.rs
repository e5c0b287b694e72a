//! Which requests are signed, denied, refused, and left alone.

use countersign_crds::{CertificateRequestSpec, IssuerRef, KeyUsage};
use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::pki::{KeyAlgorithm, Usage, generate_key, make_csr};

/// A CSR that asks for this, signed with a key of its own.
fn csr(request: &Request) -> Vec<u8> {
    let key = generate_key(KeyAlgorithm::EcdsaP256).unwrap();
    make_csr(request, &key).unwrap().into_bytes()
}

fn named() -> Request {
    Request { dns_names: vec!["web.test".to_owned()], ..Request::default() }
}

/// Asks issuer `press` to sign a CSR.
fn asking(csr: Vec<u8>) -> CertificateRequest {
    let spec = CertificateRequestSpec {
        request: ByteString(csr),
        issuer_ref: IssuerRef { name: "press".to_owned(), kind: None, group: None },
        ..CertificateRequestSpec::default()
    };
    CertificateRequest::new("web", spec)
}

fn saying(
    mut request: CertificateRequest,
    type_: &str,
    status: ConditionStatus,
    reason: &str,
) -> CertificateRequest {
    request.status.get_or_insert_default().conditions.push(Condition {
        type_: type_.to_owned(),
        status,
        last_transition_time: None,
        reason: Some(reason.to_owned()),
        message: Some(format!("because of {reason}")),
        observed_generation: None,
    });
    request
}

/// A decision, and why.
fn word(request: &CertificateRequest) -> String {
    match decide(request, true) {
        Decision::Leave => "Leave".to_owned(),
        Decision::Wait => "Wait".to_owned(),
        Decision::Deny(why) => format!("Deny: {why}"),
        Decision::Refuse(why) => format!("Refuse: {why}"),
        Decision::Sign(_) => "Sign".to_owned(),
    }
}

#[test]
fn what_was_decided_before_is_heeded() {
    use ConditionStatus::{False, True, Unknown};
    let cases = [
        ("Approved", True, "Policy", "Sign"),
        ("Denied", True, "Policy", "Deny: because of Policy"),
        ("Denied", False, "Policy", "Sign"),
        ("Ready", True, "Issued", "Leave"),
        ("Ready", False, "Failed", "Leave"),
        ("Ready", False, "Denied", "Leave"),
        ("Ready", False, "Pending", "Sign"),
        ("Ready", Unknown, "Whatever", "Sign"),
    ];
    for (type_, status, reason, expected) in cases {
        let request = saying(asking(csr(&named())), type_, status, reason);
        assert_eq!(word(&request), expected, "{type_} {status:?} {reason}");
    }
    assert_eq!(word(&asking(csr(&named()))), "Sign", "nobody has to approve it first");
}

#[test]
fn a_denial_wins_over_an_approval_and_is_told_once() {
    let both = saying(asking(csr(&named())), "Approved", ConditionStatus::True, "Policy");
    let both = saying(both, "Denied", ConditionStatus::True, "Audit");
    assert_eq!(word(&both), "Deny: because of Audit");
    assert_eq!(word(&saying(both, "Ready", ConditionStatus::False, "Denied")), "Leave");
    let broken = saying(asking(b"ink".to_vec()), "Denied", ConditionStatus::True, "Audit");
    assert_eq!(word(&broken), "Deny: because of Audit", "whatever it asks for");
}

#[test]
fn requests_to_other_signers_and_those_that_go_are_left_alone() {
    let change: [fn(&mut CertificateRequest); 2] = [
        |request| request.spec.issuer_ref.group = Some("example.org".to_owned()),
        |request| {
            request.metadata.deletion_timestamp =
                Some(Time("2026-05-05T12:00:00Z".parse().unwrap()))
        },
    ];
    for change in change {
        for mut request in [asking(csr(&named())), asking(b"ink".to_vec())] {
            change(&mut request);
            assert_eq!(word(&request), "Leave");
        }
    }
}

#[test]
fn an_order_is_what_the_csr_names_and_the_spec_allows() {
    let subject = crate::pki::Subject { organizations: vec!["Shop".into()], ..Default::default() };
    let asked = Request { common_name: Some("web".to_owned()), subject, ..named() };
    let key = generate_key(KeyAlgorithm::EcdsaP256).unwrap();
    let mut request = asking(make_csr(&asked, &key).unwrap().into_bytes());
    let Decision::Sign(order) = decide(&request, true) else { panic!("{}", word(&request)) };
    assert_eq!(order.issuer.to_string(), "Issuer press");
    assert_eq!(order.request.common_name, asked.common_name);
    assert_eq!(order.request.subject, asked.subject);
    assert_eq!(order.request.dns_names, asked.dns_names);
    assert_eq!(order.lifetime, Duration::from_secs(90 * 24 * 3600));
    assert_eq!(order.csr.public_key_spki, key.public_key_spki());
    request.spec.duration = Some(Duration::from_secs(3600).into());
    request.spec.usages = vec![KeyUsage::DigitalSignature, KeyUsage::KeyEncipherment];
    let Decision::Sign(order) = decide(&request, true) else { panic!("{}", word(&request)) };
    assert_eq!(order.lifetime, Duration::from_secs(3600));
    assert_eq!(order.request.usages, [Usage::DigitalSignature, Usage::KeyEncipherment]);
}

/// What is asked for in the CSR, and in the spec, and whether they agree.
type Case = (Vec<Usage>, bool, Vec<KeyUsage>, Option<bool>, &'static str);

const USAGES: &str = "Refuse: spec.usages are not those that the CSR in spec.request asks for";
const IS_CA: &str = "Refuse: spec.isCA is not what the CSR in spec.request asks for";

#[test]
fn a_csr_asks_for_nothing_that_the_spec_does_not_say() {
    use KeyUsage::{DigitalSignature, KeyEncipherment, Signing};
    let server = || (vec![Usage::ServerAuth], vec![KeyUsage::ServerAuth]);
    let cases: [Case; 10] = [
        (vec![], false, vec![], None, "Sign"),
        (vec![], false, vec![], Some(false), "Sign"),
        (vec![], false, vec![DigitalSignature, KeyEncipherment], None, "Sign"),
        (vec![], false, vec![KeyEncipherment, Signing], None, "Sign"),
        (server().0, false, server().1, None, "Sign"),
        (server().0, false, vec![], None, USAGES),
        (vec![], false, server().1, None, USAGES),
        (vec![], true, vec![], Some(true), "Sign"),
        (vec![], true, vec![], None, IS_CA),
        (vec![Usage::CertSign], false, vec![], None, USAGES),
    ];
    for (place, (asked, ca, usages, is_ca, expected)) in cases.into_iter().enumerate() {
        let mut request = asking(csr(&Request { usages: asked, is_ca: ca, ..named() }));
        (request.spec.usages, request.spec.is_ca) = (usages, is_ca);
        assert_eq!(word(&request), expected, "case {place}");
    }
}

/// The same with another last byte, which is one of the signature's.
fn forged(csr: &[u8]) -> Vec<u8> {
    let mut der = pem::parse(csr).unwrap().into_contents();
    *der.last_mut().unwrap() ^= 1;
    pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", der)).into_bytes()
}

#[test]
fn a_csr_that_proves_nothing_or_names_nobody_is_refused_with_why() {
    let subject = crate::pki::Subject { organizations: vec!["Shop".into()], ..Default::default() };
    let cases = [
        (b"ink".to_vec(), "the request cannot be read"),
        (Vec::new(), "the request cannot be read"),
        (forged(&csr(&named())), "the signature of the request was not made with its key"),
        (csr(&Request { subject, ..Request::default() }), "the CSR names nobody"),
    ];
    for (csr, why) in cases {
        let told = word(&asking(csr));
        assert!(told.starts_with(&format!("Refuse: spec.request: {why}")), "{told}");
    }
}

#[test]
fn where_somebody_else_approves_nothing_is_signed_before() {
    let request = asking(csr(&named()));
    assert!(matches!(decide(&request, false), Decision::Wait));
    let approved = saying(request, "Approved", ConditionStatus::True, "Human");
    assert!(matches!(decide(&approved, false), Decision::Sign(_)));
}
