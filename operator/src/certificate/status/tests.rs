//! What the status says after each decision, and what stays as it was.

mod dates;
mod failures;

use countersign_crds::Certificate;
use k8s_openapi::api::core::v1::Secret;

use super::*;
use crate::certificate::checks::{Finding, Reason};
use crate::certificate::decide::decide;
use crate::certificate::names;
use crate::certificate::observe::IssuerState;
use crate::certificate::support::{
    CertificateProse, SecretProse, certificate, healthy, hours, minutes, now, secret_of, seen,
    wanted,
};

/// The status after the decision that such a look leads to.
fn after(seen: &Observed, outcome: &Outcome) -> CertificateStatus {
    let wanted = Wanted::of(&seen.certificate.spec);
    let decision = decide(seen, &wanted, now());
    next(seen, wanted.ok().as_ref(), &decision, outcome, now())
}

/// The same, once the status was written and read again.
fn later(seen: &Observed, status: CertificateStatus) -> Observed {
    let read = serde_json::from_value(serde_json::to_value(status).unwrap()).unwrap();
    let certificate = (*seen.certificate).clone().having(|before| *before = read);
    Observed { certificate: certificate.into(), ..seen.clone() }
}

/// A condition as `<status> <reason>: <message>`; empty where there is none.
fn told(status: &CertificateStatus, type_: &str) -> String {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_);
    found.map_or_else(String::new, |condition| {
        let Condition { status, reason, message, .. } = condition;
        let [reason, message] = [reason, message].map(|text| text.clone().unwrap_or_default());
        format!("{status:?} {reason}: {message}")
    })
}

fn failed() -> Outcome {
    Outcome::Failed { reason: "SigningError".to_owned(), message: "signing: out of ink".to_owned() }
}

fn issue(reason: Reason) -> Decision {
    Decision::Issue(Finding { reason, message: String::new() })
}

const UP_TO_DATE: &str = "True Ready: Certificate is up to date and has not expired";

#[test]
fn a_certificate_that_is_as_it_should_be_is_ready() {
    let status = after(&healthy(&certificate("web")), &Outcome::Unchanged);
    assert_eq!(told(&status, "Ready"), UP_TO_DATE);
    assert_eq!(told(&status, "Issuing"), "");
}

#[test]
fn one_that_is_not_says_why() {
    let web = certificate("web");
    let good = || secret_of(&web).made();
    type Case = (Option<Secret>, &'static str);
    let cases: [Case; 4] = [
        (None, "False DoesNotExist: Secret web-tls does not exist"),
        (Some(good().without(names::TLS_KEY)), "False MissingData: the Secret has no tls.key"),
        (
            Some(good().annotated(names::ISSUER_NAME, "mill")),
            "False IncorrectIssuer: the Secret was signed by Issuer mill, not by Issuer press",
        ),
        (
            Some(secret_of(&web).expiring_in(-hours(1)).made()),
            "False Expired: the certificate expired at 2026-05-05T11:00:00Z",
        ),
    ];
    for (secret, expected) in cases {
        let status = after(&seen(&web, secret.as_ref()), &failed());
        assert_eq!(told(&status, "Ready"), expected);
    }
}

#[test]
fn a_renewal_that_is_due_or_failed_leaves_a_valid_certificate_ready() {
    let web = certificate("web");
    let late = seen(&web, Some(&secret_of(&web).expiring_in(hours(1)).made()));
    assert_eq!(told(&after(&late, &failed()), "Ready"), UP_TO_DATE);
    let waiting = Observed { issuer: IssuerState::Missing, ..late };
    assert_eq!(told(&after(&waiting, &Outcome::Unchanged), "Ready"), UP_TO_DATE);
}

#[test]
fn a_refusal_is_told_as_it_is() {
    let web = certificate("web");
    let rival = Some("db".to_owned());
    let status = after(&Observed { rival, ..healthy(&web) }, &Outcome::Unchanged);
    let message = "Secret web-tls belongs to Certificate db: name another in spec.secretName";
    assert_eq!(told(&status, "Ready"), format!("False DuplicateSecretName: {message}"));
    let broken = web.with(|spec| spec.ip_addresses.push("10".to_owned()));
    let status = after(&seen(&broken, None), &Outcome::Unchanged);
    let message = "spec.ipAddresses: \"10\" is not an IP address";
    assert_eq!(told(&status, "Ready"), format!("False InvalidSpec: {message}"));
}

#[test]
fn while_the_issuer_cannot_sign_the_reason_for_issuing_stays() {
    let web = certificate("web");
    let late = secret_of(&web).expiring_in(hours(1)).made();
    let mut waiting = Observed { issuer: IssuerState::Missing, ..seen(&web, Some(&late)) };
    for _ in 0..3 {
        let status = after(&waiting, &Outcome::Unchanged);
        let expected = "True Renewing: the certificate expires at 2026-05-05T13:00:00Z; Issuer \
                        press does not exist";
        assert_eq!(told(&status, "Issuing"), expected);
        waiting = later(&waiting, status);
    }
}

fn condition<'a>(certificate: &'a Certificate, type_: &str) -> &'a Condition {
    let status = certificate.status.as_ref().unwrap();
    status.conditions.iter().find(|condition| condition.type_ == type_).unwrap()
}

#[test]
fn a_transition_is_a_change_of_status_and_of_nothing_else() {
    let yesterday = Some(Time(now() - hours(24)));
    let cases = [
        (ConditionStatus::True, Some(Time(now()))),
        (ConditionStatus::False, yesterday),
        (ConditionStatus::Unknown, Some(Time(now()))),
    ];
    for (before, since) in cases {
        let mut web = certificate("web").saying("Ready", before, "Whatever");
        web.metadata.generation = Some(2);
        let web = seen(&web, None);
        let web = later(&web, after(&web, &Outcome::Unchanged)).certificate;
        let ready = condition(&web, "Ready");
        assert_eq!(ready.status, ConditionStatus::False);
        assert_eq!(ready.reason.as_deref(), Some("DoesNotExist"));
        assert_eq!(ready.last_transition_time, since, "{before:?} before");
        assert_eq!(ready.observed_generation, Some(2));
    }
}

#[test]
fn where_nothing_changed_the_status_is_what_it_was() {
    let web = certificate("web");
    let late = secret_of(&web).expiring_in(hours(1)).made();
    // A third of its lifetime is no whole number of seconds, as those of all times in JSON are.
    let odd =
        secret_of(&web).valid(now(), now() + hours(1) + jiff::SignedDuration::from_secs(1)).made();
    let looks = [
        healthy(&web),
        seen(&web, Some(&odd)),
        seen(&web, None),
        Observed { issuer: IssuerState::Missing, ..seen(&web, Some(&late)) },
        Observed { issuer: IssuerState::Foreign, ..seen(&web, Some(&late)) },
        Observed { rival: Some("db".to_owned()), ..healthy(&web) },
    ];
    for look in looks {
        let status = after(&look, &Outcome::Unchanged);
        let again = later(&look, status);
        let wanted = wanted(&web);
        let soon = now() + minutes(1);
        let decision = decide(&again, &Ok(wanted.clone()), soon);
        let same = next(&again, Some(&wanted), &decision, &Outcome::Unchanged, soon);
        assert_eq!(Some(&same), again.certificate.status.as_ref());
    }
}

#[test]
fn conditions_of_others_and_their_order_stay() {
    let web = certificate("web")
        .saying("Audited", ConditionStatus::True, "ByHand")
        .saying("Ready", ConditionStatus::False, "DoesNotExist")
        .saying("Pinned", ConditionStatus::Unknown, "ByHand");
    let status = after(&healthy(&web), &Outcome::Unchanged);
    let types: Vec<_> = status.conditions.iter().map(|one| one.type_.as_str()).collect();
    assert_eq!(types, ["Audited", "Ready", "Pinned"]);
    let web = later(&healthy(&web), status).certificate;
    assert_eq!(condition(&web, "Audited").reason.as_deref(), Some("ByHand"));
}
