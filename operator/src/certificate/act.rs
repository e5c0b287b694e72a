//! Carries out one decision; it never thinks.

use std::sync::Arc;

use countersign_crds::{Certificate, CertificateStatus};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::error::Error;
use super::extras::{self, Passwords};
use super::observe::{Observed, Stored};
use super::reference::IssuerId;
use super::request::Answer;
use super::secret;
use super::wanted::Wanted;
use crate::context::{Context, FIELD_MANAGER};
use crate::issuer::{Job, Requester, Signed};
use crate::pki::{CertificateFacts, PrivateKey, generate_key};

/// Signs a certificate and writes its Secret, in one write.
///
/// # Errors
/// When a step fails; nothing is written then, and what was in the Secret stays.
pub async fn issue(context: &Context, seen: &Observed, wanted: &Wanted) -> Result<Stored, Error> {
    let key = key_for(seen, wanted).await?;
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
        own_key: Some(&key),
        signature: wanted.signature,
    };
    let signed = crate::issuer::sign(context, job).await.map_err(Error::Sign)?;
    let leaf = CertificateFacts::from_pem(signed.chain.as_bytes()).map_err(Error::ReadBack)?;
    // A key that is not the certificate's must never be seen by anyone, whatever went wrong.
    if !leaf.matches_key(&key) {
        return Err(Error::KeyMismatch);
    }
    store(context, seen, wanted, &signed, (&key, &leaf)).await
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
    let wanted_secret = secret::issued(&seen.certificate, wanted, leaf, data);
    apply(context, &wanted_secret).await.map(|written| Stored::of(&written))
}

/// Writes the Secret with what a request brought.
///
/// # Errors
/// When what it brought is no certificate for the key that was made, or is over already.
pub async fn store_answer(
    context: &Context,
    seen: &Observed,
    wanted: &Wanted,
    answer: &Answer,
) -> Result<Stored, Error> {
    let Answer::Signed { chain, ca } = answer else { return Err(Error::KeyMismatch) };
    let asked = seen.asked.as_ref().ok_or(Error::KeyMismatch)?;
    let key = asked.key.as_ref().ok_or(Error::KeyMismatch)?;
    let leaf = CertificateFacts::from_pem(chain).map_err(Error::ReadBack)?;
    if !leaf.matches_key(key) {
        return Err(Error::KeyMismatch);
    }
    if leaf.validity.not_after <= context.clock.now() {
        return Err(Error::SignedExpired { not_after: leaf.validity.not_after });
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let signed = Signed { chain: text(chain), ca: ca.as_deref().map(text) };
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
) -> Result<Stored, Error> {
    let key = key_for(seen, wanted).await?;
    let signed = crate::issuer::sign_temporary(&wanted.request, &key, context.clock.now());
    let signed = signed.map_err(Error::Sign)?;
    let leaf = CertificateFacts::from_pem(signed.chain.as_bytes()).map_err(Error::ReadBack)?;
    let data = secret::data(&signed, &key, wanted).map_err(Error::Key)?;
    let wanted_secret = secret::temporary(&seen.certificate, &leaf, data);
    apply(context, &wanted_secret).await.map(|written| Stored::of(&written))
}

/// The key that is there, where it is to be kept and can be, or else a new one.
pub(super) async fn key_for(seen: &Observed, wanted: &Wanted) -> Result<Arc<PrivateKey>, Error> {
    let kept = seen.secret.as_ref().filter(|_| wanted.keep_key).and_then(Stored::key);
    if let Some(key) = kept {
        return Ok(key);
    }
    let algorithm = wanted.algorithm;
    // RSA keys take up to seconds, which are not the other reconciliations' to wait.
    let made = tokio::task::spawn_blocking(move || generate_key(algorithm)).await;
    made.map_err(|_| Error::Cancelled)?.map(Arc::new).map_err(Error::Key)
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
        Some(secret) => apply(context, &secret).await.map(|written| Some(Stored::of(&written))),
        None => Ok(None),
    }
}

async fn apply(context: &Context, secret: &Secret) -> Result<Secret, Error> {
    let written = apply_any_type(context, secret).await?;
    let key = (written.namespace().unwrap_or_default(), written.name_any());
    context.seen.secrets.note(key, &written.resource_version().unwrap_or_default());
    Ok(written)
}

/// Server-side apply: keys, labels and annotations of others stay. A Secret that exists with
/// another type keeps it, since the type of a Secret cannot be changed.
async fn apply_any_type(context: &Context, secret: &Secret) -> Result<Secret, Error> {
    let namespace = secret.namespace().unwrap_or_default();
    let name = secret.name_any();
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let failed = |source| Error::WriteSecret {
        secret: Box::new(ObjectRef::new(&name).within(&namespace)),
        source,
    };
    match api.patch(&name, &parameters, &Patch::Apply(secret)).await {
        Err(kube::Error::Api(status)) if status.code == 422 => {
            let typeless = Secret { type_: None, ..secret.clone() };
            let existing = api.get_opt(&name).await.map_err(failed)?;
            let type_ = existing.and_then(|secret| secret.type_);
            if type_.as_deref() == Some(secret::TYPE) {
                return Err(failed(kube::Error::Api(status)));
            }
            let kept = Secret { type_, ..typeless };
            api.patch(&name, &parameters, &Patch::Apply(&kept)).await.map_err(failed)
        }
        written => written.map_err(failed),
    }
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
        "conditions": status.conditions,
    })
}

#[cfg(test)]
mod tests;
