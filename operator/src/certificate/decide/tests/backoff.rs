//! After issuances that failed.

use countersign_crds::{Certificate, ConditionStatus};

use super::*;
use crate::certificate::support::minutes;

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

/// How long after the last failure the next try is due.
fn wait_after(failures: i32) -> SignedDuration {
    let failed = certificate("web").failed(failures, seconds(0));
    match decided(&seen(&failed, None)) {
        Decision::BackOff { until, .. } => until.duration_since(now()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tries_come_later_and_later_until_they_come_every_hour() {
    let cases = [(1, 30), (2, 60), (3, 120), (4, 240), (7, 1920), (8, 3600), (9, 3600)];
    for (failures, expected) in cases {
        assert_eq!(wait_after(failures), seconds(expected), "{failures} failures");
    }
    assert_eq!(wait_after(i32::MAX), hours(1));
}

#[test]
fn a_try_that_is_due_is_made() {
    let after = |ago| decided(&seen(&certificate("web").failed(1, ago), None));
    assert_eq!(word(&after(seconds(29))), "BackOff DoesNotExist");
    assert_eq!(word(&after(seconds(30))), "Issue DoesNotExist");
    assert_eq!(word(&after(hours(24))), "Issue DoesNotExist");
}

/// A renewal whose leaf ends so long from now, and that failed often, the last time so long ago.
fn failing(left: SignedDuration, ago: SignedDuration) -> Decision {
    let web = certificate("web").failed(20, ago);
    decided(&seen(&web, Some(&secret_of(&web).expiring_in(left).made())))
}

#[test]
fn a_secret_that_was_deleted_is_made_anew_at_once() {
    let web = certificate("web").failed(9, seconds(0));
    let web = web.having(|status| status.secret_resource_version = Some("7".to_owned()));
    assert_eq!(word(&decided(&seen(&web, None))), "Issue DoesNotExist");
    let expired = secret_of(&web).expiring_in(-hours(1)).made();
    assert_eq!(word(&decided(&seen(&web, Some(&expired)))), "BackOff Renewing");
}

#[test]
fn several_more_tries_always_fit_before_the_certificate_expires() {
    for left in [minutes(5), hours(1), hours(3), hours(24)] {
        let mut remaining = left;
        for _ in 0..TRIES_BEFORE_EXPIRY {
            let Decision::BackOff { until, .. } = failing(remaining, seconds(0)) else {
                panic!("a try right after a failure");
            };
            remaining -= until.duration_since(now());
        }
        assert!(remaining.is_positive(), "of {left} there is {remaining} left");
    }
}

#[test]
fn once_the_certificate_expired_tries_go_on() {
    assert_eq!(word(&failing(-hours(1), minutes(59))), "BackOff Renewing");
    assert_eq!(word(&failing(-hours(1), minutes(60))), "Issue Renewing");
}

#[test]
fn the_next_try_stays_when_it_was_first_told_to_be() {
    // The leaf ends an hour after the failure, so that the next try comes a quarter of an hour
    // after it; each look at it is a little later.
    for ago in [minutes(0), minutes(1), minutes(14)] {
        match failing(hours(1) - ago, ago) {
            Decision::BackOff { until, .. } => assert_eq!(until, now() - ago + minutes(15)),
            other => panic!("{ago} after the failure: {other:?}"),
        }
    }
}

#[test]
fn a_new_spec_is_tried_at_once() {
    let mut web = certificate("web").failed(8, seconds(1));
    assert_eq!(word(&decided(&seen(&web, None))), "BackOff DoesNotExist");
    web.metadata.generation = Some(2);
    assert_eq!(word(&decided(&seen(&web, None))), "Issue DoesNotExist");
}

#[test]
fn a_renewal_that_somebody_asks_for_is_tried_at_once() {
    let failed = certificate("web").failed(8, seconds(1));
    let asked = failed.having(|status| {
        for condition in status.conditions.iter_mut().filter(|one| one.type_ == "Issuing") {
            condition.status = ConditionStatus::True;
        }
    });
    assert_eq!(word(&decided(&healthy(&asked))), "Issue ManuallyTriggered");
    assert_eq!(word(&decided(&seen(&asked, None))), "Issue DoesNotExist");
}

#[test]
fn what_is_as_it_should_be_is_kept_whatever_failed_before() {
    assert_eq!(decided(&healthy(&certificate("web").failed(8, seconds(1)))), Decision::Keep);
}

#[test]
fn an_issuer_that_cannot_sign_is_told_before_any_waiting_time() {
    let failed = certificate("web").failed(8, seconds(1));
    let seen = Observed { issuer: IssuerState::Missing, ..seen(&failed, None) };
    assert_eq!(word(&decided(&seen)), "Wait DoesNotExist IssuerNotFound");
}

#[test]
fn half_a_record_of_failures_is_none() {
    let changes: [fn(Certificate) -> Certificate; 3] = [
        |web| web.having(|status| status.last_failure_time = None),
        |web| web.having(|status| status.failed_issuance_attempts = None),
        |web| web.having(|status| status.failed_issuance_attempts = Some(0)),
    ];
    for change in changes {
        let web = change(certificate("web").failed(8, seconds(1)));
        assert_eq!(word(&decided(&seen(&web, None))), "Issue DoesNotExist");
    }
}
