//! What is decided, and what never is.

mod backoff;
mod by_request;
mod contested;
mod reserved;

use countersign_crds::KeyAlgorithm as SpecAlgorithm;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use countersign_crds::{Certificate, ConditionStatus};

use super::*;
use crate::certificate::checks::Reason;
use crate::certificate::names;
use crate::certificate::support::{
    CertificateProse, SecretProse, certificate, healthy, hours, now, secret_of, seen,
};

fn decided(seen: &Observed) -> Decision {
    decide(seen, &Wanted::of(&seen.certificate.spec), now())
}

/// A decision without its sentences.
fn word(decision: &Decision) -> String {
    match decision {
        Decision::Issue(finding) => format!("Issue {}", finding.reason.as_str()),
        Decision::Ask(finding) => format!("Ask {}", finding.reason.as_str()),
        Decision::Store { wanted, .. } => format!("Store {}", wanted.reason.as_str()),
        Decision::Fail { reason, .. } => format!("Fail {reason}"),
        Decision::Discard { why, .. } => format!("Discard: {why}"),
        Decision::Wait { wanted, reason, .. } => {
            format!("Wait {} {reason}", wanted.reason.as_str())
        }
        Decision::BackOff { wanted, .. } => format!("BackOff {}", wanted.reason.as_str()),
        Decision::Refuse { reason, .. } => format!("Refuse {reason}"),
        other => format!("{other:?}"),
    }
}

fn sentence(decision: Decision) -> String {
    match decision {
        Decision::Issue(Finding { message, .. })
        | Decision::Ask(Finding { message, .. })
        | Decision::Wait { message, .. }
        | Decision::Refuse { message, .. } => message,
        other => format!("{other:?}"),
    }
}

fn issuer_states() -> [IssuerState; 4] {
    let not_ready = IssuerState::NotReady("its Secret has no tls.key".to_owned());
    [IssuerState::Ready, IssuerState::Missing, not_ready, IssuerState::Foreign]
}

fn writes_secret(decision: &Decision) -> bool {
    matches!(decision, Decision::Issue(_) | Decision::Tidy)
}

#[test]
fn what_is_as_it_should_be_is_kept_whatever_became_of_the_issuer() {
    for issuer in issuer_states() {
        let seen = Observed { issuer, ..healthy(&certificate("web")) };
        assert_eq!(decided(&seen), Decision::Keep, "{:?}", seen.issuer);
    }
}

#[test]
fn what_is_wanted_is_issued_where_the_issuer_can_sign() {
    let words = [
        "Issue DoesNotExist",
        "Wait DoesNotExist IssuerNotFound",
        "Wait DoesNotExist IssuerNotReady",
        "Ask DoesNotExist",
    ];
    let sentences = [
        "Secret web-tls does not exist",
        "Issuer press does not exist",
        "Issuer press is not ready: its Secret has no tls.key",
        "Secret web-tls does not exist",
    ];
    for (place, issuer) in issuer_states().into_iter().enumerate() {
        let decision = decided(&Observed { issuer, ..seen(&certificate("web"), None) });
        assert_eq!(word(&decision), words[place]);
        assert_eq!(sentence(decision), sentences[place]);
    }
}

#[test]
fn a_renewal_that_cannot_be_had_writes_nothing() {
    let web = certificate("web");
    let old = secret_of(&web).expiring_in(hours(1)).made();
    for issuer in issuer_states().into_iter().skip(1) {
        let decision = decided(&Observed { issuer, ..seen(&web, Some(&old)) });
        assert!(!writes_secret(&decision), "{decision:?}");
    }
}

#[test]
fn a_certificate_that_is_being_deleted_is_left_alone() {
    let mut web = certificate("web").with(|spec| spec.ip_addresses.push("nowhere".to_owned()));
    web.metadata.deletion_timestamp = Some(Time(now()));
    for issuer in issuer_states() {
        let rival = Some("db".to_owned());
        let seen = Observed { issuer, rival, ..seen(&web, None) };
        assert_eq!(decided(&seen), Decision::Leave);
    }
}

#[test]
fn a_secret_of_another_owner_is_left_alone_until_it_is_handed_over() {
    let web = certificate("web");
    let foreign = Secret::default().holding("password", "ink");
    for issuer in issuer_states() {
        let decision = decided(&Observed { issuer, ..seen(&web, Some(&foreign)) });
        assert_eq!(word(&decision), "Refuse SecretNotAdopted");
        assert!(
            sentence(decision)
                .contains("kubectl annotate secret web-tls countersign.dev/adopt=web")
        );
    }
    let adopted = foreign.annotated(names::ADOPT, "web");
    assert_eq!(word(&decided(&seen(&web, Some(&adopted)))), "Issue MissingData");
}

#[test]
fn a_kept_key_that_cannot_be_read_is_never_replaced() {
    let web = certificate("web").keeping_its_key();
    let damaged = secret_of(&web).made().holding(names::TLS_KEY, "ink");
    for issuer in issuer_states() {
        for secret in [damaged.clone(), damaged.clone().without(names::TLS_CRT)] {
            let decision =
                decided(&Observed { issuer: issuer.clone(), ..seen(&web, Some(&secret)) });
            assert_eq!(word(&decision), "Refuse CannotRegenerateKey");
        }
    }
}

#[test]
fn a_secret_that_cannot_be_changed_is_waited_for_with_advice() {
    let web = certificate("web");
    let mut frozen = secret_of(&web).expiring_in(hours(1)).made();
    frozen.immutable = Some(true);
    let decision = decided(&seen(&web, Some(&frozen)));
    assert_eq!(word(&decision), "Wait Renewing SecretImmutable");
    assert_eq!(sentence(decision), "Secret web-tls is immutable: delete it, and it is made anew");
    let mut good = secret_of(&web).made();
    good.immutable = Some(true);
    assert_eq!(decided(&seen(&web, Some(&good))), Decision::Keep);
}

#[test]
fn a_spec_that_makes_no_sense_is_refused_with_its_field() {
    let web = certificate("web");
    let secret = secret_of(&web).made();
    let broken = web.with(|spec| spec.ip_addresses.push("10.0.0".to_owned()));
    let decision = decided(&seen(&broken, Some(&secret)));
    assert_eq!(word(&decision), "Refuse InvalidSpec");
    assert_eq!(sentence(decision), "spec.ipAddresses: \"10.0.0\" is not an IP address");
}

#[test]
fn of_two_certificates_with_one_secret_the_loser_never_writes_it() {
    let web = certificate("web");
    let made = secret_of(&web).made();
    for secret in [None, Some(&made), Some(&made.clone().without(names::TLS_KEY))] {
        let rival = Some("db".to_owned());
        let decision = decided(&Observed { rival, ..seen(&web, secret) });
        assert_eq!(word(&decision), "Refuse DuplicateSecretName");
        let told = "Secret web-tls belongs to Certificate db: name another in spec.secretName";
        assert_eq!(sentence(decision), told);
    }
}

#[test]
fn labels_and_annotations_are_tidied_without_another_certificate() {
    let web = certificate("web");
    let untidy = secret_of(&web).made().unannotated(names::ALT_NAMES);
    for issuer in issuer_states() {
        let seen = Observed { issuer, ..seen(&web, Some(&untidy)) };
        assert_eq!(decided(&seen), Decision::Tidy, "no issuer is needed for it");
    }
    let late = secret_of(&web).expiring_in(hours(1)).made().unannotated(names::ALT_NAMES);
    assert_eq!(word(&decided(&seen(&web, Some(&late)))), "Issue Renewing", "which tidies too");
}

#[test]
fn only_two_decisions_write_a_secret() {
    let finding = || Finding { reason: Reason::Renewing, message: String::new() };
    let until = now();
    let cases = [
        (Decision::Issue(finding()), true),
        (Decision::Tidy, true),
        (Decision::Keep, false),
        (Decision::Wait { wanted: finding(), reason: "", message: String::new() }, false),
        (Decision::BackOff { wanted: finding(), until }, false),
        (Decision::Refuse { reason: "", message: String::new() }, false),
        (Decision::Leave, false),
    ];
    for (decision, writes) in cases {
        assert_eq!(writes_secret(&decision), writes, "{decision:?}");
    }
}

fn asking_for_rsa(certificate: Certificate) -> Certificate {
    certificate.with(|spec| {
        spec.private_key.get_or_insert_default().algorithm = Some(SpecAlgorithm::RSA);
    })
}

#[test]
fn a_key_that_must_be_kept_is_never_replaced_by_one_of_another_kind() {
    type Case = (&'static str, fn(Secret) -> Secret, &'static str);
    let cases: [Case; 5] = [
        ("a good Secret", |secret| secret, "Refuse CannotRegenerateKey"),
        ("a lost tls.crt", |s| s.without(names::TLS_CRT), "Refuse CannotRegenerateKey"),
        ("a damaged tls.crt", |s| s.holding(names::TLS_CRT, "ink"), "Refuse CannotRegenerateKey"),
        ("a lost tls.key", |s| s.without(names::TLS_KEY), "Issue MissingData"),
        ("a damaged tls.key", |s| s.holding(names::TLS_KEY, "ink"), "Refuse CannotRegenerateKey"),
    ];
    let kept = certificate("web").keeping_its_key();
    for (case, change, expected) in cases {
        let secret = change(secret_of(&kept).made());
        let decision = decided(&seen(&asking_for_rsa(kept.clone()), Some(&secret)));
        assert_eq!(word(&decision), expected, "{case}");
    }
}

#[test]
fn a_refusal_to_replace_a_key_says_what_to_do() {
    let kept = certificate("web").keeping_its_key();
    let secret = secret_of(&kept).made();
    let told = sentence(decided(&seen(&asking_for_rsa(kept), Some(&secret))));
    let expected = "spec.privateKey.rotationPolicy is Never and the key is ECDSA 256, not RSA \
                    2048: delete the Secret, or set rotationPolicy to Always";
    assert_eq!(told, expected);
}

#[test]
fn a_key_that_need_not_be_kept_is_replaced_by_one_of_the_kind_that_is_asked_for() {
    let web = certificate("web");
    let secret = secret_of(&web).made();
    let decision = decided(&seen(&asking_for_rsa(web), Some(&secret)));
    assert_eq!(word(&decision), "Issue SecretMismatch");
}

#[test]
fn a_kept_key_is_no_obstacle_where_it_is_of_the_right_kind() {
    let kept = certificate("web").keeping_its_key();
    let late = secret_of(&kept).expiring_in(hours(1)).made();
    assert_eq!(word(&decided(&seen(&kept, Some(&late)))), "Issue Renewing");
    assert_eq!(decided(&healthy(&kept)), Decision::Keep);
}

#[test]
fn a_key_larger_than_those_that_are_made_is_refused_unless_it_is_there() {
    let rsa = |size, certificate: Certificate| {
        certificate.with(|spec| {
            let key = spec.private_key.get_or_insert_default();
            (key.algorithm, key.size) = (Some(SpecAlgorithm::RSA), Some(size));
        })
    };
    let limited = |seen: &Observed, most| {
        let wanted = Wanted::of(&seen.certificate.spec).unwrap();
        word(&decided(seen).within_key_limit(most, seen, &wanted))
    };
    let (small, large) = (rsa(2048, certificate("web")), rsa(3072, certificate("web")));
    let mut waits = seen(&large, None);
    waits.issuer = IssuerState::Missing;
    let kept = rsa(3072, certificate("web").keeping_its_key());
    let due = Some(secret_of(&kept).expiring_in(hours(1)).made());
    let cases = [
        (seen(&small, None), 2048, "Issue DoesNotExist"),
        (seen(&large, None), 3072, "Issue DoesNotExist"),
        (seen(&large, None), 2048, "Refuse PrivateKeyTooLarge"),
        (waits, 2048, "Refuse PrivateKeyTooLarge"),
        (seen(&certificate("web"), None), 2048, "Issue DoesNotExist"),
        // What was issued before serves until it is to be replaced.
        (healthy(&large), 2048, "Keep"),
        (seen(&kept, due.as_ref()), 2048, "Issue Renewing"),
        (seen(&kept, None), 2048, "Refuse PrivateKeyTooLarge"),
    ];
    for (seen, most, expected) in cases {
        assert_eq!(limited(&seen, most), expected, "{most}: {:?}", seen.certificate.spec);
    }
    let wanted = Wanted::of(&large.spec).unwrap();
    let refused = seen(&large, None);
    let said = sentence(decided(&refused).within_key_limit(2048, &refused, &wanted));
    for word in
        ["spec.privateKey.size: 3072", "2048 bits", "--max-rsa-bits", "certificates.maxRsaBits"]
    {
        assert!(said.contains(word), "{said}");
    }
}
