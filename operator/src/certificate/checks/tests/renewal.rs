//! When a certificate that is as it should be is issued again.

use super::*;
use crate::certificate::signer::Signer;
use crate::certificate::support::{healthy, hours, minutes};

#[test]
fn any_client_may_ask_for_a_renewal() {
    let cases = [
        ("Issuing", ConditionStatus::True, Some(Reason::ManuallyTriggered)),
        ("Issuing", ConditionStatus::False, None),
        ("Issuing", ConditionStatus::Unknown, None),
        ("Ready", ConditionStatus::True, None),
    ];
    for (type_, status, reason) in cases {
        let asked = healthy(&certificate("web").saying(type_, status, "Whatever"));
        let wanted = wanted(&asked.certificate);
        let found = trigger(&asked, &wanted, now()).map(|finding| finding.reason);
        assert_eq!(found, reason, "{type_} {status:?}");
        assert_eq!(unready(&asked, &wanted, now()), None, "it can be used meanwhile");
    }
}

#[test]
fn a_certificate_is_renewed_at_its_renewal_time_and_unready_at_its_end() {
    let certificate = certificate("web").with(|spec| {
        spec.renew_before = Some(std::time::Duration::from_secs(7200).into());
    });
    let second = SignedDuration::from_secs(1);
    let cases = [
        (hours(2) + second, None, None),
        (hours(2), Some(Reason::Renewing), None),
        (minutes(1), Some(Reason::Renewing), None),
        (second, Some(Reason::Renewing), None),
        (minutes(0), Some(Reason::Renewing), Some(Reason::Expired)),
        (-hours(24), Some(Reason::Renewing), Some(Reason::Expired)),
    ];
    for (left, renewed, over) in cases {
        let seen = seen(&certificate, Some(&secret_of(&certificate).expiring_in(left).made()));
        let wanted = wanted(&certificate);
        let reason = |finding: Option<Finding>| finding.map(|finding| finding.reason);
        assert_eq!(reason(trigger(&seen, &wanted, now())), renewed, "{left} left");
        assert_eq!(reason(unready(&seen, &wanted, now())), over, "{left} left");
    }
}

#[test]
fn a_renewal_that_waits_for_its_issuer_keeps_its_reason() {
    let waiting = certificate("web").saying("Issuing", ConditionStatus::True, "Renewing");
    let seen = seen(&waiting, Some(&secret_of(&waiting).expiring_in(hours(1)).made()));
    let found = trigger(&seen, &wanted(&waiting), now()).unwrap();
    assert_eq!(found.reason, Reason::Renewing);
}

#[test]
fn a_spec_is_new_until_a_condition_tells_of_it() {
    let of = |generation: Option<i64>, observed: Option<i64>| {
        let mut certificate = certificate("web").saying("Ready", ConditionStatus::True, "Ready");
        certificate.metadata.generation = generation;
        certificate.having(|status| status.conditions[0].observed_generation = observed)
    };
    assert!(spec_changed(&certificate("web")), "nothing was said yet");
    assert!(spec_changed(&of(Some(2), Some(1))));
    assert!(!spec_changed(&of(Some(2), Some(2))));
    assert!(spec_changed(&of(Some(1), None)));
}

#[test]
fn a_certificate_of_a_replaced_authority_is_issued_again_when_its_turn_has_come() {
    let web = healthy(&certificate("web"));
    let its_own = web.secret.as_ref().unwrap().signed_by().unwrap();
    let signer = |fingerprint: &str, since| Signer {
        fingerprint: fingerprint.to_owned(),
        since,
        spread: std::time::Duration::from_secs(60),
    };
    let cases = [
        ("nobody knows who signs", None, None),
        ("the same signs", Some(signer(&its_own, now() - hours(1))), None),
        ("another signs, from later on", Some(signer("other", now() + minutes(1))), None),
        (
            "another signs",
            Some(signer("other", now() - minutes(1))),
            Some(Reason::AuthorityReplaced),
        ),
    ];
    for (what, signer, expected) in cases {
        let seen = Observed { signer, ..web.clone() };
        let wanted = wanted(&seen.certificate);
        let found = trigger(&seen, &wanted, now()).map(|finding| finding.reason);
        assert_eq!(found, expected, "{what}");
        assert_eq!(unready(&seen, &wanted, now()), None, "it can be used meanwhile");
    }
}

#[test]
fn second_renewal_by_annotation_waits_until_the_first_is_twenty_seconds_old() {
    // The value that was answered, that is asked for, seconds since the Secret was written.
    let cases = [
        (None, Some("one"), 0, Some(Reason::ManuallyTriggered)),
        (Some("one"), Some("one"), 0, None),
        (Some("one"), Some("two"), 0, None),
        (Some("one"), Some("two"), 19, None),
        (Some("one"), Some("two"), 20, Some(Reason::ManuallyTriggered)),
        (Some("one"), Some(""), 20, None),
        (Some("one"), None, 20, None),
    ];
    for (answered, asked, seconds, expected) in cases {
        let mut web = certificate("web").having(|status| {
            status.renew_requested_at = answered.map(str::to_owned);
        });
        let asked = asked.map(|asked| (names::RENEW_REQUESTED_AT.to_owned(), asked.to_owned()));
        web.annotations_mut().extend(asked);
        let (seen, wanted) = (healthy(&web), wanted(&web));
        let issued = seen.secret.as_ref().unwrap().applied.at.unwrap();
        let at = issued + SignedDuration::from_secs(seconds);
        let found = trigger(&seen, &wanted, at).map(|finding| finding.reason);
        assert_eq!(found, expected, "{answered:?} {seconds}");
        let rests = rests_until(&seen, web.status.as_ref());
        let is_new = answered == Some("one") && web.annotations().values().any(|it| it == "two");
        let expected = is_new.then_some(issued + SignedDuration::from_secs(20));
        assert_eq!(rests, expected, "it is looked at again then");
    }
}
