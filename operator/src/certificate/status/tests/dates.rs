//! From when, until when, and when again.

use std::time::Duration;

use jiff::SignedDuration;

use super::*;
use crate::pki::{BACKDATE, Validity, clamp_lifetime};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn the_dates_are_those_of_the_certificate_in_the_secret() {
    let web = certificate("web");
    let (from, until) = (at("2026-05-05T11:00:00Z"), at("2026-05-06T12:00:00Z"));
    let secret = secret_of(&web).valid(from, until).made();
    let status = after(&seen(&web, Some(&secret)), &Outcome::Unchanged);
    assert_eq!(status.not_before, Some(Time(from)));
    assert_eq!(status.not_after, Some(Time(until)));
    assert!(status.renewal_time.is_some());
}

#[test]
fn without_a_certificate_there_are_no_dates() {
    let web = healthy(&certificate("web"));
    let dated = later(&web, after(&web, &Outcome::Unchanged));
    let lost = Observed { secret: None, ..dated };
    let status = after(&lost, &Outcome::Unchanged);
    assert_eq!((status.not_before, status.not_after, status.renewal_time), (None, None, None));
}

#[test]
fn a_spec_that_makes_no_sense_has_no_renewal() {
    let web = certificate("web");
    let secret = secret_of(&web).made();
    let broken = web.with(|spec| spec.ip_addresses.push("10".to_owned()));
    let status = after(&seen(&broken, Some(&secret)), &Outcome::Unchanged);
    assert!(status.not_after.is_some());
    assert_eq!(status.renewal_time, None);
}

/// A Certificate with its lifetime, and how long before its end it is renewed; in minutes.
fn lasting(duration: u64, renew_before: Option<u64>) -> Certificate {
    let of = |minutes: u64| Duration::from_secs(minutes * 60).into();
    certificate("web").with(|spec| {
        spec.duration = Some(of(duration));
        spec.renew_before = renew_before.map(of);
    })
}

/// How long from now one is renewed that is issued now, by an authority with so much left.
fn renewed_in(certificate: &Certificate, authority: SignedDuration) -> SignedDuration {
    let wanted = wanted(certificate);
    let authority = Validity { not_before: now() - hours(24), not_after: now() + authority };
    let validity = clamp_lifetime(now(), wanted.lifetime, BACKDATE, Some(authority));
    let secret = secret_of(certificate).valid(validity.not_before, validity.not_after).made();
    let stored = crate::certificate::observe::Stored::of(&secret);
    wanted.renewal.due(&stored.pair().unwrap().leaf).unwrap().duration_since(now())
}

#[test]
fn a_certificate_is_renewed_as_asked_or_with_a_third_of_its_lifetime_left() {
    let years = hours(10 * 365 * 24);
    let cases = [
        (90 * 24 * 60, None, years, hours(60 * 24) - minutes(5)),
        (90 * 24 * 60, Some(60), years, hours(90 * 24 - 1) - minutes(5)),
        (60, None, years, minutes(35)),
        (60, Some(45), years, minutes(10)),
        // More than is left when it is issued.
        (60, Some(59), years, minutes(35)),
        (5, None, years, SignedDuration::from_secs(170)),
        (5, Some(1), years, SignedDuration::from_secs(210)),
        // Cut short by its authority, it is renewed as asked where that makes sense still.
        (60, Some(20), minutes(30), minutes(10)),
        (60, Some(45), minutes(30), SignedDuration::from_secs(1134)),
    ];
    for (duration, renew_before, authority, expected) in cases {
        let found = renewed_in(&lasting(duration, renew_before), authority);
        assert_eq!(found, expected, "{duration} {renew_before:?} {authority}");
    }
}

#[test]
fn no_certificate_is_due_for_renewal_as_soon_as_it_is_issued() {
    for authority in [1, 59, 60, 149, 300, 301, 700, 720, 780, 3600] {
        for renew_before in [None, Some(1), Some(5), Some(12), Some(59)] {
            let left = SignedDuration::from_secs(authority);
            let found = renewed_in(&lasting(60, renew_before), left);
            assert!(found.is_positive(), "{authority} s left, {renew_before:?}: {found}");
        }
    }
}

#[test]
fn a_certificate_of_others_that_begins_late_is_renewed_between_its_dates() {
    let web = lasting(60, None);
    for length in [minutes(1), minutes(5), minutes(10), hours(1)] {
        let until = now() + length;
        let secret = secret_of(&web).valid(now(), until).made();
        let renewal = after(&seen(&web, Some(&secret)), &Outcome::Unchanged).renewal_time.unwrap();
        assert!(now() < renewal.0 && renewal.0 < until, "{length}");
    }
}
