//! The authority of a `ca` issuer: a certificate and its key, in a Secret.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::runtime::reflector::ObjectRef;

use crate::certificate::names;
use crate::context::Context;
use crate::pki::{Authority, AuthorityError};

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
    #[error("{secret} is no authority: {source}")]
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
        }
    }
}

/// Reads an authority and checks that it can sign now.
///
/// # Errors
/// When the Secret is missing, or what it holds cannot sign.
pub async fn load(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Authority, AuthorityUnavailable> {
    let reference = || Box::new(ObjectRef::new(name).within(namespace));
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let found = api.get_opt(name).await;
    let found =
        found.map_err(|source| AuthorityUnavailable::Read { secret: reference(), source })?;
    let Some(secret) = found else {
        return Err(AuthorityUnavailable::Missing { secret: reference() });
    };
    let value = |key: &'static str| {
        let data = secret.data.as_ref().and_then(|data| data.get(key));
        data.map(|bytes| bytes.0.as_slice()).filter(|bytes| !bytes.is_empty())
    };
    let required = |key: &'static str| {
        value(key).ok_or_else(|| AuthorityUnavailable::MissingKey { secret: reference(), key })
    };
    let invalid = |source| AuthorityUnavailable::Invalid { secret: reference(), source };
    let (crt, key) = (required(names::TLS_CRT)?, required(names::TLS_KEY)?);
    let authority = Authority::from_pems(crt, key, value(names::CA_CRT)).map_err(invalid)?;
    authority.usable_at(context.clock.now()).map_err(invalid)?;
    Ok(authority)
}
