use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::certificate::support::{CertificateProse, certificate, hours, minutes, now};

/// A Certificate about which everything is said.
fn quiet() -> Certificate {
    let ready = certificate("web").saying("Ready", ConditionStatus::True, "Ready");
    ready.having(|status| {
        status.observed_generation = Some(1);
        status.not_after = Some(Time(now() + hours(3)));
        status.renewal_time = Some(Time(now() + hours(1)));
    })
}

#[test]
fn a_certificate_is_settled_only_where_nothing_is_due_and_nothing_is_wrong() {
    let cases = [
        ("as it should be", quiet(), true),
        ("never renewed", quiet().having(|status| status.renewal_time = None), true),
        ("never looked at", certificate("web"), false),
        ("changed", quiet().having(|status| status.observed_generation = None), false),
        (
            "due for renewal",
            quiet().having(|status| status.renewal_time = Some(Time(now()))),
            false,
        ),
        (
            "expired",
            quiet().having(|status| {
                status.renewal_time = None;
                status.not_after = Some(Time(now() - minutes(1)));
            }),
            false,
        ),
        ("of no known end", quiet().having(|status| status.not_after = None), false),
        ("asked for", quiet().asked_for(), false),
        ("failed to be renewed", quiet().failed(1, minutes(1)), false),
        (
            "not ready",
            quiet().having(|status| status.conditions[0].status = ConditionStatus::False),
            false,
        ),
        (
            "being deleted",
            {
                let mut certificate = quiet();
                certificate.metadata.deletion_timestamp = Some(Time(now()));
                certificate
            },
            false,
        ),
    ];
    for (what, certificate, expected) in cases {
        assert_eq!(settled(&certificate, None, now()).is_some(), expected, "{what}");
    }
}

#[test]
fn a_certificate_of_a_replaced_authority_is_settled_until_its_turn() {
    let signed_by = |authority: &str| quiet().having(|s| s.authority = Some(authority.to_owned()));
    let since = |since| Signer {
        fingerprint: "new".to_owned(),
        since,
        spread: std::time::Duration::from_secs(60),
    };
    let cases = [
        ("by the one that signs", signed_by("new"), since(now() - hours(1)), true),
        ("by another, long ago", signed_by("old"), since(now() - hours(1)), false),
        ("by nobody knows whom", quiet(), since(now() - hours(1)), false),
        ("by another, until just now", signed_by("old"), since(now() + minutes(1)), true),
    ];
    for (what, certificate, signer, expected) in cases {
        assert_eq!(settled(&certificate, Some(&signer), now()).is_some(), expected, "{what}");
    }
}
