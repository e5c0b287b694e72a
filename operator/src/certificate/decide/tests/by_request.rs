//! Certificates that somebody else signs, or must approve.

use std::sync::Arc;

use countersign_crds::{CertificateRequest, CertificateRequestStatus};
use k8s_openapi::ByteString;
use serde_json::json;

use super::*;
use crate::certificate::request::{self, Asked};
use crate::certificate::support::minutes;
use crate::pki::{KeyAlgorithm, generate_key};

/// The request of a Certificate, made so long ago, with a status of this.
fn request(
    web: &Certificate,
    ago: SignedDuration,
    status: serde_json::Value,
) -> CertificateRequest {
    let mut request = request::wanted(web, "a csr".to_owned());
    request.metadata.creation_timestamp = Some(Time(now() - ago));
    let mut status: CertificateRequestStatus = serde_json::from_value(status).unwrap();
    let is_ready = status.conditions.iter().any(|c| c.reason.as_deref() == Some("Issued"));
    status.certificate = is_ready.then(|| ByteString(b"chain".to_vec()));
    request.status = Some(status);
    request
}

fn asked(web: &Certificate, request: CertificateRequest, has_key: bool) -> Observed {
    let key = || Arc::new(generate_key(KeyAlgorithm::EcdsaP256).unwrap());
    let asked = Asked { request: Arc::new(request), key: has_key.then(key), is_kept: false };
    Observed { issuer: IssuerState::Foreign, asked: Some(asked), ..seen(web, None) }
}

fn says(type_: &str, status: &str, reason: &str) -> serde_json::Value {
    json!({ "conditions": [{ "type": type_, "status": status, "reason": reason }] })
}

fn issued() -> serde_json::Value {
    let holds =
        |type_: &str, reason: &str| json!({ "type": type_, "status": "True", "reason": reason });
    json!({ "conditions": [holds("Approved", "Human"), holds("Ready", "Issued")] })
}

#[test]
fn each_state_of_a_request_leads_to_one_step() {
    let web = certificate("web");
    let (none, issued) = (json!({}), issued());
    let unapproved = says("Ready", "True", "Issued");
    let denied = says("Denied", "True", "Human");
    let moment = SignedDuration::from_secs(1);
    let cases = [
        (moment, none.clone(), true, "Hold"),
        (minutes(1), none.clone(), true, "Wait DoesNotExist RequestPending"),
        (minutes(1), says("Approved", "True", "Human"), true, "Wait DoesNotExist RequestPending"),
        (minutes(1), unapproved, true, "Wait DoesNotExist RequestPending"),
        (moment, issued.clone(), true, "Store DoesNotExist"),
        (minutes(1), issued, false, "Discard: its private key is lost"),
        (minutes(1), none, false, "Discard: its private key is lost"),
        (moment, denied.clone(), true, "Fail Human"),
        (minutes(1), denied, false, "Fail Human"),
        (minutes(1), says("Ready", "False", "Failed"), true, "Fail Failed"),
    ];
    for (ago, status, has_key, expected) in cases {
        let decision = decided(&asked(&web, request(&web, ago, status.clone()), has_key));
        assert_eq!(word(&decision), expected, "{status} {has_key}");
    }
}

#[test]
fn without_a_request_one_is_made_also_where_our_own_issuer_needs_approval() {
    for issuer in [IssuerState::Foreign, IssuerState::NeedsApproval] {
        let seen = Observed { issuer, ..seen(&certificate("web"), None) };
        assert_eq!(word(&decided(&seen)), "Ask DoesNotExist");
    }
}

#[test]
fn a_request_for_something_else_is_taken_away() {
    let web = certificate("web");
    let request = request(&web, minutes(1), issued());
    let other = asked(&web.dns("www.test"), request, true);
    assert_eq!(word(&decided(&other)), "Discard: something else is asked for now");
}

#[test]
fn a_request_that_failed_is_followed_by_another_when_it_is_time() {
    let denied = says("Denied", "True", "Human");
    let cases =
        [(0, "BackOff DoesNotExist"), (29, "Discard: it failed, and it is time for another")];
    for (minutes_ago, expected) in cases {
        let web = certificate("web").failed(1, minutes(minutes_ago));
        // Made before it failed.
        let web = web.having(|status| status.observed_generation = Some(1));
        let request = request(&web, minutes(minutes_ago + 1), denied.clone());
        assert_eq!(word(&decided(&asked(&web, request, true))), expected, "{minutes_ago}");
    }
}

#[test]
fn what_an_issuer_of_others_signed_is_not_asked_for_again_however_it_differs() {
    let web = certificate("web");
    let secret = secret_of(&web).made();
    let more = web.dns("www.test");
    let foreign = |was_asked| Observed {
        issuer: IssuerState::Foreign,
        was_asked,
        ..seen(&more, Some(&secret))
    };
    let same = request::digest(&more.spec);
    assert_eq!(decided(&foreign(Some(same))), Decision::Keep);
    assert_eq!(word(&decided(&foreign(Some("another".to_owned())))), "Ask RequestChanged");
    assert_eq!(word(&decided(&foreign(None))), "Ask RequestChanged");
}
