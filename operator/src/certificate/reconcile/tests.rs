use super::*;
use crate::certificate::checks::{Finding, Reason};
use crate::certificate::observe::IssuerState;
use crate::certificate::support::{
    CertificateProse, certificate, hours, minutes, now, secret_of, seen, wanted,
};

/// When a Certificate is looked at again whose leaf ends so long from now.
fn looked_at_in(decision: &Decision, outcome: &Outcome, left: jiff::SignedDuration) -> Duration {
    let web = certificate("web");
    let seen = seen(&web, Some(&secret_of(&web).expiring_in(left).made()));
    let status = status::next(&seen, Some(&wanted(&web)), decision, outcome, now());
    wait(decision, outcome, &status, None, now())
}

fn finding() -> Finding {
    Finding { reason: Reason::Renewing, message: String::new() }
}

fn minute(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

#[test]
fn a_certificate_is_looked_at_again_when_something_is_due() {
    let third = hours(30 * 24);
    let later = |until| Decision::BackOff { wanted: finding(), until };
    let contested = |until| Decision::Contested { message: String::new(), until };
    let cases = [
        (Decision::Keep, third + minutes(40), minute(40)),
        (Decision::Keep, hours(90 * 24), LONGEST_WAIT),
        (Decision::Tidy, hours(90 * 24), LONGEST_WAIT),
        (later(now() + minutes(7)), hours(1), minute(7)),
        (later(now() - minutes(7)), hours(1), Duration::from_secs(1)),
        (contested(now() + minutes(1)), hours(1), minute(1)),
    ];
    for (decision, left, expected) in cases {
        let found = looked_at_in(&decision, &Outcome::Unchanged, left);
        assert_eq!(found, expected, "{decision:?}");
    }
}

#[test]
fn what_nobody_can_mend_but_a_person_is_looked_at_seldom() {
    let refused = Decision::Refuse { reason: "DuplicateSecretName", message: String::new() };
    for left in [hours(90 * 24), hours(1), -hours(1)] {
        assert_eq!(looked_at_in(&refused, &Outcome::Unchanged, left), RECHECK_REFUSED, "{left}");
    }
}

#[test]
fn what_failed_or_waits_for_its_issuer_is_looked_at_soon() {
    let failed = Outcome::Failed { reason: "SigningError".to_owned(), message: String::new() };
    let wait =
        Decision::Wait { wanted: finding(), reason: "IssuerNotFound", message: String::new() };
    for left in [hours(90 * 24), hours(1), -hours(1)] {
        assert_eq!(looked_at_in(&Decision::Issue(finding()), &failed, left), RETRY, "{left}");
        assert_eq!(looked_at_in(&wait, &Outcome::Unchanged, left), RETRY, "{left}");
    }
}

#[test]
fn what_waits_long_is_looked_at_more_and_more_seldom() {
    let wait =
        Decision::Wait { wanted: finding(), reason: "IssuerNotFound", message: String::new() };
    let web = certificate("web");
    let status =
        status::next(&seen(&web, None), Some(&wanted(&web)), &wait, &Outcome::Unchanged, now());
    let seconds = [(0, 10), (60, 10), (600, 60), (3000, 300), (100_000, 300)];
    for (waited, expected) in seconds {
        let now = now() + jiff::SignedDuration::from_secs(waited);
        let found = super::wait(&wait, &Outcome::Unchanged, &status, None, now);
        assert_eq!(found, Duration::from_secs(expected), "{waited}");
    }
}

#[test]
fn missing_password_is_looked_for_more_and_more_seldom() {
    let refused = Decision::Refuse { reason: NO_PASSWORD, message: String::new() };
    let web = certificate("web");
    let seen = seen(&web, Some(&secret_of(&web).made()));
    let status = status::next(&seen, Some(&wanted(&web)), &refused, &Outcome::Unchanged, now());
    for (waited, expected) in [(0, 10), (600, 60), (100_000, 300)] {
        let now = now() + jiff::SignedDuration::from_secs(waited);
        let found = wait(&refused, &Outcome::Unchanged, &status, None, now);
        assert_eq!(found, Duration::from_secs(expected), "{waited}");
    }
}

#[test]
fn an_event_is_told_once() {
    let web = certificate("web");
    let waiting = Observed { issuer: IssuerState::Missing, ..seen(&web, None) };
    let decision = decide(&waiting, &Ok(wanted(&web)), now());
    let Decision::Wait { message, .. } = &decision else { panic!("{decision:?}") };
    assert!(!says(&web, "Issuing", message));
    let status = status::next(&waiting, Some(&wanted(&web)), &decision, &Outcome::Unchanged, now());
    let told = web.having(|before| *before = status);
    assert!(says(&told, "Issuing", message));
    assert!(!says(&told, "Ready", message));
}

#[test]
fn an_error_tells_its_whole_story() {
    let key = crate::pki::KeyError::UnsupportedSize { bits: 1000 };
    let told = Error::Key(key).story();
    let expected = "making the private key: an RSA key of 1000 bits cannot be made: choose 2048, \
                    3072, 4096 or 8192";
    assert_eq!(told, expected);
}
