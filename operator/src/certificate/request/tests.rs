use countersign_crds::CertificateRequestStatus;
use serde_json::json;

use super::*;
use crate::certificate::support::{CertificateProse, certificate};

/// A request whose status has these conditions, `Type=Status Reason`.
fn asked(conditions: &[&str], signed: Option<&str>) -> Asked {
    let conditions: Vec<_> = conditions
        .iter()
        .map(|text| {
            let (type_, rest) = text.split_once('=').unwrap();
            let (status, reason) = rest.split_once(' ').unwrap();
            json!({ "type": type_, "status": status, "reason": reason, "message": "because" })
        })
        .collect();
    let mut request = wanted(&certificate("web"), "a csr".to_owned());
    let mut status: CertificateRequestStatus =
        serde_json::from_value(json!({ "conditions": conditions })).unwrap();
    status.certificate = signed.map(|chain| ByteString(chain.as_bytes().to_vec()));
    request.status = Some(status);
    Asked { request: Arc::new(request), key: None, is_kept: false }
}

#[test]
fn a_request_is_answered_only_by_its_last_word() {
    let pending = |why: &str| Answer::Pending(format!("CertificateRequest web-1: {why}"));
    let refused =
        |reason: &str| Answer::Refused { reason: reason.to_owned(), message: "because".to_owned() };
    let signed = Answer::Signed { chain: b"chain".to_vec(), ca: None };
    let approved = "Approved=True Human";
    let cases = [
        (asked(&[], None), pending("waits for approval")),
        (asked(&["Ready=False Pending"], None), pending("waits for approval")),
        (asked(&[approved], None), pending("is approved, and its issuer has not answered yet")),
        (asked(&[approved, "Ready=False Pending"], None), pending("because")),
        (asked(&[approved, "Ready=True Issued"], Some("chain")), signed),
        (
            asked(&[approved, "Ready=True Issued"], None),
            pending("is Ready and holds no certificate yet"),
        ),
        (
            asked(&["Ready=True Issued"], Some("chain")),
            pending("was signed, and not approved: what was signed is not used before it is"),
        ),
        (asked(&["Denied=True Human"], None), refused("Human")),
        (asked(&["Denied=False Human"], None), pending("waits for approval")),
        (asked(&[approved, "Ready=False Failed"], None), refused("Failed")),
        (asked(&[approved, "InvalidRequest=True BadCsr"], None), refused("BadCsr")),
    ];
    for (asked, expected) in cases {
        assert_eq!(asked.answer(), expected, "{:?}", asked.request.status);
    }
}

#[test]
fn a_request_carries_what_its_issuer_may_want_to_know() {
    let mut web = certificate("web").having(|status| status.revision = Some(3));
    web.metadata.labels = Some([("team".to_owned(), "shop".to_owned())].into());
    let annotations = [
        ("example.org/profile", "strict"),
        ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
        ("argocd.argoproj.io/sync-wave", "1"),
        ("countersign.dev/issue-temporary-certificate", "true"),
    ];
    web.metadata.annotations =
        Some(annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let request = wanted(&web, "a csr".to_owned());
    assert_eq!(request.name_any(), "web-4");
    assert_eq!(request.labels()["team"], "shop");
    let noted: Vec<_> = request.annotations().keys().map(String::as_str).collect();
    let ours = [
        names::CERTIFICATE_NAME,
        names::REVISION,
        names::PRIVATE_KEY_SECRET,
        names::REQUEST_DIGEST,
    ];
    assert_eq!(noted, [&ours[..], &["example.org/profile"]].concat());
    assert_eq!(request.annotations()[names::PRIVATE_KEY_SECRET], "web-4-next-private-key");
    assert_eq!(revision_of(&web, &request), Some(4));
    let mut other = web;
    other.metadata.uid = Some("another".to_owned());
    assert_eq!(revision_of(&other, &request), None, "one that was deleted and made again");
}

#[test]
fn a_request_is_current_until_something_else_is_asked_for() {
    let web = certificate("web");
    let request = Arc::new(wanted(&web, "a csr".to_owned()));
    let asked = Asked { request, key: None, is_kept: false };
    assert!(asked.is_current(&web));
    let labelled = web.clone().with(|spec| {
        spec.secret_template = Some(countersign_crds::SecretTemplate::default());
        spec.revision_history_limit = Some(3);
    });
    assert!(asked.is_current(&labelled));
    assert!(!asked.is_current(&web.dns("other.test")));
}

#[test]
fn names_of_requests_are_names() {
    let long = certificate(&format!("{}.{}", "a".repeat(248), "b".repeat(4)));
    for (certificate, revision, expected) in [
        (certificate("web"), 1, "web-1".to_owned()),
        (long.clone(), 1234, format!("{}-1234", "a".repeat(248))),
        (long, 12, format!("{}.b-12", "a".repeat(248))),
    ] {
        let name = name(&certificate, revision);
        assert!(name.len() <= 253 && name == expected, "{name}");
    }
}

#[test]
fn so_many_requests_are_kept_as_the_spec_says() {
    let requests: Vec<_> = (1..=5)
        .map(|revision| {
            let web = certificate("web").having(|status| status.revision = Some(revision - 1));
            Arc::new(wanted(&web, "a csr".to_owned()))
        })
        .collect();
    let cases = [
        (None, vec!["web-1", "web-2", "web-3", "web-4"]),
        (Some(1), vec!["web-1", "web-2", "web-3", "web-4"]),
        (Some(3), vec!["web-1", "web-2"]),
        (Some(9), vec![]),
    ];
    for (limit, expected) in cases {
        let web = certificate("web").with(|spec| spec.revision_history_limit = limit);
        assert_eq!(superseded(&web, 5, &requests), expected, "{limit:?}");
    }
}
