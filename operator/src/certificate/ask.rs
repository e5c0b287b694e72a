//! Writes what concerns the CertificateRequest of a Certificate; it never thinks.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_crds::{Certificate, CertificateRequest, CertificateRequestSpec};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tracing::{info, warn};

use super::error::Error;
use super::names;
use super::observe::Observed;
use super::request::{self, Asked};
use super::wanted::Wanted;
use crate::context::{Context, FIELD_MANAGER};
use crate::pki::{CsrOptions, KeyEncoding, PrivateKey, make_csr_with};

fn failed(certificate: &Certificate, name: &str, source: kube::Error) -> Error {
    let namespace = certificate.namespace().unwrap_or_default();
    Error::WriteRequest { request: Box::new(ObjectRef::new(name).within(&namespace)), source }
}

fn requests(context: &Context, certificate: &Certificate) -> Api<CertificateRequest> {
    let namespace = certificate.namespace().unwrap_or_default();
    Api::namespaced(context.client.clone(), &namespace)
}

/// Makes a key and a request for it. The key stays in memory.
///
/// # Errors
/// When no key or CSR can be made, or the API server refuses.
pub async fn ask(
    context: &Context,
    seen: &Observed,
    wanted: &Wanted,
    key: &Arc<PrivateKey>,
) -> Result<CertificateRequest, Error> {
    let certificate = &seen.certificate;
    let options = CsrOptions {
        encode_usages: wanted.encode_usages,
        signature_algorithm: wanted.signature,
        ..CsrOptions::default()
    };
    let csr = make_csr_with(&wanted.request, key, &options).map_err(Error::Csr)?;
    check_size(&csr)?;
    let seed = format!("{csr}{}", context.clock.now());
    let request = request::wanted(certificate, csr);
    match create(context, certificate, &request, key).await {
        Err(error) if error.is_conflict() && is_taken(context, certificate, &request).await? => {
            let request = request::under_another_name(request, &seed);
            create(context, certificate, &request, key).await
        }
        created => created,
    }
}

/// Issuers that need no CertificateRequest sign more names than one holds, so that the spec is not
/// bounded by this.
fn check_size(csr: &str) -> Result<(), Error> {
    match csr.len() {
        bytes if bytes > CertificateRequestSpec::MAX_CSR_BYTES => Err(Error::CsrTooLarge { bytes }),
        _ => Ok(()),
    }
}

async fn create(
    context: &Context,
    certificate: &Certificate,
    request: &CertificateRequest,
    key: &Arc<PrivateKey>,
) -> Result<CertificateRequest, Error> {
    let name = request.name_any();
    let api = requests(context, certificate);
    let namespace = certificate.namespace().unwrap_or_default();
    // Before the answer can come, which may be at once.
    let before = context.pending_keys.keep(&namespace, &name, key.clone());
    let created = api.create(&PostParams::default(), request).await;
    if created.is_err() {
        context.pending_keys.put_back(&namespace, &name, before);
    }
    created.map_err(|source| failed(certificate, &name, source))
}

/// Whether another client made a request of this name, which anybody can foretell.
async fn is_taken(
    context: &Context,
    certificate: &Certificate,
    request: &CertificateRequest,
) -> Result<bool, Error> {
    let name = request.name_any();
    let found = requests(context, certificate).get_opt(&name).await;
    let found = found.map_err(|source| failed(certificate, &name, source))?;
    Ok(found.is_some_and(|found| request::revision_of(certificate, &found).is_none()))
}

/// Keeps the key of a request in a Secret that goes with the request; `None` where a Secret of that
/// name is there that is not ours: the key then stays in memory only.
///
/// # Errors
/// When it cannot be written.
pub async fn keep_key(context: &Context, asked: &Asked) -> Result<Option<String>, Error> {
    let request = asked.request.name_any();
    let name = request::key_secret_name(&request);
    let namespace = asked.request.namespace().unwrap_or_default();
    let key = asked.key.as_ref().ok_or(Error::KeyMismatch)?;
    let pem = key.to_pem(KeyEncoding::Pkcs8).map_err(Error::Key)?;
    let bytes = ByteString(pem.expose().as_bytes().to_vec());
    let label = |name: &str| (name.to_owned(), "true".to_owned());
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            labels: Some(BTreeMap::from([label(names::OURS_LABEL), label(names::NEXT_KEY_LABEL)])),
            owner_references: asked.request.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(names::TLS_KEY.to_owned(), bytes)])),
        ..Secret::default()
    };
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
    let parameters =
        PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&parameters, &secret).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {
            if !take_over(&api, &name, secret).await? {
                warn!(
                    request,
                    secret = name,
                    "another Secret has this name: the key is kept in memory"
                );
                return Ok(None);
            }
        }
        Err(source) => return Err(write_failed(&namespace, &name, source)),
    }
    context.pending_keys.is_kept(&namespace, &request);
    Ok(Some(name))
}

/// Writes over the Secret with the key of a request before, which the garbage collector has not taken
/// yet; false where the Secret is another client's.
async fn take_over(api: &Api<Secret>, name: &str, secret: Secret) -> Result<bool, Error> {
    let namespace = secret.metadata.namespace.clone().unwrap_or_default();
    let failed = |source| write_failed(&namespace, name, source);
    let found = api.get_metadata_opt(name).await.map_err(failed)?;
    let Some(found) = found.filter(|found| is_key_of_ours(&found.metadata)) else {
        return Ok(false);
    };
    let metadata = json!({
        "resourceVersion": found.metadata.resource_version,
        "ownerReferences": secret.metadata.owner_references,
    });
    let patch = Patch::Merge(json!({ "metadata": metadata, "data": secret.data }));
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(name, &parameters, &patch).await.map_err(failed)?;
    Ok(true)
}

/// Whether a Secret holds the key of a request, and no other client has written to it.
fn is_key_of_ours(secret: &ObjectMeta) -> bool {
    let labels = secret.labels.as_ref();
    let mut managers = secret.managed_fields.iter().flatten().map(|entry| &entry.manager);
    let ours = Some(FIELD_MANAGER.to_owned());
    labels.is_some_and(|labels| labels.contains_key(names::NEXT_KEY_LABEL))
        && secret.managed_fields.as_ref().is_some_and(|entries| !entries.is_empty())
        && managers.all(|manager| *manager == ours)
}

/// Forgets the key of a request that is over, wherever it was kept.
///
/// # Errors
/// When the Secret that it was kept in cannot be written.
pub async fn forget_key(context: &Context, request: &CertificateRequest) -> Result<(), Error> {
    let namespace = request.namespace().unwrap_or_default();
    let pending = context.pending_keys.of(&namespace, &request.name_any());
    context.pending_keys.forget(&namespace, &request.name_any());
    let name = request::key_secret_name(&request.name_any());
    let is_kept = pending.is_some_and(|pending| pending.is_kept)
        || context.seen.secrets.knows(&(namespace.clone(), name.clone()));
    if !is_kept {
        return Ok(());
    }
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
    let failed = |source| write_failed(&namespace, &name, source);
    let found = api.get_metadata_opt(&name).await.map_err(failed)?;
    let Some(found) = found.filter(|found| holds_key_of(&found.metadata, request)) else {
        return Ok(());
    };
    let metadata = json!({ "resourceVersion": found.metadata.resource_version });
    let patch = Patch::Merge(json!({ "metadata": metadata, "data": null }));
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch(&name, &parameters, &patch).await {
        Ok(_) => Ok(()),
        // It went with its request.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(failed(source)),
    }
}

/// Whether a Secret was made for the key of a request: it says so and goes with it. No status is
/// believed about that.
#[must_use]
pub fn holds_key_of(secret: &ObjectMeta, request: &CertificateRequest) -> bool {
    let labels = secret.labels.as_ref();
    let is_labelled = labels.is_some_and(|labels| labels.contains_key(names::NEXT_KEY_LABEL));
    let mut owners = secret.owner_references.iter().flatten();
    is_labelled && owners.any(|owner| request.metadata.uid.as_ref() == Some(&owner.uid))
}

fn write_failed(namespace: &str, name: &str, source: kube::Error) -> Error {
    let secret = Box::new(ObjectRef::new(name).within(namespace));
    Error::WriteSecret { secret, source }
}

/// Does what was left of the work that stored a certificate of this revision.
///
/// # Errors
/// When the API server refuses.
pub async fn finish(context: &Context, seen: &Observed, revision: i64) -> Result<(), Error> {
    let certificate = &seen.certificate;
    for request in request::made_for(context, certificate) {
        if request::revision_of(certificate, &request) == Some(revision) {
            forget_key(context, &request).await?;
        }
    }
    prune(context, certificate, revision).await
}

/// Takes a request away.
///
/// # Errors
/// When the API server refuses.
pub async fn discard(
    context: &Context,
    certificate: &Certificate,
    name: &str,
) -> Result<(), Error> {
    let namespace = certificate.namespace().unwrap_or_default();
    context.pending_keys.forget(&namespace, name);
    let deleted = requests(context, certificate).delete(name, &DeleteParams::default()).await;
    match deleted {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(failed(certificate, name, source)),
    }
}

/// Takes away the requests of revisions that nobody need keep any more.
///
/// # Errors
/// When the API server refuses.
pub async fn prune(
    context: &Context,
    certificate: &Certificate,
    revision: i64,
) -> Result<(), Error> {
    let made = request::made_for(context, certificate);
    for name in request::superseded(certificate, revision, &made) {
        info!(request = name, "taking away the request of an earlier revision");
        discard(context, certificate, &name).await?;
    }
    Ok(())
}
