//! Which certificates the status does not tell of, and what is done about them.

use countersign_crds::Certificate;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::certificate::decide::{Decision, decide};
use crate::certificate::status::{Outcome, next};
use crate::certificate::support::{
    CertificateProse, SecretProse, certificate, minutes, now, secret_of, seen, wanted,
};

/// A Certificate whose status tells of this revision.
fn told_of(revision: i64) -> Certificate {
    certificate("web").having(|status| status.revision = Some(revision))
}

fn of_revision(revision: i64) -> Secret {
    secret_of(&certificate("web")).of_revision(revision).made()
}

/// With a renewal asked for so long after the Secret was written; `None` where nobody says when.
fn asked(web: Certificate, after: Option<SignedDuration>) -> Certificate {
    web.asked_for().having(|status| {
        let condition = status.conditions.last_mut().unwrap();
        condition.last_transition_time = after.map(|after| Time(now() + after));
    })
}

#[test]
fn a_certificate_is_untold_where_the_secret_holds_a_later_revision_than_the_status_knows() {
    let other = of_revision(2).annotated(names::CERTIFICATE_NAME, "db");
    let cases = [
        ("no Secret", certificate("web"), None, None),
        (
            "a Secret that says nothing",
            told_of(1),
            Some(secret_of(&certificate("web")).made()),
            None,
        ),
        ("the first", certificate("web"), Some(of_revision(1)), Some(1)),
        ("the next", told_of(1), Some(of_revision(2)), Some(2)),
        ("the one that is told of", told_of(2), Some(of_revision(2)), None),
        ("an earlier one, put back by hand", told_of(3), Some(of_revision(2)), None),
        ("another Certificate's", told_of(1), Some(other), None),
        ("nonsense", told_of(1), Some(of_revision(2).annotated(names::REVISION, "two")), None),
    ];
    for (what, certificate, secret, expected) in cases {
        assert_eq!(untold(&seen(&certificate, secret.as_ref())), expected, "{what}");
    }
}

#[test]
fn a_renewal_is_answered_by_what_was_stored_no_earlier_than_it_was_asked_for() {
    let (before, after) = (-minutes(1), SignedDuration::from_secs(1));
    let cases = [
        ("before", asked(told_of(1), Some(before)), 2, true),
        ("in the same second", asked(told_of(1), Some(SignedDuration::ZERO)), 2, true),
        ("nobody says when", asked(told_of(1), None), 2, true),
        ("after", asked(told_of(1), Some(after)), 2, false),
        ("before, and told of", asked(told_of(2), Some(before)), 2, false),
    ];
    for (when, certificate, revision, expected) in cases {
        let seen = seen(&certificate, Some(&of_revision(revision)));
        assert_eq!(is_answered(&seen), expected, "{when}");
    }
}

#[test]
fn what_is_untold_is_told_before_anything_is_issued_again() {
    let cases = [
        ("all is well", told_of(1), Decision::Keep),
        ("it was asked for", asked(told_of(1), Some(-minutes(1))), Decision::Keep),
        ("it is asked for again", asked(told_of(1), Some(minutes(1))), Decision::Record),
        ("the spec changed meanwhile", told_of(1).dns("www.test"), Decision::Record),
    ];
    for (what, certificate, expected) in cases {
        let found = seen(&certificate, Some(&of_revision(2)));
        let decision = decide(&found, &Ok(wanted(&certificate)), now());
        assert_eq!(decision, expected, "{what}");
        let outcome = Outcome::Found(2);
        let status = next(&found, Some(&wanted(&certificate)), &decision, &outcome, now());
        assert_eq!(status.revision, Some(2), "{what}");
        let told = certificate.having(|before| *before = status);
        let still_asked = told.status.iter().flat_map(|s| &s.conditions);
        let still_asked = still_asked.filter(|c| c.type_ == "Issuing").count();
        assert_eq!(still_asked == 1, what == "it is asked for again", "{what}");
        let next = decide(&seen(&told, Some(&of_revision(2))), &Ok(wanted(&told)), now());
        let issues = matches!(next, Decision::Issue(_));
        assert_eq!(issues, decision == Decision::Record, "{what}: {next:?}");
    }
}

#[test]
fn failures_before_it_are_over() {
    let failed = told_of(1).failed(3, minutes(1));
    let found = seen(&failed, Some(&of_revision(2)));
    let wanted = wanted(&failed);
    let decision = decide(&found, &Ok(wanted.clone()), now());
    let status = next(&found, Some(&wanted), &decision, &Outcome::Found(2), now());
    assert_eq!((status.failed_issuance_attempts, status.last_failure_time), (None, None));
    assert!(!status.conditions.iter().any(|condition| condition.type_ == "Issuing"));
}
