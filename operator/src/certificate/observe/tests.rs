use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::certificate::support::{SecretProse, applied, certificate, now, secret_of};
use crate::policy::support::settings;

#[test]
fn a_secret_says_what_it_lacks_and_what_is_damaged() {
    let made = || secret_of(&certificate("web")).made();
    let cases = [
        (made(), "Pair"),
        (made().without(names::CA_CRT), "Pair"),
        (made().without(names::TLS_CRT), "Missing([\"tls.crt\"])"),
        (made().holding(names::TLS_KEY, ""), "Missing([\"tls.key\"])"),
        (Secret { data: None, ..made() }, "Missing([\"tls.crt\", \"tls.key\"])"),
        (
            made().holding(names::TLS_KEY, "ink"),
            "BadKey(\"the private key cannot be read: there is no PEM section",
        ),
        (made().holding(names::TLS_CRT, "ink"), "BadCertificate("),
    ];
    for (secret, expected) in cases {
        let contents = format!("{:?}", Stored::of(&secret).contents);
        assert!(contents.starts_with(expected), "{contents} is not {expected}");
    }
}

#[test]
fn what_is_read_of_a_secret_never_shows_its_key() {
    let secret = secret_of(&certificate("web")).made();
    let key = secret.text(names::TLS_KEY);
    let body = key.lines().nth(1).unwrap();
    let shown = format!("{:?}", Stored::of(&secret));
    assert!(!shown.contains(body) && shown.contains("<redacted>"), "{shown}");
    let broken = secret.holding(names::TLS_KEY, key.replace("EC PRIVATE", "BROKEN PRIVATE"));
    assert!(!format!("{:?}", Stored::of(&broken)).contains(body));
}

#[test]
fn a_key_is_found_beside_a_certificate_that_is_missing_or_damaged() {
    let made = || secret_of(&certificate("web")).made();
    let cases = [
        (made(), true),
        (made().without(names::TLS_CRT), true),
        (made().holding(names::TLS_CRT, "ink"), true),
        (made().without(names::TLS_KEY), false),
        (made().holding(names::TLS_KEY, "ink"), false),
    ];
    for (secret, found) in cases {
        assert_eq!(matches!(Stored::of(&secret).key(), Ok(Some(_))), found);
    }
}

#[test]
fn only_what_the_operator_applied_counts_as_its_own() {
    let mut secret = applied(secret_of(&certificate("web")).made());
    let ours = Stored::of(&secret).applied;
    assert!(ours.labels.iter().eq([names::OURS_LABEL]));
    assert!(ours.annotations.contains(names::ISSUER_NAME));
    let entry = &mut secret.metadata.managed_fields.as_mut().unwrap()[0];
    entry.operation = Some("Update".to_owned());
    assert_eq!(Stored::of(&secret).applied, Applied::default());
    let entry = &mut secret.metadata.managed_fields.as_mut().unwrap()[0];
    (entry.operation, entry.manager) = (Some("Apply".to_owned()), Some("helm".to_owned()));
    assert_eq!(Stored::of(&secret).applied, Applied::default());
}

fn ready(status: ConditionStatus, message: Option<&str>) -> Condition {
    Condition {
        type_: "Ready".to_owned(),
        status,
        last_transition_time: None,
        reason: None,
        message: message.map(str::to_owned),
        observed_generation: None,
    }
}

#[test]
fn an_issuer_is_ready_when_it_says_so() {
    let not_ready = |why: &str| IssuerState::NotReady(why.to_owned());
    let cases = [
        (vec![ready(ConditionStatus::True, None)], IssuerState::Ready),
        (vec![ready(ConditionStatus::False, Some("no key"))], not_ready("no key")),
        (vec![ready(ConditionStatus::Unknown, None)], not_ready("")),
        (vec![], not_ready("it was not looked at yet")),
    ];
    for (conditions, expected) in cases {
        assert_eq!(readiness(&conditions), expected);
    }
}

/// A Certificate that names the Secret `one`, made so many minutes ago.
fn claimant(name: &str, minutes: i64) -> Arc<Certificate> {
    let mut claim = certificate(name);
    claim.spec.secret_name = "one".to_owned();
    let since = now() - jiff::SignedDuration::from_mins(minutes);
    claim.metadata.creation_timestamp = Some(Time(since));
    Arc::new(claim)
}

#[test]
fn of_several_certificates_with_one_secret_exactly_one_has_no_rival() {
    let all = [claimant("old", 9), claimant("abel", 5), claimant("bert", 5), claimant("young", 1)];
    let cases =
        [(None, "old"), (Some("young"), "young"), (Some("bert"), "bert"), (Some("gone"), "old")];
    for (owner, winner) in cases {
        let free = all.iter().filter(|one| first_of(&all, one, owner).is_none());
        let free: Vec<_> = free.map(|one| one.name_any()).collect();
        assert_eq!(free, [winner], "the Secret says {owner:?}");
    }
}

#[test]
fn of_two_certificates_of_the_same_age_the_first_by_name_wins() {
    let two = [claimant("bert", 5), claimant("abel", 5)];
    assert_eq!(first_of(&two, &two[0], None), Some("abel".to_owned()));
    assert_eq!(first_of(&two, &two[1], None), None);
}

#[test]
fn what_names_another_secret_or_stands_elsewhere_or_goes_is_no_rival() {
    let changes: [fn(&mut Certificate); 4] = [
        |other| other.spec.secret_name = "two".to_owned(),
        |other| other.metadata.namespace = Some("bank".to_owned()),
        |other| other.metadata.deletion_timestamp = Some(Time(now())),
        |other| other.metadata.name = Some("web".to_owned()),
    ];
    for change in changes {
        let mut other = (*claimant("old", 9)).clone();
        assert!(claims_the_same(&claimant("web", 1), &other));
        change(&mut other);
        assert!(!claims_the_same(&claimant("web", 1), &other), "{other:?}");
    }
}

#[test]
fn secret_of_an_identity_belongs_to_that_identity_only() {
    let settings = settings();
    let identity = || identity::desired::certificate(&settings, "shop", "web", vec![]).unwrap();
    let changed = |change: fn(&mut Certificate)| {
        let mut changed = identity();
        change(&mut changed);
        changed
    };
    let cases = [
        ("the identity", identity(), Claim::Identity),
        ("without its marks", changed(|it| it.metadata.labels = None), Claim::Identity),
        (
            "of another issuer",
            changed(|it| it.spec.issuer_ref.name = "evil".into()),
            Claim::Reserved,
        ),
        ("of another kind", changed(|it| it.spec.issuer_ref.kind = None), Claim::Reserved),
        ("as a CA", changed(|it| it.spec.is_ca = Some(true)), Claim::Reserved),
        ("by another name", changed(|it| it.metadata.name = Some("aaa".into())), Claim::Reserved),
        ("another Secret", changed(|it| it.spec.secret_name = "web-tls".into()), Claim::Free),
    ];
    for (what, certificate, expected) in cases {
        assert_eq!(claim(&settings, "shop", &certificate), expected, "{what}");
    }
    let home = settings.cluster_resource_namespace.as_str();
    let other = changed(|it| it.spec.issuer_ref.name = "evil".into());
    assert_eq!(claim(&settings, home, &other), Claim::Free, "the operator's namespace is trusted");
}

#[test]
fn longest_names_of_accounts_are_reserved_too() {
    let mut certificate = certificate("web");
    for account in ["a".to_owned(), "x".repeat(253)] {
        certificate.spec.secret_name = countersign_contract::names::identity_name(&account);
        assert_eq!(claim(&settings(), "shop", &certificate), Claim::Reserved);
    }
}
