//! One question a function: what could be wrong with the Secret of a Certificate.

use countersign_crds::{Certificate, CertificateStatus, ConditionStatus};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::names;
use super::observe::{Contents, Observed};
use super::reference::IssuerId;
use super::unfinished;
use super::wanted::Wanted;

/// Of certificates that live shorter than this,
const SHORT_LIVED: SignedDuration = SignedDuration::from_mins(10);

/// two are issued so far apart because of their age, and two of any because the annotation asks.
const LEAST_REST: SignedDuration = SignedDuration::from_secs(20);

/// Why a certificate is issued, or is not ready: one word for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// There is no Secret.
    DoesNotExist,
    /// Keys of the Secret are missing.
    MissingData,
    /// The private key cannot be read, or is not that of the certificate.
    InvalidKeyPair,
    /// The certificate cannot be read.
    InvalidCertificate,
    /// Another issuer signed it.
    IncorrectIssuer,
    /// The Secret belongs to another Certificate.
    IncorrectCertificate,
    /// The private key is not of the kind that the spec asks for.
    SecretMismatch,
    /// Nobody trusts the certificate: it only holds the place of a better one.
    Temporary,
    /// The certificate does not hold what the spec asks for.
    RequestChanged,
    /// The issuer signs with another authority now.
    AuthorityReplaced,
    /// Somebody asked for it.
    ManuallyTriggered,
    /// It is time.
    Renewing,
    /// It is too late.
    Expired,
}

impl Reason {
    /// The word, as it stands in conditions, events and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DoesNotExist => "DoesNotExist",
            Self::MissingData => "MissingData",
            Self::InvalidKeyPair => "InvalidKeyPair",
            Self::InvalidCertificate => "InvalidCertificate",
            Self::IncorrectIssuer => "IncorrectIssuer",
            Self::IncorrectCertificate => "IncorrectCertificate",
            Self::SecretMismatch => "SecretMismatch",
            Self::Temporary => "TemporaryCertificate",
            Self::RequestChanged => "RequestChanged",
            Self::AuthorityReplaced => "AuthorityReplaced",
            Self::ManuallyTriggered => "ManuallyTriggered",
            Self::Renewing => "Renewing",
            Self::Expired => "Expired",
        }
    }
}

/// A reason, and the sentence that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// For programs.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

fn found(reason: Reason, message: impl Into<String>) -> Option<Finding> {
    Some(Finding { reason, message: message.into() })
}

/// A question; an answer is a fault.
pub type Check = fn(&Observed, &Wanted, Timestamp) -> Option<Finding>;

/// What must hold of a Secret, whatever the time. The first hit wins, so order is meaning:
/// missing before broken, broken before wrong.
const STATE: &[Check] = &[
    secret_missing,
    data_missing,
    key_unreadable,
    certificate_unreadable,
    key_does_not_match,
    issuer_changed,
    certificate_name_changed,
    is_temporary,
    key_differs_from_spec,
    names_differ_from_spec,
    lifetime_differs_from_spec,
    path_length_differs_from_spec,
];

/// Why a certificate should be issued now, if it should.
#[must_use]
pub fn trigger(seen: &Observed, wanted: &Wanted, now: Timestamp) -> Option<Finding> {
    let ask = |check: &Check| check(seen, wanted, now);
    STATE.iter().chain(&[near_expiry as Check, authority_replaced, asked_for]).find_map(ask)
}

/// Why the Secret cannot be used now, if it cannot.
#[must_use]
pub fn unready(seen: &Observed, wanted: &Wanted, now: Timestamp) -> Option<Finding> {
    let ask = |check: &Check| check(seen, wanted, now);
    STATE.iter().chain(&[expired as Check]).find_map(ask)
}

fn secret_missing(seen: &Observed, _: &Wanted, _: Timestamp) -> Option<Finding> {
    if seen.secret.is_some() {
        return None;
    }
    let name = &seen.certificate.spec.secret_name;
    found(Reason::DoesNotExist, format!("Secret {name} does not exist"))
}

fn data_missing(seen: &Observed, _: &Wanted, _: Timestamp) -> Option<Finding> {
    let Contents::Missing(keys) = &seen.secret.as_ref()?.contents else { return None };
    found(Reason::MissingData, format!("the Secret has no {}", keys.join(" and no ")))
}

fn key_unreadable(seen: &Observed, _: &Wanted, _: Timestamp) -> Option<Finding> {
    let Contents::BadKey(error) = &seen.secret.as_ref()?.contents else { return None };
    found(Reason::InvalidKeyPair, format!("tls.key of the Secret cannot be read: {error}"))
}

fn certificate_unreadable(seen: &Observed, _: &Wanted, _: Timestamp) -> Option<Finding> {
    let Contents::BadCertificate(error) = &seen.secret.as_ref()?.contents else { return None };
    found(Reason::InvalidCertificate, format!("tls.crt of the Secret cannot be read: {error}"))
}

fn key_does_not_match(seen: &Observed, _: &Wanted, _: Timestamp) -> Option<Finding> {
    let pair = seen.secret.as_ref()?.pair()?;
    if pair.leaf.matches_key(&pair.key) {
        return None;
    }
    found(Reason::InvalidKeyPair, "tls.key of the Secret is not the key of tls.crt")
}

fn issuer_changed(seen: &Observed, _: &Wanted, _: Timestamp) -> Option<Finding> {
    let annotations = &seen.secret.as_ref()?.annotations;
    let wanted = IssuerId::of(&seen.certificate.spec.issuer_ref);
    let noted = |name: &str, default: &str| {
        annotations
            .get(name)
            .filter(|text| !text.is_empty())
            .map_or(default, String::as_str)
            .to_owned()
    };
    let signed = IssuerId {
        kind: noted(names::ISSUER_KIND, "Issuer"),
        group: noted(names::ISSUER_GROUP, countersign_contract::names::API_GROUP),
        name: noted(names::ISSUER_NAME, ""),
    };
    if signed == wanted {
        return None;
    }
    if signed.name.is_empty() {
        return found(Reason::IncorrectIssuer, "the Secret does not say who signed it");
    }
    found(Reason::IncorrectIssuer, format!("the Secret was signed by {signed}, not by {wanted}"))
}

fn certificate_name_changed(seen: &Observed, _: &Wanted, _: Timestamp) -> Option<Finding> {
    let noted = seen.secret.as_ref()?.annotations.get(names::CERTIFICATE_NAME);
    match noted {
        Some(name) if *name == seen.certificate.name_any() => None,
        Some(name) => found(
            Reason::IncorrectCertificate,
            format!("the Secret was issued for Certificate {name}"),
        ),
        None => found(Reason::IncorrectCertificate, "the Secret was not issued for a Certificate"),
    }
}

fn is_temporary(seen: &Observed, _: &Wanted, _: Timestamp) -> Option<Finding> {
    seen.secret.as_ref()?.annotations.get(names::TEMPORARY)?;
    found(Reason::Temporary, "the Secret holds a temporary certificate, which nobody trusts")
}

/// An issuer of others may sign less, or more, than it was asked for; asked again for the same, it
/// would do the same again.
fn was_asked_for_this(seen: &Observed) -> bool {
    let asks = || super::request::digest(&seen.certificate.spec);
    seen.was_asked.as_ref().is_some_and(|was_asked| *was_asked == asks())
}

fn key_differs_from_spec(seen: &Observed, wanted: &Wanted, _: Timestamp) -> Option<Finding> {
    let pair = seen.secret.as_ref()?.pair()?;
    let algorithm = pair.key.algorithm();
    if algorithm == wanted.algorithm {
        return None;
    }
    let message =
        format!("the key is {algorithm}, and spec.privateKey asks for {}", wanted.algorithm);
    found(Reason::SecretMismatch, message)
}

fn names_differ_from_spec(seen: &Observed, wanted: &Wanted, _: Timestamp) -> Option<Finding> {
    let pair = seen.secret.as_ref()?.pair()?;
    let differences = pair.leaf.differences(&wanted.request);
    if differences.is_empty() || was_asked_for_this(seen) {
        return None;
    }
    let fields: Vec<_> = differences.iter().map(|field| format!("spec.{field}")).collect();
    found(
        Reason::RequestChanged,
        format!("the certificate is not what {} asks for", fields.join(", ")),
    )
}

fn lifetime_differs_from_spec(seen: &Observed, wanted: &Wanted, _: Timestamp) -> Option<Finding> {
    let noted = seen.secret.as_ref()?.annotations.get(names::REQUESTED_SECONDS)?;
    if *noted == wanted.lifetime.as_secs().to_string() {
        return None;
    }
    found(Reason::RequestChanged, "the certificate was issued for another spec.duration")
}

/// One that was asked for and no longer is. What the certificate says is compared with the names.
fn path_length_differs_from_spec(
    seen: &Observed,
    wanted: &Wanted,
    _: Timestamp,
) -> Option<Finding> {
    let noted = seen.secret.as_ref()?.annotations.get(names::REQUESTED_PATH_LENGTH)?;
    let asked = wanted.request.path_len.map(|length| length.to_string());
    if asked.as_ref() == Some(noted) {
        return None;
    }
    found(Reason::RequestChanged, "the certificate was issued for another spec.maxPathLength")
}

/// Asked last: the condition is also what the operator itself says while a certificate is wanted
/// and the issuer cannot sign yet, and then every other reason is the true one.
fn asked_for(seen: &Observed, _: &Wanted, now: Timestamp) -> Option<Finding> {
    let rests = rests_until(seen, seen.certificate.status.as_ref()).is_some_and(|end| now < end);
    if rests || !renewal_asked(&seen.certificate) || unfinished::is_answered(seen) {
        return None;
    }
    let how = match annotation_asks(&seen.certificate) {
        Some(value) => format!("annotation {} {value:?}", names::RENEW_REQUESTED_AT),
        None => "condition Issuing".to_owned(),
    };
    found(Reason::ManuallyTriggered, format!("a renewal was asked for by {how}"))
}

/// When a renewal that the annotation asks for is carried out, where an earlier one was just carried out:
/// each costs a signature, a Secret, and a write for each pod. The first is carried out at once.
#[must_use]
pub fn rests_until(seen: &Observed, status: Option<&CertificateStatus>) -> Option<Timestamp> {
    let answered = status?.renew_requested_at.as_ref()?;
    let asked = seen.certificate.annotations().get(names::RENEW_REQUESTED_AT)?;
    let issued = seen.secret.as_ref()?.applied.at?;
    (asked != answered && !asked.is_empty()).then_some(issued + LEAST_REST)
}

fn near_expiry(seen: &Observed, wanted: &Wanted, now: Timestamp) -> Option<Finding> {
    let secret = seen.secret.as_ref()?;
    let leaf = &secret.pair()?.leaf;
    // An issuer of others may sign for seconds only.
    let lives = leaf.validity.not_after.duration_since(leaf.validity.not_before);
    let rests = |at: Timestamp| lives < SHORT_LIVED && now < at + LEAST_REST;
    let rested = !secret.applied.at.is_some_and(rests);
    let due = wanted.renewal.due(leaf).is_some_and(|due| due <= now);
    if !due || !rested {
        return None;
    }
    found(Reason::Renewing, format!("the certificate expires at {}", leaf.validity.not_after))
}

/// No reason to call what is there unready: it is valid, and its own authority is still trusted by
/// whoever has not heard of the new one.
fn authority_replaced(seen: &Observed, _: &Wanted, now: Timestamp) -> Option<Finding> {
    let (secret, signer) = (seen.secret.as_ref()?, seen.signer.as_ref()?);
    let due = signer.reissues_at(&seen.certificate, secret.signed_by().as_deref())?;
    if now < due {
        return None;
    }
    let issuer = IssuerId::of(&seen.certificate.spec.issuer_ref);
    let message = format!("{issuer} signs with another authority now than it did");
    found(Reason::AuthorityReplaced, message)
}

fn expired(seen: &Observed, _: &Wanted, now: Timestamp) -> Option<Finding> {
    let leaf = &seen.secret.as_ref()?.pair()?.leaf;
    if now < leaf.validity.not_after {
        return None;
    }
    found(Reason::Expired, format!("the certificate expired at {}", leaf.validity.not_after))
}

/// A renewal is asked for by a new value of an annotation, or, by a client that may write the status,
/// by setting the condition Issuing to True.
#[must_use]
pub fn renewal_asked(certificate: &Certificate) -> bool {
    if annotation_asks(certificate).is_some() {
        return true;
    }
    let mut conditions = certificate.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|asked| asked.type_ == "Issuing" && asked.status == ConditionStatus::True)
}

/// The value of the annotation that asks for a renewal, where it was not acted upon yet.
#[must_use]
pub fn annotation_asks(certificate: &Certificate) -> Option<&str> {
    let asked = certificate.annotations().get(names::RENEW_REQUESTED_AT)?;
    let answered = certificate.status.as_ref().and_then(|s| s.renew_requested_at.as_ref());
    (answered != Some(asked) && !asked.is_empty()).then_some(asked)
}

/// Whether the spec changed since the operator last said something about it.
#[must_use]
pub fn spec_changed(certificate: &Certificate) -> bool {
    let conditions = certificate.status.iter().flat_map(|status| &status.conditions);
    let observed = conditions.filter_map(|condition| condition.observed_generation).max();
    observed != certificate.metadata.generation
}

#[cfg(test)]
mod tests;
