//! Which CertificateSigningRequests are signed, refused, waited for, and left alone.

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequestCondition, CertificateSigningRequestSpec,
    CertificateSigningRequestStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::pki::{KeyAlgorithm, generate_key, make_csr};

fn csr(request: &Request) -> ByteString {
    let key = generate_key(KeyAlgorithm::EcdsaP256).unwrap();
    ByteString(make_csr(request, &key).unwrap().into_bytes())
}

fn named() -> Request {
    Request { dns_names: vec!["web.test".to_owned()], ..Request::default() }
}

/// With an organization, which is nobody's name.
fn nobody() -> ByteString {
    let subject = crate::pki::Subject { organizations: vec!["Shop".into()], ..Default::default() };
    csr(&Request { subject, ..Request::default() })
}

/// Asks Issuer `press` of namespace `shop`; nobody has approved it.
fn asking(asked: &Request) -> CertificateSigningRequest {
    CertificateSigningRequest {
        spec: CertificateSigningRequestSpec {
            request: csr(asked),
            signer_name: "issuers.countersign.dev/shop.press".to_owned(),
            usages: Some(vec!["digital signature".to_owned(), "server auth".to_owned()]),
            ..CertificateSigningRequestSpec::default()
        },
        ..CertificateSigningRequest::default()
    }
}

fn saying(mut request: CertificateSigningRequest, types: &[&str]) -> CertificateSigningRequest {
    let condition = |type_: &&str| CertificateSigningRequestCondition {
        type_: (*type_).to_owned(),
        status: "True".to_owned(),
        ..CertificateSigningRequestCondition::default()
    };
    let status = request.status.get_or_insert_default();
    status.conditions = Some(types.iter().map(condition).collect());
    request
}

fn approved(asked: &Request) -> CertificateSigningRequest {
    saying(asking(asked), &["Approved"])
}

/// A decision, and why.
fn word(request: &CertificateSigningRequest) -> String {
    match decide(request) {
        Decision::Leave => "Leave".to_owned(),
        Decision::Wait => "Wait".to_owned(),
        Decision::Refuse(refusal) => format!("{}: {refusal}", refusal.reason()),
        Decision::Sign(_) => "Sign".to_owned(),
    }
}

#[test]
fn a_request_is_signed_once_it_is_approved_and_never_before() {
    let cases: [(&[&str], &str); 7] = [
        (&[], "Wait"),
        (&["Approved"], "Sign"),
        (&["Denied"], "Leave"),
        (&["Approved", "Denied"], "Leave"),
        (&["Failed"], "Leave"),
        (&["Approved", "Failed"], "Leave"),
        (&["Whatever"], "Wait"),
    ];
    for (types, expected) in cases {
        assert_eq!(word(&saying(asking(&named()), types)), expected, "{types:?}");
    }
    let mut doubtful = approved(&named());
    doubtful.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "False".to_owned();
    assert_eq!(word(&doubtful), "Wait");
}

#[test]
fn what_is_signed_or_goes_or_is_of_another_signer_is_left_alone() {
    let change: [fn(&mut CertificateSigningRequest); 3] = [
        |request| {
            let status = request.status.get_or_insert_default();
            *status = CertificateSigningRequestStatus {
                certificate: Some(ByteString(b"a chain".to_vec())),
                ..status.clone()
            };
        },
        |request| {
            request.metadata.deletion_timestamp =
                Some(Time("2026-05-05T12:00:00Z".parse().unwrap()))
        },
        |request| request.spec.signer_name = "kubernetes.io/kubelet-serving".to_owned(),
    ];
    for change in change {
        let mut request = approved(&named());
        change(&mut request);
        assert_eq!(word(&request), "Leave");
    }
}

#[test]
fn an_order_has_the_names_of_the_csr_and_the_usages_and_lifetime_of_the_spec() {
    let other_usages = Request { usages: vec![Usage::CodeSigning], ..named() };
    let mut request = approved(&other_usages);
    let Decision::Sign(order) = decide(&request) else { panic!("{}", word(&request)) };
    assert_eq!(order.signer.issuer.to_string(), "Issuer press");
    assert_eq!(order.signer.namespace, "shop");
    assert_eq!(order.request.dns_names, ["web.test"]);
    assert_eq!(order.request.usages, [Usage::DigitalSignature, Usage::ServerAuth]);
    assert_eq!(order.lifetime, Duration::from_secs(90 * 24 * 3600));
    request.spec.expiration_seconds = Some(600);
    let Decision::Sign(order) = decide(&request) else { panic!("{}", word(&request)) };
    assert_eq!(order.lifetime, Duration::from_secs(600));
}

fn annotate(request: &mut CertificateSigningRequest, name: &str, value: &str) {
    request.annotations_mut().insert(name.to_owned(), value.to_owned());
}

#[test]
fn annotations_ask_for_what_the_spec_has_no_field_for() {
    let mut request = approved(&named());
    annotate(&mut request, DURATION, "896h");
    annotate(&mut request, IS_CA, "false");
    let Decision::Sign(order) = decide(&request) else { panic!("{}", word(&request)) };
    assert_eq!((order.lifetime, order.request.is_ca), (Duration::from_secs(896 * 3600), false));
    // Written after the approval, perhaps: it never asks for more than nothing does.
    annotate(&mut request, DURATION, "87600h");
    let Decision::Sign(order) = decide(&request) else { panic!("{}", word(&request)) };
    assert_eq!(order.lifetime, DEFAULT_LIFETIME);
    request.spec.expiration_seconds = Some(600);
    annotate(&mut request, IS_CA, "true");
    request.spec.usages = Some(vec!["cert sign".to_owned()]);
    let Decision::Sign(order) = decide(&request) else { panic!("{}", word(&request)) };
    assert_eq!((order.lifetime, order.request.is_ca), (Duration::from_secs(600), true));
}

#[test]
fn request_is_ca_adds_cert_sign_as_is_ca_does() {
    let mut request = approved(&named());
    annotate(&mut request, IS_CA, "true");
    let Decision::Sign(order) = decide(&request) else { panic!("{}", word(&request)) };
    assert!(order.request.is_ca);
    assert!(order.request.effective_usages().contains(&Usage::CertSign));
}

#[test]
fn a_request_that_can_never_be_signed_is_refused_with_why() {
    type Case = (fn(&mut CertificateSigningRequest), &'static str);
    let cases: [Case; 8] = [
        (
            |request| annotate(request, DURATION, "a day"),
            "InvalidLifetime: experimental.countersign.dev/request-duration: a day is no lifetime",
        ),
        (
            |request| annotate(request, DURATION, "-1h"),
            "InvalidLifetime: experimental.countersign.dev/request-duration: -1h is no lifetime",
        ),
        (
            |request| request.spec.signer_name = "issuers.countersign.dev/press".to_owned(),
            "InvalidSignerName: spec.signerName must be issuers.countersign.dev/<namespace>.<name> or clusterissuers.countersign.dev/<name>",
        ),
        (
            |request| request.spec.request = ByteString(b"ink".to_vec()),
            "InvalidRequest: spec.request: the request cannot be read: there is no PEM section CERTIFICATE REQUEST",
        ),
        (
            |request| request.spec.request = nobody(),
            "InvalidRequest: spec.request: the CSR names nobody, neither a common name nor an alternative name",
        ),
        (
            |request| request.spec.request = csr(&Request { is_ca: true, ..named() }),
            "AuthorityRefused: the CSR in spec.request asks for an authority, and nothing else does: annotate the request with experimental.countersign.dev/request-is-ca: \"true\" when it is made, or leave it out there",
        ),
        (
            |request| request.spec.usages = Some(vec!["cert sign".to_owned()]),
            "AuthorityRefused: \"cert sign\" in spec.usages asks for an authority, and no annotation does: annotate the request with experimental.countersign.dev/request-is-ca: \"true\" when it is made, or leave it out there",
        ),
        (
            |request| request.spec.expiration_seconds = Some(-1),
            "InvalidLifetime: spec.expirationSeconds: -1 is no lifetime",
        ),
    ];
    for (change, expected) in cases {
        let mut request = approved(&named());
        change(&mut request);
        assert_eq!(word(&request), expected);
        assert_eq!(word(&saying(request, &[])), "Wait", "nobody has approved it");
    }
    let mut request = approved(&named());
    request.spec.usages = Some(vec!["world peace".to_owned()]);
    assert_eq!(word(&request), "InvalidUsages: spec.usages: \"world peace\" is no key usage");
}
