use k8s_openapi::api::core::v1::Secret;

use super::*;
use crate::certificate::support::Press;
use crate::pki::AuthorityError;

fn at(text: &str) -> Time {
    Time(text.parse().unwrap())
}

const NOW: &str = "2026-05-05T12:00:00Z";

/// An issuer that said this an hour ago.
fn saying(status: ConditionStatus) -> Issuer {
    let mut issuer = Issuer::new("press", IssuerSpec::default());
    issuer.metadata.generation = Some(2);
    let condition = Condition {
        type_: "Ready".to_owned(),
        status,
        last_transition_time: Some(at("2026-05-05T11:00:00Z")),
        reason: None,
        message: None,
        observed_generation: Some(1),
    };
    issuer.status = Some(IssuerStatus { conditions: vec![condition], ..IssuerStatus::default() });
    issuer
}

fn press() -> Arc<Authority> {
    Arc::new(Press::new().into_inner())
}

fn secret() -> Box<ObjectRef<Secret>> {
    Box::new(ObjectRef::new("ink").within("shop"))
}

#[test]
fn an_issuer_is_ready_when_its_authority_can_sign() {
    let missing = || AuthorityUnavailable::Missing { secret: secret() };
    let no_key = || AuthorityUnavailable::MissingKey { secret: secret(), key: "tls.key" };
    let source = AuthorityError::NotAnAuthority { subject: "CN=leaf".to_owned() };
    let invalid = AuthorityUnavailable::Invalid { secret: secret(), source };
    let cases = [
        (Ok(Some(press())), "True KeyPairVerified", "Signing CA verified"),
        (Ok(None), "True IsReady", "own key"),
        (Err(missing()), "False ErrGetKeyPair", "does not exist"),
        (Err(no_key()), "False ErrGetKeyPair", "has no tls.key"),
        (Err(invalid), "False ErrInvalidKeyPair", "CN=leaf is not a CA"),
    ];
    for (looked, word, part) in cases {
        let told = ready(&saying(ConditionStatus::Unknown), &looked, at(NOW));
        assert_eq!(format!("{:?} {}", told.status, told.reason.unwrap()), word);
        assert!(told.message.as_deref().unwrap().contains(part), "{word}: {:?}", told.message);
        assert_eq!(told.observed_generation, Some(2));
    }
}

#[test]
fn an_issuer_tells_since_when_it_is_ready() {
    let cases = [
        (ConditionStatus::True, "2026-05-05T11:00:00Z"),
        (ConditionStatus::False, NOW),
        (ConditionStatus::Unknown, NOW),
    ];
    for (before, since) in cases {
        let told = ready(&saying(before), &Ok(None), at(NOW));
        assert_eq!(told.last_transition_time, Some(at(since)), "{before:?} before");
    }
    let new = Issuer::new("press", IssuerSpec::default());
    assert_eq!(ready(&new, &Ok(None), at(NOW)).last_transition_time, Some(at(NOW)));
}

#[test]
fn an_issuer_tells_since_when_an_authority_signs() {
    let now = at(NOW).0;
    let (one, other) = (press(), press());
    let first = next(&saying(ConditionStatus::True), &Ok(Some(one.clone())), now);
    assert_eq!(first.authority, Some(one.fingerprint()));
    assert_eq!(first.authority_since, Some(at(NOW)));
    assert_eq!(first.not_after.as_ref().map(|time| time.0), Some(one.not_after()));
    let mut issuer = saying(ConditionStatus::True);
    issuer.status = Some(first);
    let later = now + jiff::SignedDuration::from_hours(1);
    let missing = AuthorityUnavailable::Missing { secret: secret() };
    let cases = [
        ("the same", Ok(Some(one.clone())), Some(one.fingerprint()), Some(now)),
        ("another", Ok(Some(other.clone())), Some(other.fingerprint()), Some(later)),
        ("none that can be read", Err(missing), Some(one.fingerprint()), Some(now)),
        ("none that is needed", Ok(None), None, None),
    ];
    for (what, looked, authority, since) in cases {
        let status = next(&issuer, &looked, later);
        assert_eq!(status.authority, authority, "{what}");
        assert_eq!(status.authority_since.map(|time| time.0), since, "{what}");
    }
}

#[test]
fn an_issuer_is_looked_at_again_when_its_authority_ends_or_nothing_tells_of_it() {
    let press = press();
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let before_end = press.not_after() - jiff::SignedDuration::from_secs(40);
    let missing = || AuthorityUnavailable::Missing { secret: secret() };
    let now = at(NOW).0;
    let cases = [
        (Ok(None), false, now, None),
        (Ok(Some(press.clone())), false, now, Some(minutes(1))),
        (Ok(Some(press.clone())), true, now, Some(minutes(10))),
        (Ok(Some(press.clone())), true, before_end, Some(Duration::from_secs(40))),
        (Ok(Some(press.clone())), true, press.not_after(), Some(Duration::from_secs(1))),
        (Err(missing()), false, now, Some(Duration::from_secs(3))),
        (Err(missing()), true, now, Some(minutes(10))),
    ];
    for (number, (looked, is_followed, now, expected)) in cases.into_iter().enumerate() {
        assert_eq!(wait(&looked, is_followed, now), expected, "case {number}");
    }
}
