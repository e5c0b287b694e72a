//! The Secret of a Certificate as it was found: who wrote what of it, and what it holds; pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;

use super::names;
use crate::context::FIELD_MANAGER;
use crate::pki::{CertificateFacts, KeyError, PrivateKey, fingerprint_of};

/// A Secret as it was found.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its version.
    pub version: Option<String>,
    /// Its unique id: a write names it, so that it reaches no Secret that was made meanwhile.
    pub uid: Option<String>,
    /// Its type, which never changes.
    pub type_: Option<String>,
    /// Whether the API server refuses changes of its data.
    pub is_immutable: bool,
    /// The unique id of the object that controls it, if there is one.
    pub controller: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The unique ids of the objects with which it goes.
    pub owners: BTreeSet<String>,
    /// What of it the operator applied.
    pub applied: Applied,
    /// The names of all clients that own fields of it.
    pub managers: BTreeSet<String>,
    /// Who else wrote to it last, by the name of their client.
    pub other_writer: Option<String>,
    /// What it holds.
    pub contents: Contents,
    /// The bytes themselves, so that its metadata can be applied again together with them.
    pub data: SecretData,
}

/// What of a Secret the operator applied, as the API server tells (managed fields of server-side
/// apply).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Labels.
    pub labels: BTreeSet<String>,
    /// Annotations.
    pub annotations: BTreeSet<String>,
    /// Keys of its data.
    pub data: BTreeSet<String>,
    /// Whether it goes with somebody.
    pub owner: bool,
    /// Whether the operator made the Secret: its type, which never changes, is the operator's alone.
    pub made: bool,
    /// When it did so last, by the API server's clock.
    pub at: Option<Timestamp>,
}

/// The data of a Secret, which cannot be printed.
#[derive(Clone, Default)]
pub struct SecretData(pub BTreeMap<String, ByteString>);

impl std::fmt::Debug for SecretData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<redacted>")
    }
}

impl Applied {
    fn to(secret: &Secret) -> Self {
        let managed = secret.metadata.managed_fields.iter().flatten();
        let (ours, others): (Vec<_>, Vec<_>) = managed.partition(|entry| {
            entry.manager.as_deref() == Some(FIELD_MANAGER)
                && entry.operation.as_deref() == Some("Apply")
        });
        let sets_type = |entry: &&ManagedFieldsEntry| {
            entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:type"].is_object())
        };
        let made = ours.iter().any(sets_type) && !others.iter().any(sets_type);
        let mut applied = Self { made, ..Self::default() };
        for entry in ours {
            applied.at = applied.at.max(entry.time.as_ref().map(|time| time.0));
            let Some(fields) = &entry.fields_v1 else { continue };
            let metadata = &fields.0["f:metadata"];
            applied.labels.extend(field_names(&metadata["f:labels"]));
            applied.annotations.extend(field_names(&metadata["f:annotations"]));
            applied.data.extend(field_names(&fields.0["f:data"]));
            applied.owner |= metadata["f:ownerReferences"].is_object();
        }
        applied
    }
}

fn other_writer(secret: &Secret) -> Option<String> {
    let managed = secret.metadata.managed_fields.iter().flatten();
    let others = managed.filter(|entry| entry.manager.as_deref() != Some(FIELD_MANAGER));
    others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?.manager.clone()
}

fn field_names(fields: &serde_json::Value) -> impl Iterator<Item = String> {
    let names = fields.as_object().into_iter().flat_map(serde_json::Map::keys);
    names.filter_map(|name| name.strip_prefix("f:")).map(str::to_owned)
}

/// What a Secret holds.
#[derive(Clone, Debug)]
pub enum Contents {
    /// These keys are missing, or empty.
    Missing(Vec<&'static str>),
    /// The private key cannot be read.
    BadKey(String),
    /// The certificate cannot be read.
    BadCertificate(String),
    /// A certificate and a private key, which may or may not belong together.
    Pair(Box<Pair>),
}

/// A certificate and a private key.
#[derive(Clone, Debug)]
pub struct Pair {
    /// What the certificate says.
    pub leaf: CertificateFacts,
    /// The key.
    pub key: Arc<PrivateKey>,
}

impl Stored {
    /// Reads a Secret.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        Self {
            version: secret.resource_version(),
            uid: secret.uid(),
            type_: secret.type_.clone(),
            is_immutable: secret.immutable == Some(true),
            controller: secret
                .owner_references()
                .iter()
                .find(|owner| owner.controller == Some(true))
                .map(|owner| owner.uid.clone()),
            annotations: secret.annotations().clone(),
            labels: secret.labels().clone(),
            owners: secret.owner_references().iter().map(|owner| owner.uid.clone()).collect(),
            applied: Applied::to(secret),
            managers: secret.managed_fields().iter().filter_map(|it| it.manager.clone()).collect(),
            other_writer: other_writer(secret),
            contents: contents_of(secret),
            data: SecretData(secret.data.clone().unwrap_or_default()),
        }
    }

    /// The private key, whatever else is missing or broken; `None` where there is none.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn key(&self) -> Result<Option<Arc<PrivateKey>>, KeyError> {
        if let Some(pair) = self.pair() {
            return Ok(Some(pair.key.clone()));
        }
        let text = self.data.0.get(names::TLS_KEY).filter(|text| !text.0.is_empty());
        text.map(|text| PrivateKey::from_pem(&text.0).map(Arc::new)).transpose()
    }

    /// Which authority signed its certificate, where that can be told.
    #[must_use]
    pub fn signed_by(&self) -> Option<String> {
        let text = |key: &str| self.data.0.get(key).map(|bytes| bytes.0.as_slice());
        fingerprint_of(text(names::TLS_CRT)?, text(names::CA_CRT))
    }

    /// The pair, where there is one.
    #[must_use]
    pub fn pair(&self) -> Option<&Pair> {
        match &self.contents {
            Contents::Pair(pair) => Some(pair),
            _ => None,
        }
    }
}

fn contents_of(secret: &Secret) -> Contents {
    let value = |key: &str| {
        secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice())
    };
    let missing: Vec<_> = [names::TLS_CRT, names::TLS_KEY]
        .into_iter()
        .filter(|key| value(key).is_none_or(<[u8]>::is_empty))
        .collect();
    if !missing.is_empty() {
        return Contents::Missing(missing);
    }
    let key = match PrivateKey::from_pem(value(names::TLS_KEY).unwrap_or_default()) {
        Ok(key) => Arc::new(key),
        Err(error) => return Contents::BadKey(crate::story::story(&error)),
    };
    match CertificateFacts::from_pem(value(names::TLS_CRT).unwrap_or_default()) {
        Ok(leaf) => Contents::Pair(Box::new(Pair { leaf, key })),
        Err(error) => Contents::BadCertificate(crate::story::story(&error)),
    }
}
