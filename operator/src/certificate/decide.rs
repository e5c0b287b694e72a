//! From what was observed to what to do: one [`Decision`], before anything is written.

use countersign_contract::names::IDENTITY_PREFIX;
use countersign_crds::CertificateStatus;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::checks::{self, Finding, Reason};
use super::keys::NotYet;
use super::observe::{IssuerState, Observed, Stored};
use super::reference::IssuerId;
use super::request::Answer;
use super::wanted::{InvalidField, Wanted};
use super::{adoption, repairs, secret, unfinished};
use crate::pki::KeyAlgorithm;

/// First wait after an issuance that failed; it doubles with each failure.
const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(30);

/// Longest wait after issuances that failed.
const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_hours(1);

/// However often issuance failed, this many more tries fit before the certificate expires.
const TRIES_BEFORE_EXPIRY: i32 = 4;

/// What to do about a Certificate now: one variant for each kind of write that can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Sign a certificate and write the Secret.
    Issue(Finding),
    /// Ask for one with a CertificateRequest, since somebody else must act.
    Ask(Finding),
    /// The CertificateRequest is so new that nobody can have acted on it.
    Hold,
    /// The CertificateRequest was signed: store what it brought.
    Store {
        /// Why one is wanted.
        wanted: Finding,
        /// What it brought.
        answer: Answer,
    },
    /// The CertificateRequest was refused.
    Fail {
        /// Why one is wanted.
        wanted: Finding,
        /// Why it was refused, in a word.
        reason: String,
        /// The same, as a sentence.
        message: String,
    },
    /// The CertificateRequest is of no use any more: take it away, and ask again.
    Discard {
        /// Its name.
        request: String,
        /// Why.
        why: &'static str,
    },
    /// The Secret holds a certificate of which the status does not tell yet: that comes first, so that
    /// what is done next is counted after it.
    Record,
    /// Write all of the Secret but the certificate and its key, which stay as they are.
    Tidy,
    /// All is as it should be.
    Keep,
    /// A certificate is wanted, and the issuer cannot sign yet.
    Wait {
        /// Why one is wanted.
        wanted: Finding,
        /// What is missing.
        reason: &'static str,
        /// The same, as a sentence.
        message: String,
    },
    /// A certificate is wanted, and the last try was too short a while ago.
    BackOff {
        /// Why one is wanted.
        wanted: Finding,
        /// When to try again.
        until: Timestamp,
    },
    /// Somebody else changes the Secret again and again: it is left as it is for a while.
    Contested {
        /// What is wrong with it, and who changes it.
        message: String,
        /// When to put it right again.
        until: Timestamp,
    },
    /// Nothing can be done until somebody changes something.
    Refuse {
        /// Why, in a word.
        reason: &'static str,
        /// The same, as a sentence that says what to do.
        message: String,
    },
    /// It is not ours to act on: it is being deleted.
    Leave,
}

impl Decision {
    /// The same decision where the Secret cannot be changed.
    fn held_up_by(self, immutable: Option<&Stored>, seen: &Observed) -> Self {
        let secret = &seen.certificate.spec.secret_name;
        let message = format!("Secret {secret} is immutable: delete it, and it is made anew");
        match (self, immutable) {
            (Self::Issue(wanted) | Self::Ask(wanted) | Self::Store { wanted, .. }, Some(_)) => {
                Self::Wait { wanted, reason: "SecretImmutable", message }
            }
            (decision, _) => decision,
        }
    }

    /// The same decision where the private key that it takes is larger than those that are made. One that
    /// is kept may be.
    #[must_use]
    pub fn within_key_limit(self, max_rsa_bits: u32, seen: &Observed, wanted: &Wanted) -> Self {
        let takes_key = matches!(self, Self::Issue(_) | Self::Ask(_) | Self::Wait { .. });
        let KeyAlgorithm::Rsa { bits } = wanted.algorithm else { return self };
        let stored = seen.secret.as_ref().filter(|_| wanted.keep_key);
        let is_kept = stored.is_some_and(|stored| matches!(stored.key(), Ok(Some(_))));
        if !takes_key || bits <= max_rsa_bits || is_kept {
            return self;
        }
        let message = format!(
            "spec.privateKey.size: {bits} is larger than the RSA keys that this operator makes, of {max_rsa_bits} bits at most: set {max_rsa_bits} or less, or raise --max-rsa-bits (chart value certificates.maxRsaBits)"
        );
        refuse(KEY_TOO_LARGE, message)
    }

    /// The same decision while the private key that it takes is not made yet.
    #[must_use]
    pub fn waiting_for_key(self, NotYet { waiting }: NotYet) -> Self {
        let message = format!("RSA keys are made two at a time, and {waiting} wait for theirs");
        match self {
            Self::Issue(wanted) | Self::Ask(wanted) => {
                Self::Wait { wanted, reason: "KeyPending", message }
            }
            other => other,
        }
    }
}

/// Decides.
#[must_use]
pub fn decide(seen: &Observed, wanted: &Result<Wanted, InvalidField>, now: Timestamp) -> Decision {
    let decision = by_spec(seen, wanted, now);
    if seen.is_reserved { reserved(seen, decision) } else { decision }
}

/// The same decision where the Secret is reserved: nothing is written to it. What it holds may stay, so that
/// a Certificate of an earlier version is refused only once it needs another.
fn reserved(seen: &Observed, decision: Decision) -> Decision {
    match decision {
        Decision::Leave | Decision::Keep | Decision::Record => decision,
        Decision::Tidy => Decision::Keep,
        Decision::Refuse { reason: INVALID, .. } => decision,
        _ => refuse(RESERVED, {
            let secret = &seen.certificate.spec.secret_name;
            format!(
                "spec.secretName: {secret} is reserved, since Secrets {IDENTITY_PREFIX}<service account> are identities that the operator makes itself: name one that does not begin with {IDENTITY_PREFIX}"
            )
        }),
    }
}

fn by_spec(seen: &Observed, wanted: &Result<Wanted, InvalidField>, now: Timestamp) -> Decision {
    if seen.certificate.metadata.deletion_timestamp.is_some() {
        return Decision::Leave;
    }
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return refuse(INVALID, error.to_string()),
    };
    if let Some(rival) = &seen.rival {
        let secret = &seen.certificate.spec.secret_name;
        let message = format!(
            "Secret {secret} belongs to Certificate {rival}: name another in spec.secretName"
        );
        return refuse("DuplicateSecretName", message);
    }
    let foreign = seen.secret.as_ref().filter(|s| !adoption::may_write(s, &seen.certificate));
    if foreign.is_some() {
        return refuse(adoption::NOT_ADOPTED, adoption::advice(&seen.certificate));
    }
    let decision = match checks::trigger(seen, wanted, now) {
        Some(_) if unfinished::untold(seen).is_some() => Decision::Record,
        Some(finding) => issue(seen, wanted, finding, now),
        None => match &seen.passwords {
            Err(missing) => refuse(NO_PASSWORD, missing.to_string()),
            Ok(_) if secret::is_untidy(seen) => Decision::Tidy,
            Ok(_) => Decision::Keep,
        },
    };
    let decision = contested(seen, &decision, now).unwrap_or(decision);
    decision.held_up_by(seen.secret.as_ref().filter(|secret| secret.is_immutable), seen)
}

/// Whether a decision puts right what somebody else did: neither the spec asks for something new,
/// nor is it time, nor did anybody ask, nor is it the first of all.
#[must_use]
pub fn is_repair(seen: &Observed, decision: &Decision) -> bool {
    let by_itself = match decision {
        Decision::Tidy => true,
        Decision::Issue(finding) | Decision::Ask(finding) => !matches!(
            finding.reason,
            Reason::Renewing | Reason::Expired | Reason::ManuallyTriggered | Reason::Temporary
        ),
        _ => false,
    };
    let was_issued = seen.certificate.status.as_ref().is_some_and(|s| s.revision.is_some());
    by_itself && was_issued && !checks::spec_changed(&seen.certificate)
}

fn contested(seen: &Observed, decision: &Decision, now: Timestamp) -> Option<Decision> {
    let until = repairs::next_at(&seen.repairs, now).filter(|_| is_repair(seen, decision))?;
    let secret = &seen.certificate.spec.secret_name;
    let writer = seen.secret.as_ref().and_then(|secret| secret.other_writer.as_deref());
    let writer = writer.map_or_else(|| "somebody".to_owned(), |name| format!("{name:?}"));
    let wrong = match decision {
        Decision::Issue(finding) | Decision::Ask(finding) => finding.message.as_str(),
        _ => "its labels, annotations or other forms are not as they should be",
    };
    let message = format!(
        "{wrong}: {writer} changes Secret {secret} again and again, and it is put right once a minute until that ends"
    );
    Some(Decision::Contested { message, until })
}

/// The reason given where an RSA key is asked for that is larger than those that are made.
const KEY_TOO_LARGE: &str = "PrivateKeyTooLarge";

/// The reason given where the spec makes no sense.
const INVALID: &str = "InvalidSpec";

/// The reason given where the Secret is one that sidecars mount.
const RESERVED: &str = "ReservedSecretName";

/// The reason given where two write one Secret.
pub(super) const CONTESTED: &str = "SecretContested";

/// The reason given where the password of a key store is missing.
pub(super) const NO_PASSWORD: &str = "KeystorePasswordSecretNotFound";

fn issue(seen: &Observed, wanted: &Wanted, finding: Finding, now: Timestamp) -> Decision {
    if let Some(refusal) = kept_key_is_wrong(seen, wanted) {
        return refusal;
    }
    let issuer = IssuerId::of(&seen.certificate.spec.issuer_ref);
    let wait = |reason, message| Decision::Wait { wanted: finding.clone(), reason, message };
    match &seen.issuer {
        IssuerState::Ready | IssuerState::NeedsApproval | IssuerState::Foreign => {}
        IssuerState::Missing => return wait("IssuerNotFound", format!("{issuer} does not exist")),
        IssuerState::NotReady(why) => {
            return wait("IssuerNotReady", format!("{issuer} is not ready: {why}"));
        }
        IssuerState::Nobody => {
            let message = "spec.issuerRef is missing, and neither the namespace (annotation countersign.dev/default-issuer) nor the operator (--default-issuer) names a default";
            return refuse("NoIssuer", message.to_owned());
        }
    }
    if let Err(missing) = &seen.passwords {
        return wait(NO_PASSWORD, missing.to_string());
    }
    match backoff_end(seen) {
        Some(until) if now < until => Decision::BackOff { wanted: finding, until },
        _ if seen.issuer == IssuerState::Ready => Decision::Issue(finding),
        _ => by_request(seen, finding, now),
    }
}

/// How long an issuer of others may take before anything is said about it: a quick one costs no
/// more writes than it must.
const QUICK: SignedDuration = SignedDuration::from_secs(2);

/// The next step with an issuer that somebody else acts for.
fn by_request(seen: &Observed, finding: Finding, now: Timestamp) -> Decision {
    let Some(asked) = &seen.asked else { return Decision::Ask(finding) };
    let discard = |why| Decision::Discard { request: asked.request.name_any(), why };
    if !asked.is_current(&seen.certificate) {
        return discard("something else is asked for now");
    }
    let failed = seen.certificate.status.as_ref().and_then(|s| s.last_failure_time.as_ref());
    if failed.map(|time| time.0) >= Some(asked.made().unwrap_or(now)) {
        return discard("it failed, and it is time for another");
    }
    match asked.answer() {
        Answer::Refused { reason, message } => Decision::Fail { wanted: finding, reason, message },
        _ if asked.key.is_none() => discard("its private key is lost"),
        answer @ Answer::Signed { .. } => Decision::Store { wanted: finding, answer },
        Answer::Pending(_) if asked.made().is_none_or(|made| now < made + QUICK) => Decision::Hold,
        Answer::Pending(message) => {
            Decision::Wait { wanted: finding, reason: "RequestPending", message }
        }
    }
}

/// A key that must be kept, and cannot be read or is not of the kind that is asked for, leaves no way.
fn kept_key_is_wrong(seen: &Observed, wanted: &Wanted) -> Option<Decision> {
    let stored = seen.secret.as_ref().filter(|_| wanted.keep_key)?;
    let wrong = match stored.key() {
        Ok(None) => return None,
        Ok(Some(key)) if key.algorithm() == wanted.algorithm => return None,
        Ok(Some(key)) => format!("the key is {}, not {}", key.algorithm(), wanted.algorithm),
        Err(error) => format!("tls.key of the Secret cannot be read ({error})"),
    };
    let message = format!(
        "spec.privateKey.rotationPolicy is Never and {wrong}: delete the Secret, or set rotationPolicy to Always"
    );
    Some(refuse("CannotRegenerateKey", message))
}

fn refuse(reason: &'static str, message: String) -> Decision {
    Decision::Refuse { reason, message }
}

/// When the next try is due after failures: later and later, but always soon enough for several
/// more before the certificate expires, and at once where the spec changed or somebody asks.
///
fn backoff_end(seen: &Observed) -> Option<Timestamp> {
    let status = seen.certificate.status.as_ref()?;
    // The Secret that stood in the way, perhaps, was deleted.
    let is_gone = seen.secret.is_none() && status.secret_resource_version.is_some();
    let certificate = &seen.certificate;
    if is_gone || checks::spec_changed(certificate) || checks::renewal_asked(certificate) {
        return None;
    }
    next_try(status, seen)
}

/// When the next try is due after the failures that a status tells of.
///
/// It rests on the time of the failure only: a condition tells it, and one that said another time
/// at each look would be written, and looked at again, without end.
#[must_use]
pub fn next_try(status: &CertificateStatus, seen: &Observed) -> Option<Timestamp> {
    let failures = status.failed_issuance_attempts.filter(|count| *count > 0)?;
    let last = status.last_failure_time.as_ref()?.0;
    let doublings = u32::try_from(failures - 1).unwrap_or(0).min(10);
    let grown = FIRST_BACKOFF.saturating_mul(1 << doublings).min(LONGEST_BACKOFF);
    let leaf = seen.secret.as_ref().and_then(|secret| secret.pair()).map(|pair| &pair.leaf);
    let wait = match leaf.map(|leaf| leaf.validity.not_after.duration_since(last)) {
        Some(left) if left.is_positive() => grown.min(left / TRIES_BEFORE_EXPIRY),
        _ => grown,
    };
    last.checked_add(wait).ok()
}

#[cfg(test)]
mod tests;
