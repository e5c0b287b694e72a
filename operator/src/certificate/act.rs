//! Carries out one decision; it never thinks.

use std::sync::Arc;

use countersign_crds::{Certificate, CertificateStatus};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::core::Status;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::answer;
use super::error::Error;
use super::extras::{self, Passwords};
use super::keys::NotYet;
use super::observe::{Observed, Stored};
use super::reference::IssuerId;
use super::request::Answer;
use super::secret;
use super::wanted::Wanted;
use crate::context::{Context, FIELD_MANAGER};
use crate::issuer::{Job, Requester, Signed};
use crate::pki::{CertificateFacts, KeyAlgorithm, PrivateKey, generate_key};

/// Signs a certificate and writes its Secret, in one write.
///
/// # Errors
/// When a step fails; nothing is written then, and what was in the Secret stays.
pub async fn issue(
    context: &Context,
    seen: &Observed,
    wanted: &Wanted,
    key: &Arc<PrivateKey>,
) -> Result<Stored, Error> {
    let issuer = IssuerId::of(&seen.certificate.spec.issuer_ref);
    let job = Job {
        namespace: &seen.certificate.namespace().unwrap_or_default(),
        issuer: &issuer,
        request: wanted.request.clone(),
        subject_der: None,
        lifetime: wanted.lifetime,
        is_default_lifetime: seen.certificate.spec.duration.is_none(),
        requester: Requester::Certificate(&seen.certificate),
        public_key: key.public_key_spki(),
        own_key: Some(key),
        signature: wanted.signature,
    };
    let signed = crate::issuer::sign(context, job).await.map_err(Error::Sign)?;
    let leaf = CertificateFacts::from_pem(signed.chain.as_bytes()).map_err(Error::ReadBack)?;
    // A key that is not the certificate's must never be seen by anyone, whatever went wrong.
    if !leaf.matches_key(key) {
        return Err(Error::KeyMismatch);
    }
    store(context, seen, wanted, &signed, (key, &leaf)).await
}

/// Writes the Secret of a certificate.
async fn store(
    context: &Context,
    seen: &Observed,
    wanted: &Wanted,
    signed: &Signed,
    (key, leaf): (&PrivateKey, &CertificateFacts),
) -> Result<Stored, Error> {
    let data = secret::data(signed, key, wanted).map_err(Error::Key)?;
    let none = Passwords::default();
    let passwords = seen.passwords.as_ref().unwrap_or(&none);
    let data = extras::added(&seen.certificate.spec, data, passwords, context.clock.now());
    let data = data.map_err(|source| Error::Extras(Box::new(source)))?;
    let before = seen.secret.as_ref();
    let wanted_secret = secret::issued(&seen.certificate, wanted, leaf, data, before);
    apply(context, wanted_secret, seen).await.map(|written| Stored::of(&written))
}

/// Writes the Secret with what a request brought.
///
/// # Errors
/// When what it brought is not what was asked for, of the issuer that was asked.
pub async fn store_answer(
    context: &Context,
    seen: &Observed,
    wanted: &Wanted,
    answer: &Answer,
) -> Result<Stored, Error> {
    let asked = seen.asked.as_ref().ok_or(Error::KeyMismatch)?;
    let key = asked.key.as_ref().ok_or(Error::KeyMismatch)?;
    let (signed, leaf) = answer::check(context, seen, wanted, key, answer).await?;
    store(context, seen, wanted, &signed, (key, &leaf)).await
}

/// Writes a certificate that nobody trusts, so that programs which only need one to start do.
///
/// # Errors
/// When a step fails.
pub async fn store_temporary(
    context: &Context,
    seen: &Observed,
    wanted: &Wanted,
    key: &Arc<PrivateKey>,
) -> Result<Stored, Error> {
    let signed = crate::issuer::sign_temporary(&wanted.request, key, context.clock.now());
    let signed = signed.map_err(Error::Sign)?;
    let leaf = CertificateFacts::from_pem(signed.chain.as_bytes()).map_err(Error::ReadBack)?;
    let data = secret::data(&signed, key, wanted).map_err(Error::Key)?;
    let before = seen.secret.as_ref();
    let wanted_secret = secret::temporary(&seen.certificate, &leaf, data, before);
    apply(context, wanted_secret, seen).await.map(|written| Stored::of(&written))
}

/// The key that is there, where it is to be kept and can be.
///
/// # Errors
/// When it is to be kept and cannot be read.
pub(super) fn kept_key(seen: &Observed, wanted: &Wanted) -> Result<Option<Arc<PrivateKey>>, Error> {
    let kept = seen.secret.as_ref().filter(|_| wanted.keep_key).map(Stored::key);
    Ok(kept.transpose().map_err(Error::Key)?.flatten())
}

/// The key that is kept, or else a new one; of an RSA key that is not made yet, how many wait.
///
/// # Errors
/// When there is one to be kept that cannot be read, or none can be made.
pub(super) async fn key_for(
    context: &Context,
    seen: &Observed,
    wanted: &Wanted,
) -> Result<Result<Arc<PrivateKey>, NotYet>, Error> {
    let algorithm = wanted.algorithm;
    if let Some(key) = kept_key(seen, wanted)? {
        return Ok(Ok(key));
    }
    if matches!(algorithm, KeyAlgorithm::Rsa { .. }) {
        return Ok(context.keys.take(&seen.certificate, algorithm));
    }
    let made = tokio::task::spawn_blocking(move || generate_key(algorithm)).await;
    let made = made.map_err(|_| Error::Cancelled)?.map_err(Error::Key)?;
    Ok(Ok(Arc::new(made)))
}

/// Writes all of a Secret but its certificate and key.
///
/// # Errors
/// When the API server refuses.
pub async fn tidy(context: &Context, seen: &Observed) -> Result<Option<Stored>, Error> {
    let (Some(stored), Ok(passwords)) = (&seen.secret, &seen.passwords) else { return Ok(None) };
    let now = context.clock.now();
    let tidied = secret::tidied(&seen.certificate, stored, passwords, now);
    match tidied.map_err(|source| Error::Extras(Box::new(source)))? {
        Some(secret) => {
            apply(context, secret, seen).await.map(|written| Some(Stored::of(&written)))
        }
        None => Ok(None),
    }
}

async fn apply(context: &Context, secret: Secret, seen: &Observed) -> Result<Secret, Error> {
    let written = write(context, secret, seen.secret.as_ref()).await?;
    let key = (written.namespace().unwrap_or_default(), written.name_any());
    context.seen.secrets.note(key, &written.resource_version().unwrap_or_default());
    Ok(written)
}

/// Server-side apply: keys, labels and annotations of others stay, and so does the type, which cannot
/// change. The write reaches the Secret that was read and no other: it names that one's uid, and where
/// none was read, it is not forced, so that it conflicts with whatever is there.
async fn write(
    context: &Context,
    mut secret: Secret,
    stored: Option<&Stored>,
) -> Result<Secret, Error> {
    let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
    let mut parameters = PatchParams::apply(FIELD_MANAGER);
    if let Some(stored) = stored {
        parameters.force = true;
        secret.metadata.uid.clone_from(&stored.uid);
        secret.type_.clone_from(&stored.type_);
    }
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
    let written = api.patch(&name, &parameters, &Patch::Apply(&secret)).await;
    written.map_err(|source| {
        let secret = Box::new(ObjectRef::new(&name).within(&namespace));
        match (&source, stored) {
            (kube::Error::Api(status), None) if is_occupied(status) => Error::Occupied { secret },
            _ => Error::WriteSecret { secret, source },
        }
    })
}

/// Whether a write that was not forced met a Secret that exists: its fields are owned by another client
/// (conflict), or its type differs, which cannot change (invalid).
fn is_occupied(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 409 || status.code == 422 && causes.any(|cause| cause.field == "type")
}

/// Writes a status, unless it says what the last one said. The version that it rests on goes
/// along, so that a renewal that somebody asked for meanwhile is not lost.
///
/// # Errors
/// When the API server refuses.
pub async fn write_status(
    context: &Context,
    certificate: &Certificate,
    status: &CertificateStatus,
) -> Result<(), Error> {
    let namespace = certificate.namespace().unwrap_or_default();
    let name = certificate.name_any();
    if says_the_same(certificate.status.as_ref(), status) {
        let key = (namespace, certificate.spec.secret_name.clone());
        status.secret_resource_version.iter().for_each(|version| {
            context.seen.secrets.approve(key.clone(), version);
        });
        return Ok(());
    }
    let api: Api<Certificate> = Api::namespaced(context.client.clone(), &namespace);
    let patch = json!({
        "metadata": { "resourceVersion": certificate.metadata.resource_version },
        "status": fields(status),
    });
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let written = api.patch_status(&name, &parameters, &Patch::Merge(&patch)).await;
    let written = written.map_err(|source| Error::WriteStatus {
        certificate: Box::new(ObjectRef::from_obj(certificate)),
        source,
    })?;
    context.seen.own_writes.note(written);
    Ok(())
}

/// That somebody else wrote to the Secret what is not ours is no news of the Certificate.
fn says_the_same(before: Option<&CertificateStatus>, after: &CertificateStatus) -> bool {
    before.is_some_and(|before| {
        let secret_resource_version = before.secret_resource_version.clone();
        *before == CertificateStatus { secret_resource_version, ..after.clone() }
            && before.secret_resource_version.is_some() == after.secret_resource_version.is_some()
    })
}

/// Every field, since a merge takes away only what is said to be null.
fn fields(status: &CertificateStatus) -> serde_json::Value {
    json!({
        "observedGeneration": status.observed_generation,
        "lastFailureTime": status.last_failure_time,
        "failedIssuanceAttempts": status.failed_issuance_attempts,
        "notBefore": status.not_before,
        "notAfter": status.not_after,
        "renewalTime": status.renewal_time,
        "revision": status.revision,
        "nextPrivateKeySecretName": status.next_private_key_secret_name,
        "secretResourceVersion": status.secret_resource_version,
        "authority": status.authority,
        "renewRequestedAt": status.renew_requested_at,
        "conditions": status.conditions,
    })
}

#[cfg(test)]
mod tests;
