//! Writes what concerns the CertificateRequest of a Certificate; it never thinks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_crds::{Certificate, CertificateRequest};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tracing::info;

use super::act::key_for;
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
) -> Result<CertificateRequest, Error> {
    let certificate = &seen.certificate;
    let key: Arc<PrivateKey> = key_for(seen, wanted).await?;
    let options = CsrOptions {
        encode_usages: wanted.encode_usages,
        signature_algorithm: wanted.signature,
        ..CsrOptions::default()
    };
    let csr = make_csr_with(&wanted.request, &key, &options).map_err(Error::Csr)?;
    let request = request::wanted(certificate, csr);
    let name = request.name_any();
    let api = requests(context, certificate);
    let namespace = certificate.namespace().unwrap_or_default();
    // Before the answer can come, which may be at once.
    let before = context.pending_keys.keep(&namespace, &name, key);
    let created = api.create(&PostParams::default(), &request).await;
    if created.is_err() {
        context.pending_keys.put_back(&namespace, &name, before);
    }
    created.map_err(|source| failed(certificate, &name, source))
}

/// Keeps the key of a request in a Secret that goes with the request.
///
/// # Errors
/// When it cannot be written.
pub async fn keep_key(context: &Context, asked: &Asked) -> Result<String, Error> {
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
    write_key(context, &namespace, &name, &Patch::Apply(json!(secret))).await?;
    context.pending_keys.is_kept(&namespace, &request);
    Ok(name)
}

/// Forgets the key of a request that is over, wherever it was kept.
///
/// # Errors
/// When the Secret that it was kept in cannot be written.
pub async fn forget_key(context: &Context, seen: &Observed, request: &str) -> Result<(), Error> {
    let namespace = seen.certificate.namespace().unwrap_or_default();
    context.pending_keys.forget(&namespace, request);
    for name in kept_in(context, seen, request) {
        write_key(context, &namespace, &name, &Patch::Merge(json!({ "data": null }))).await?;
    }
    Ok(())
}

/// The Secrets with the key of a request: the one that the status tells of, and the one that there
/// is, where the work broke off before the status told of it.
fn kept_in(context: &Context, seen: &Observed, request: &str) -> BTreeSet<String> {
    let status = seen.certificate.status.as_ref();
    let told = status.and_then(|status| status.next_private_key_secret_name.clone());
    let name = request::key_secret_name(request);
    let key = (seen.certificate.namespace().unwrap_or_default(), name.clone());
    let is_kept = seen.asked.as_ref().is_some_and(|asked| asked.is_kept);
    let is_there = is_kept || context.seen.secrets.knows(&key);
    told.into_iter().chain(is_there.then_some(name)).collect()
}

/// Does what was left of the work that stored a certificate of this revision.
///
/// # Errors
/// When the API server refuses.
pub async fn finish(context: &Context, seen: &Observed, revision: i64) -> Result<(), Error> {
    let certificate = &seen.certificate;
    forget_key(context, seen, &request::name(certificate, revision)).await?;
    prune(context, certificate, revision).await
}

async fn write_key(
    context: &Context,
    namespace: &str,
    name: &str,
    patch: &Patch<serde_json::Value>,
) -> Result<(), Error> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let mut parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    parameters.force = matches!(patch, Patch::Apply(_));
    match api.patch(name, &parameters, patch).await {
        Ok(_) => Ok(()),
        // It went with its request.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(Error::WriteSecret {
            secret: Box::new(ObjectRef::new(name).within(namespace)),
            source,
        }),
    }
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
