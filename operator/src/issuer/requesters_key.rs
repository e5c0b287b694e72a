//! The private key of whoever asks a selfSigned issuer to sign a CSR: such a certificate is signed
//! with its own key, so that the request names a Secret that holds it.
//!
//! The Secret is one of the namespace that the request stands in (for Kubernetes' own requests, of
//! the namespace of the issuer), and its key must be that of the CSR, whose sender has proved to hold
//! it: nobody has anything signed with a key that is not theirs already.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::runtime::reflector::ObjectRef;

use crate::certificate::names;
use crate::context::Context;
use crate::pki::{KeyError, ParsedCsr, PrivateKey};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum KeyUnavailable {
    #[error(
        "a selfSigned issuer signs with the key of the request: name the Secret that holds it (tls.key) in annotation {annotation}"
    )]
    NotNamed { annotation: &'static str },
    #[error("{secret}, which the request names in annotation {annotation}, does not exist")]
    Missing { annotation: &'static str, secret: Box<ObjectRef<Secret>> },
    #[error("{secret} has no tls.key that can be read")]
    Unreadable {
        secret: Box<ObjectRef<Secret>>,
        #[source]
        source: KeyError,
    },
    #[error("reading {secret}")]
    Read {
        secret: Box<ObjectRef<Secret>>,
        #[source]
        source: kube::Error,
    },
    #[error("tls.key of {secret} is not the key of the CSR in spec.request")]
    NotItsKey { secret: Box<ObjectRef<Secret>> },
}

impl KeyUnavailable {
    /// Used as event reason and metric label, in cert-manager's words.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotNamed { .. } => "MissingAnnotation",
            Self::Missing { .. } => "MissingSecret",
            Self::Unreadable { .. } => "ErrorParsingKey",
            Self::Read { .. } => "ErrorGettingSecret",
            Self::NotItsKey { .. } => "ErrorKeyMatch",
        }
    }

    /// Whether trying again later can help although nobody changed the request.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        !matches!(self, Self::NotNamed { .. } | Self::NotItsKey { .. })
    }
}

/// Reads the key of a CSR from the Secret that the request names.
///
/// # Errors
/// When none is named or there, or when it is not the key of the CSR.
pub async fn load(
    context: &Context,
    namespace: &str,
    annotations: &BTreeMap<String, String>,
    annotation: &'static str,
    csr: &ParsedCsr,
) -> Result<PrivateKey, KeyUnavailable> {
    let named = annotations.get(annotation).filter(|name| !name.is_empty());
    let name = named.ok_or(KeyUnavailable::NotNamed { annotation })?;
    let secret = || Box::new(ObjectRef::new(name).within(namespace));
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let found = api.get_opt(name).await;
    let found = found.map_err(|source| KeyUnavailable::Read { secret: secret(), source })?;
    let found = found.ok_or_else(|| KeyUnavailable::Missing { annotation, secret: secret() })?;
    let text = found.data.as_ref().and_then(|data| data.get(names::TLS_KEY));
    let key = PrivateKey::from_pem(text.map_or(&[][..], |bytes| &bytes.0));
    let key = key.map_err(|source| KeyUnavailable::Unreadable { secret: secret(), source })?;
    if key.public_key_spki() != csr.public_key_spki {
        return Err(KeyUnavailable::NotItsKey { secret: secret() });
    }
    Ok(key)
}
