//! The authority of a `ca` issuer: a certificate and its key, in a Secret.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::runtime::reflector::ObjectRef;

use super::verifiable::{self, Unverifiable};
use crate::certificate::names;
use crate::context::Context;
use crate::pki::{Authority, AuthorityError};
use crate::watch::Key;

/// Why an authority cannot sign.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum AuthorityUnavailable {
    #[error("reading {secret}")]
    Read {
        secret: Box<ObjectRef<Secret>>,
        #[source]
        source: kube::Error,
    },
    #[error("{secret} does not exist")]
    Missing { secret: Box<ObjectRef<Secret>> },
    #[error("{secret} has no {key}")]
    MissingKey { secret: Box<ObjectRef<Secret>>, key: &'static str },
    #[error("{secret}: {source}")]
    Unverifiable {
        secret: Box<ObjectRef<Secret>>,
        #[source]
        source: Box<Unverifiable>,
    },
    #[error("{secret} cannot sign")]
    Invalid {
        secret: Box<ObjectRef<Secret>>,
        #[source]
        source: AuthorityError,
    },
}

impl AuthorityUnavailable {
    /// Used as condition reason, in cert-manager's words.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Missing { .. } | Self::MissingKey { .. } => "ErrGetKeyPair",
            Self::Invalid { .. } => "ErrInvalidKeyPair",
            Self::Unverifiable { .. } => "ErrUnverifiable",
        }
    }
}

/// An authority that can sign now: as it is kept, or else from its Secret.
///
/// # Errors
/// When the Secret is missing, or what it holds cannot sign.
pub async fn load(context: &Context, secret: &Key) -> Result<Arc<Authority>, AuthorityUnavailable> {
    let kept = context.authorities.fresh(secret).filter(|_| context.seen.follows(secret));
    let Some(authority) = kept else { return read(context, secret).await };
    usable(context, secret, &authority)?;
    Ok(authority)
}

/// Reads an authority anew, keeps it, and checks that it can sign now.
///
/// # Errors
/// When the Secret is missing, or what it holds cannot sign.
pub async fn read(context: &Context, secret: &Key) -> Result<Arc<Authority>, AuthorityUnavailable> {
    let reading = context.authorities.reading(secret);
    let read = fetch(context, secret).await.and_then(|found| parse(&found, secret));
    let Ok(authority) = read else {
        context.authorities.remove(secret);
        return read.map(Arc::new);
    };
    let authority = Arc::new(authority);
    context.authorities.put(secret, reading, &authority);
    usable(context, secret, &authority)?;
    Ok(authority)
}

/// Whether sidecars could verify what an authority of identities signs.
///
/// # Errors
/// When they could not.
pub(super) fn verifiable(
    context: &Context,
    secret: &Key,
    authority: &Authority,
) -> Result<(), AuthorityUnavailable> {
    let checked = verifiable::check(authority, &context.settings, context.clock.now());
    checked.map_err(|source| AuthorityUnavailable::Unverifiable {
        secret: reference(secret),
        source: Box::new(source),
    })
}

fn reference((namespace, name): &Key) -> Box<ObjectRef<Secret>> {
    Box::new(ObjectRef::new(name).within(namespace))
}

fn usable(
    context: &Context,
    secret: &Key,
    authority: &Authority,
) -> Result<(), AuthorityUnavailable> {
    let usable = authority.usable_at(context.clock.now());
    usable.map_err(|source| AuthorityUnavailable::Invalid { secret: reference(secret), source })
}

async fn fetch(context: &Context, key: &Key) -> Result<Secret, AuthorityUnavailable> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &key.0);
    let found = api.get_opt(&key.1).await;
    let failed = |source| AuthorityUnavailable::Read { secret: reference(key), source };
    let missing = || AuthorityUnavailable::Missing { secret: reference(key) };
    found.map_err(failed)?.ok_or_else(missing)
}

fn parse(found: &Secret, secret: &Key) -> Result<Authority, AuthorityUnavailable> {
    let value = |key: &'static str| {
        let data = found.data.as_ref().and_then(|data| data.get(key));
        data.map(|bytes| bytes.0.as_slice()).filter(|bytes| !bytes.is_empty())
    };
    let required = |key: &'static str| {
        let missing = || AuthorityUnavailable::MissingKey { secret: reference(secret), key };
        value(key).ok_or_else(missing)
    };
    let (crt, key) = (required(names::TLS_CRT)?, required(names::TLS_KEY)?);
    let authority = Authority::from_pems(crt, key, value(names::CA_CRT));
    authority.map_err(|source| AuthorityUnavailable::Invalid { secret: reference(secret), source })
}
