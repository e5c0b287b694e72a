use k8s_openapi::api::core::v1::Secret;

use super::*;
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
    issuer.status = Some(IssuerStatus { conditions: vec![condition] });
    issuer
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
        (Ok(true), "True KeyPairVerified", "Signing CA verified"),
        (Ok(false), "True IsReady", "own key"),
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
        let told = ready(&saying(before), &Ok(true), at(NOW));
        assert_eq!(told.last_transition_time, Some(at(since)), "{before:?} before");
    }
    let new = Issuer::new("press", IssuerSpec::default());
    assert_eq!(ready(&new, &Ok(true), at(NOW)).last_transition_time, Some(at(NOW)));
}
