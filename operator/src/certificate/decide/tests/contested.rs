//! What is done about a Secret that somebody else changes again and again.

use super::*;
use crate::certificate::repairs::next_at;
use crate::certificate::support::minutes;

/// A Secret that was put right ten times within a minute, by now.
fn again_and_again(seen: Observed) -> Observed {
    let ages = (0..10).rev().map(SignedDuration::from_secs);
    Observed { repairs: ages.map(|age| now() - age).collect(), ..seen }
}

/// A Certificate that was issued once.
fn issued() -> Certificate {
    let web = certificate("web").saying("Ready", ConditionStatus::True, "Ready");
    web.having(|status| status.revision = Some(1))
}

#[test]
fn what_somebody_else_breaks_again_and_again_is_put_right_once_a_minute() {
    let web = issued();
    let broken = secret_of(&web).made().holding("tls.key", "garbage");
    let untidy = secret_of(&web).made().without_labels();
    let changed = web.clone().dns("www.test");
    let mut edited = changed.clone();
    edited.metadata.generation = Some(2);
    let first = web.clone().having(|status| status.revision = None);
    let of = |certificate: &Certificate, secret: &Secret| seen(certificate, Some(secret));
    let due = secret_of(&web).expiring_in(hours(1)).made();
    let cases = [
        ("broken", of(&web, &broken), "Issue InvalidKeyPair", true),
        ("gone", seen(&web, None), "Issue DoesNotExist", true),
        ("without its label", of(&web, &untidy), "Tidy", true),
        ("of another spec", of(&changed, &secret_of(&web).made()), "Issue RequestChanged", true),
        ("of a new spec", of(&edited, &secret_of(&web).made()), "Issue RequestChanged", false),
        ("due", of(&web, &due), "Issue Renewing", false),
        ("asked for", healthy(&web.clone().asked_for()), "Issue ManuallyTriggered", false),
        ("as it should be", healthy(&web), "Keep", false),
        ("the first", seen(&first, None), "Issue DoesNotExist", false),
    ];
    for (what, seen, plain, is_held) in cases {
        assert_eq!(word(&decided(&seen)), plain, "{what}");
        let held = matches!(decided(&again_and_again(seen)), Decision::Contested { .. });
        assert_eq!(held, is_held, "{what}, again and again");
    }
}

#[test]
fn who_changes_it_is_told_and_when_it_is_put_right() {
    let web = issued();
    let broken = secret_of(&web).made().holding("tls.key", "garbage").written_by("a-script");
    let seen = again_and_again(seen(&web, Some(&broken)));
    let Decision::Contested { message, until } = decided(&seen) else { panic!("not contested") };
    assert_eq!(until, now() + minutes(1));
    assert_eq!(Some(until), next_at(&seen.repairs, now()));
    let told = "\"a-script\" changes Secret web-tls again and again";
    assert!(message.contains(told) && message.starts_with("tls.key"), "{message}");
}
