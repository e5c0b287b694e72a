//! What becomes of a CertificateSigningRequest.

use super::*;
use crate::issuer::KeyUnavailable;

#[test]
fn what_nobody_can_mend_is_final_and_all_else_is_tried_again() {
    let signed = Signed { chain: "a chain".to_owned(), ca: None };
    assert_eq!(outcome(Ok(signed)), Verdict::Issued("a chain".to_owned()));
    let missing = outcome(Err(SignError::NotFound { issuer: "Issuer press".to_owned() }));
    let message = "Issuer press does not exist".to_owned();
    let longest = retry::LONGEST_WAIT;
    assert_eq!(missing, Verdict::Pending { reason: "IssuerNotFound", message, longest });
    let never = outcome(Err(SignError::NoPrivateKey { issuer: "Issuer press".to_owned() }));
    let unusable = KeyUnavailable::NotUsable { annotation: PRIVATE_KEY_SECRET };
    let unusable = outcome(Err(unusable.into()));
    let is_it =
        |reason| matches!(&unusable, Verdict::Pending { reason: told, .. } if *told == reason);
    assert!(is_it("PrivateKeyNotUsable"), "{unusable:?}");
    let unnamed = KeyUnavailable::NotNamed { annotation: PRIVATE_KEY_SECRET };
    let unnamed = outcome(Err(unnamed.into()));
    assert!(matches!(unnamed, Verdict::Failed { reason: "MissingAnnotation", .. }), "{unnamed:?}");
    let is_final =
        |reason| matches!(&never, Verdict::Failed { reason: told, .. } if *told == reason);
    assert!(is_final("IssuerCannotSignRequests"), "{never:?}");
}

#[test]
fn request_waits_from_its_approval_on() {
    let time = |text: &str| Time(text.parse().unwrap());
    let now = time("2026-05-05T12:00:00Z");
    let mut request = CertificateSigningRequest::default();
    assert_eq!(waited(&request, now.0).as_secs(), 0);
    request.metadata.creation_timestamp = Some(time("2026-05-05T11:00:00Z"));
    assert_eq!(waited(&request, now.0).as_secs(), 3600);
    let approved = CertificateSigningRequestCondition {
        type_: "Approved".to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(time("2026-05-05T11:59:00Z")),
        ..CertificateSigningRequestCondition::default()
    };
    request.status.get_or_insert_default().conditions = Some(vec![approved]);
    assert_eq!(waited(&request, now.0).as_secs(), 60);
}

#[test]
fn a_failure_stands_beside_what_others_said() {
    let now = Time("2026-05-05T12:00:00Z".parse().unwrap());
    let mut request = CertificateSigningRequest::default();
    request.status.get_or_insert_default().conditions =
        Some(failed(&CertificateSigningRequest::default(), "Before", "", &now));
    let conditions = failed(&request, "DeniedReference", "no", &now);
    let reasons: Vec<_> = conditions.iter().filter_map(|it| it.reason.as_deref()).collect();
    assert_eq!(reasons, ["Before", "DeniedReference"]);
    assert_eq!(conditions[1].type_, "Failed");
    assert_eq!(conditions[1].status, "True");
}
