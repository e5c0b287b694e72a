//! What is told and counted of issuances, and of those that failed.

use super::*;

#[test]
fn why_issuance_failed_is_told_until_one_succeeds() {
    let web = seen(&certificate("web"), None);
    let first = after(&web, &failed());
    assert_eq!(
        told(&first, "Issuing"),
        "False SigningError: signing: out of ink; the next try is at 2026-05-05T12:00:30Z"
    );
    let backing_off = after(&later(&web, first.clone()), &Outcome::Unchanged);
    assert_eq!(backing_off, first, "and nothing is written while the next try is waited for");
    let secret = secret_of(&web.certificate).made();
    let good = Observed { secret: healthy(&web.certificate).secret, ..later(&web, first.clone()) };
    assert_eq!(told(&after(&good, &Outcome::Unchanged), "Issuing"), told(&first, "Issuing"));
    let good = seen(&good.certificate, Some(&secret));
    let done = next(
        &good,
        Some(&wanted(&good.certificate)),
        &issue(Reason::Renewing),
        &Outcome::Issued,
        now(),
    );
    assert_eq!(told(&done, "Issuing"), "");
}

#[test]
fn a_waiting_time_that_nobody_told_of_is_told() {
    let forgotten = certificate("web").failed(1, minutes(0));
    let mut forgotten = forgotten.having(|status| status.conditions.clear());
    let ready = forgotten.clone().saying("Ready", ConditionStatus::False, "DoesNotExist");
    forgotten.status = ready.status;
    let status = after(&seen(&forgotten, None), &Outcome::Unchanged);
    let expected = "False Failed: Secret web-tls does not exist; the next try is at \
                    2026-05-05T12:00:30Z";
    assert_eq!(told(&status, "Issuing"), expected);
}

#[test]
fn failures_are_counted_until_one_succeeds() {
    let mut web = seen(&certificate("web"), None);
    for count in 1..=3 {
        let status = after(&web, &failed());
        assert_eq!(status.failed_issuance_attempts, Some(count));
        assert_eq!(status.last_failure_time, Some(Time(now())));
        assert_eq!(status.revision, None);
        web = later(&web, status);
    }
    let kept = after(&web, &Outcome::Unchanged);
    assert_eq!(kept.failed_issuance_attempts, Some(3), "waiting is no failure");
    let done = after(&web, &Outcome::Issued);
    assert_eq!((done.failed_issuance_attempts, done.last_failure_time), (None, None));
}

#[test]
fn a_certificate_that_was_issued_has_the_next_revision() {
    let of = |revision| {
        let web = certificate("web").having(|status| status.revision = revision);
        [Outcome::Issued, Outcome::Unchanged, failed()]
            .map(|outcome| after(&healthy(&web), &outcome).revision)
    };
    assert_eq!(of(None), [Some(1), None, None]);
    assert_eq!(of(Some(7)), [Some(8), Some(7), Some(7)]);
}

#[test]
fn a_renewal_that_was_asked_for_is_done_once() {
    let asked = healthy(&certificate("web").asked_for());
    let decision = decide(&asked, &Ok(wanted(&asked.certificate)), now());
    assert!(matches!(decision, Decision::Issue(_)), "{decision:?}");
    let done = later(&asked, after(&asked, &Outcome::Issued));
    assert_eq!(decide(&done, &Ok(wanted(&done.certificate)), now()), Decision::Keep);
}

#[test]
fn a_renewal_that_was_asked_for_and_failed_is_not_tried_for_ever() {
    let asked = healthy(&certificate("web").asked_for());
    let done = later(&asked, after(&asked, &failed()));
    assert_eq!(decide(&done, &Ok(wanted(&done.certificate)), now()), Decision::Keep);
}
