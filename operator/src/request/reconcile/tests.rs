//! What a CertificateRequest says once it was looked at.

use countersign_crds::CertificateRequestSpec;

use super::*;
use crate::issuer::KeyUnavailable;

fn at(text: &str) -> Time {
    Time(text.parse().unwrap())
}

/// Conditions as `<type> <status> <reason>`.
fn words(verdict: &Verdict) -> Vec<String> {
    let told = verdict.conditions.iter();
    told.map(|(type_, status, reason, _)| format!("{type_} {status:?} {reason}")).collect()
}

#[test]
fn every_end_of_a_request_has_its_conditions() {
    let signed = || Signed { chain: "a chain".to_owned(), ca: None };
    let missing = || SignError::NotFound { issuer: "Issuer press".to_owned() };
    let not_ours = || SignError::NoPrivateKey { issuer: "Issuer press".to_owned() };
    let unnamed = || SignError::from(KeyUnavailable::NotNamed { annotation: "a" });
    let absent = || SignError::from(KeyUnavailable::NotUsable { annotation: "a" });
    type Case = (Verdict, &'static [&'static str], &'static str, bool, bool);
    let cases: [Case; 7] = [
        (outcome(Ok(signed())), &["Ready True Issued"], "CertificateIssued", true, true),
        (outcome(Err(missing())), &["Ready False Pending"], "IssuerNotFound", true, false),
        (outcome(Err(not_ours())), &["Ready False Failed"], "IssuerCannotSignRequests", true, true),
        (outcome(Err(unnamed())), &["Ready False Failed"], "MissingAnnotation", true, true),
        (outcome(Err(absent())), &["Ready False Pending"], "PrivateKeyNotUsable", true, false),
        (denied("no".to_owned()), &["Ready False Denied"], "Denied", false, true),
        (
            invalid("no".to_owned()),
            &["InvalidRequest True InvalidRequest", "Ready False Failed"],
            "InvalidRequest",
            false,
            true,
        ),
    ];
    for (verdict, conditions, event, approved, is_final) in cases {
        assert_eq!(verdict.event, event, "{conditions:?}");
        assert_eq!(words(&verdict), conditions);
        assert_eq!((verdict.approved, verdict.is_final), (approved, is_final), "{conditions:?}");
        let is_signed = conditions.contains(&"Ready True Issued");
        assert_eq!(verdict.signed.is_some(), is_signed, "{conditions:?}");
    }
}

#[test]
fn a_condition_changes_its_time_with_its_status_only() {
    let (before, now) = (at("2026-05-05T11:00:00Z"), at("2026-05-05T12:00:00Z"));
    let pending = |why: &str| (READY, ConditionStatus::False, "Pending", why.to_owned());
    let mut conditions = Vec::new();
    set(&mut conditions, pending("no issuer"), &before);
    set(&mut conditions, pending("no authority"), &now);
    let [ready] = &conditions[..] else { panic!("{conditions:?}") };
    assert_eq!(ready.message.as_deref(), Some("no authority"));
    assert_eq!(ready.last_transition_time, Some(before));
    set(&mut conditions, (READY, ConditionStatus::True, "Issued", String::new()), &now);
    let [ready] = &conditions[..] else { panic!("{conditions:?}") };
    assert_eq!(ready.last_transition_time, Some(now));
}

#[test]
fn the_word_of_another_approver_stays() {
    let now = at("2026-05-05T12:00:00Z");
    let mut conditions = Vec::new();
    let by = |who: &'static str| ("Approved", ConditionStatus::True, who, String::new());
    set(&mut conditions, by("policy"), &now);
    set(&mut conditions, by("countersign.dev"), &now);
    let denied = ("Denied", ConditionStatus::True, "countersign.dev", String::new());
    set(&mut conditions, denied, &now);
    assert_eq!(conditions[0].reason.as_deref(), Some("policy"));
    assert_eq!(conditions.len(), 1, "nothing is both approved and denied");
}

#[test]
fn request_is_retried_by_the_time_that_it_has_waited() {
    let now = at("2026-05-05T12:00:00Z");
    let says = |status: ConditionStatus, since: &Time| {
        let mut request = CertificateRequest::new("web-1", CertificateRequestSpec::default());
        let conditions = &mut request.status.get_or_insert_default().conditions;
        set(conditions, (READY, status, "Pending", String::new()), since);
        request
    };
    let hour = at("2026-05-05T11:00:00Z");
    let cases = [
        (CertificateRequest::new("web-1", CertificateRequestSpec::default()), 0),
        (says(ConditionStatus::False, &hour), 3600),
        (says(ConditionStatus::False, &now), 0),
        (says(ConditionStatus::True, &hour), 0),
    ];
    for (request, expected) in cases {
        assert_eq!(waited(&request, now.0).as_secs(), expected, "{:?}", request.status);
    }
}

#[test]
fn every_wait_but_that_after_an_error_grows_as_long() {
    let issuer = || "Issuer press".to_owned();
    let secret = || Box::new(ObjectRef::new("ca").within("shop"));
    let error = || kube::Error::LinesCodecMaxLineLengthExceeded;
    let cases = [
        (SignError::NotFound { issuer: issuer() }, retry::LONGEST_WAIT),
        (KeyUnavailable::NotUsable { annotation: "a" }.into(), retry::LONGEST_WAIT),
        (AuthorityUnavailable::Missing { secret: secret() }.into(), retry::LONGEST_WAIT),
        (
            AuthorityUnavailable::Read { secret: secret(), source: error() }.into(),
            retry::LONGEST_AFTER_ERROR,
        ),
        (SignError::Read { issuer: issuer(), source: error() }, retry::LONGEST_AFTER_ERROR),
    ];
    for (error, longest) in cases {
        let text = error.to_string();
        assert_eq!(outcome(Err(error)).longest, longest, "{text}");
    }
}
