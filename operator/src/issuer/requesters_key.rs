//! The private key of whoever asks a selfSigned issuer to sign a CSR: such a certificate is signed
//! with its own key, so that the request names a Secret that holds it.
//!
//! The Secret is one of the namespace that the request stands in (for Kubernetes' own requests, of
//! the namespace of the issuer), and its key must be that of the CSR, whose sender has proved to hold
//! it: nobody has anything signed with a key that is not theirs already.
//!
//! A requester may lack the right to read Secrets. Whatever is wrong with the Secret, the requester is told the
//! same, and the request is retried at the same interval; the cause is only logged.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::runtime::reflector::ObjectRef;
use tracing::debug;

use crate::certificate::names;
use crate::context::Context;
use crate::pki::{KeyError, ParsedCsr, PrivateKey};
use crate::story::story;

/// Why a key cannot be used, as the requester may know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum KeyUnavailable {
    #[error(
        "a selfSigned issuer signs with the key of the request: name the Secret that holds it (tls.key) in annotation {annotation}"
    )]
    NotNamed { annotation: &'static str },
    /// The same for every cause: it says nothing about the Secret.
    #[error(
        "the Secret that annotation {annotation} names cannot be used: its tls.key must be the private key of the CSR in spec.request; correct the Secret, or create the request again with another annotation"
    )]
    NotUsable { annotation: &'static str },
}

impl KeyUnavailable {
    /// Used as event reason and metric label.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotNamed { .. } => "MissingAnnotation",
            Self::NotUsable { .. } => "PrivateKeyNotUsable",
        }
    }

    /// Whether trying again later can help although nobody changed the request.
    #[must_use]
    pub fn is_passing(self) -> bool {
        matches!(self, Self::NotUsable { .. })
    }
}

/// What is wrong with the Secret; for the log.
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("the Secret does not exist")]
    Missing,
    #[error("the Secret has no tls.key that can be read")]
    Unreadable(#[source] KeyError),
    #[error("reading the Secret")]
    Read(#[source] kube::Error),
    #[error("tls.key is not the key of the CSR in spec.request")]
    NotItsKey,
}

/// Reads the key of a CSR from the Secret that the request names.
///
/// # Errors
/// When none is named, or what is named cannot be used.
pub async fn load(
    context: &Context,
    namespace: &str,
    annotations: &BTreeMap<String, String>,
    annotation: &'static str,
    csr: &ParsedCsr,
) -> Result<PrivateKey, KeyUnavailable> {
    let named = annotations.get(annotation).filter(|name| !name.is_empty());
    let name = named.ok_or(KeyUnavailable::NotNamed { annotation })?;
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(Cause::Read);
    found.and_then(|found| key_of(found, csr)).map_err(|cause| {
        let secret: ObjectRef<Secret> = ObjectRef::new(name).within(namespace);
        debug!(%secret, cause = story(&cause), "key of a request not usable");
        KeyUnavailable::NotUsable { annotation }
    })
}

fn key_of(found: Option<Secret>, csr: &ParsedCsr) -> Result<PrivateKey, Cause> {
    let found = found.ok_or(Cause::Missing)?;
    let text = found.data.as_ref().and_then(|data| data.get(names::TLS_KEY));
    let key = PrivateKey::from_pem(text.map_or(&[][..], |bytes| &bytes.0));
    let key = key.map_err(Cause::Unreadable)?;
    if key.public_key_spki() != csr.public_key_spki {
        return Err(Cause::NotItsKey);
    }
    Ok(key)
}
