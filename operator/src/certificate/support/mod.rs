//! Objects for the tables of cases, in words: `certificate("web").dns("web.test")`, and
//! `secret_of(&web).expiring_in(hours(2)).made()`. Keys and certificates are real, and made on
//! the spot.

mod authority;
mod secret;

use std::sync::Arc;

use countersign_crds::{
    Certificate, CertificateSpec, CertificateStatus, Condition, ConditionStatus, IssuerRef,
    KeyAlgorithm, PrivateKeySpec, RotationPolicy,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::extras::Passwords;
use super::observe::{IssuerState, Observed, Stored};
use super::wanted::Wanted;

pub(crate) use authority::Press;
pub(super) use secret::{SecretProse, applied, secret_of};

/// The time at which every case happens.
pub(crate) fn now() -> Timestamp {
    "2026-05-05T12:00:00Z".parse().unwrap()
}

pub(super) const fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

pub(super) const fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

/// `shop/<name>`, which asks issuer `press` to sign for `<name>.test`, with an ECDSA key.
pub(super) fn certificate(name: &str) -> Certificate {
    let key = PrivateKeySpec { algorithm: Some(KeyAlgorithm::ECDSA), ..PrivateKeySpec::default() };
    let spec = CertificateSpec {
        dns_names: vec![format!("{name}.test")],
        secret_name: format!("{name}-tls"),
        issuer_ref: IssuerRef { name: "press".to_owned(), kind: None, group: None },
        private_key: Some(key),
        ..CertificateSpec::default()
    };
    let mut certificate = Certificate::new(name, spec);
    certificate.metadata.namespace = Some("shop".to_owned());
    certificate.metadata.uid = Some(format!("uid-of-{name}"));
    certificate.metadata.generation = Some(1);
    certificate
}

/// What is said of a Certificate, one after the other.
pub(super) trait CertificateProse: Sized {
    /// With its spec changed in place: an edit that the operator has not seen.
    fn with(self, change: impl FnOnce(&mut CertificateSpec)) -> Self;
    /// With its status changed.
    fn having(self, change: impl FnOnce(&mut CertificateStatus)) -> Self;

    /// With one more DNS name.
    fn dns(self, name: &str) -> Self {
        self.with(|spec| spec.dns_names.push(name.to_owned()))
    }

    /// With a condition of this generation.
    fn saying(self, type_: &str, status: ConditionStatus, reason: &str) -> Self {
        let condition = Condition {
            type_: type_.to_owned(),
            status,
            last_transition_time: Some(Time(now() - hours(24))),
            reason: Some(reason.to_owned()),
            message: Some(format!("because of {reason}")),
            observed_generation: Some(1),
        };
        self.having(|status| status.conditions.push(condition))
    }

    /// With issuances that failed, the last one so long ago.
    fn failed(self, times: i32, ago: SignedDuration) -> Self {
        let failed = self.saying("Issuing", ConditionStatus::False, "SigningError");
        failed.having(|status| {
            status.failed_issuance_attempts = Some(times);
            status.last_failure_time = Some(Time(now() - ago));
        })
    }

    /// With a renewal asked for, as any client may.
    fn asked_for(self) -> Self {
        self.saying("Issuing", ConditionStatus::True, "ManuallyTriggered")
    }

    /// With a key that is kept.
    fn keeping_its_key(self) -> Self {
        self.with(|spec| {
            let key = spec.private_key.get_or_insert_default();
            key.rotation_policy = Some(RotationPolicy::Never);
        })
    }
}

impl CertificateProse for Certificate {
    fn with(mut self, change: impl FnOnce(&mut CertificateSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    fn having(mut self, change: impl FnOnce(&mut CertificateStatus)) -> Self {
        change(self.status.get_or_insert_default());
        self
    }
}

/// A Certificate, its Secret if there is one, and an issuer that can sign.
pub(super) fn seen(certificate: &Certificate, secret: Option<&Secret>) -> Observed {
    Observed {
        certificate: Arc::new(certificate.clone()),
        secret: secret.map(Stored::of),
        issuer: IssuerState::Ready,
        rival: None,
        is_reserved: false,
        passwords: Ok(Passwords::default()),
        asked: None,
        was_asked: None,
        signer: None,
        repairs: Vec::new(),
    }
}

/// A Certificate with the Secret that it asks for.
pub(super) fn healthy(certificate: &Certificate) -> Observed {
    seen(certificate, Some(&secret_of(certificate).made()))
}

/// What a spec asks for.
pub(super) fn wanted(certificate: &Certificate) -> Wanted {
    Wanted::of(&certificate.spec).unwrap()
}
