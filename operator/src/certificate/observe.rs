//! Reads what a decision needs: the Secret from the API, the rest from the watches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_crds::{Certificate, CertificateRequest, Condition, ConditionStatus};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use super::error::Error;
use super::extras::Passwords;
use super::names;
use super::passwords::{self, PasswordMissing};
use super::reference::IssuerId;
use super::request::{Asked, digest_of};
use super::signer::Signer;
use crate::context::{Context, FIELD_MANAGER};
use crate::pki::{CertificateFacts, PrivateKey, fingerprint_of};

/// All that a decision about a Certificate rests on.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Certificate.
    pub certificate: Arc<Certificate>,
    /// Its Secret, if there is one.
    pub secret: Option<Stored>,
    /// The issuer that it names.
    pub issuer: IssuerState,
    /// Another Certificate that names the same Secret, and came first.
    pub rival: Option<String>,
    /// The passwords of its key stores.
    pub passwords: Result<Passwords, PasswordMissing>,
    /// The request for its next revision, where one was made.
    pub asked: Option<Asked>,
    /// The digest of what was asked for in the revision that it has, where that is known.
    pub was_asked: Option<String>,
    /// The authority that its issuer signs with now, where it has one.
    pub signer: Option<Signer>,
    /// When its Secret was put right of late.
    pub repairs: Vec<Timestamp>,
}

/// Whether the issuer can sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerState {
    /// It can.
    Ready,
    /// It can, once somebody has approved.
    NeedsApproval,
    /// There is none of that name.
    Missing,
    /// It cannot, and says why.
    NotReady(String),
    /// It is not one of ours: somebody else must sign.
    Foreign,
    /// The Certificate names none, and there is no default.
    Nobody,
}

/// A Secret as it was found.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its version.
    pub version: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The unique ids of the objects with which it goes.
    pub owners: BTreeSet<String>,
    /// What of it the operator applied.
    pub applied: Applied,
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
        let ours = managed.filter(|entry| {
            entry.manager.as_deref() == Some(FIELD_MANAGER)
                && entry.operation.as_deref() == Some("Apply")
        });
        let mut applied = Self::default();
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
            annotations: secret.annotations().clone(),
            labels: secret.labels().clone(),
            owners: secret.owner_references().iter().map(|owner| owner.uid.clone()).collect(),
            applied: Applied::to(secret),
            other_writer: other_writer(secret),
            contents: contents_of(secret),
            data: SecretData(secret.data.clone().unwrap_or_default()),
        }
    }

    /// The private key, whatever else is missing or broken.
    #[must_use]
    pub fn key(&self) -> Option<Arc<PrivateKey>> {
        if let Some(pair) = self.pair() {
            return Some(pair.key.clone());
        }
        let text = self.data.0.get(names::TLS_KEY)?;
        PrivateKey::from_pem(&text.0).ok().map(Arc::new)
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
        Err(error) => return Contents::BadKey(error.to_string()),
    };
    match CertificateFacts::from_pem(value(names::TLS_CRT).unwrap_or_default()) {
        Ok(leaf) => Contents::Pair(Box::new(Pair { leaf, key })),
        Err(error) => Contents::BadCertificate(error.to_string()),
    }
}

impl Observed {
    /// Looks at everything that concerns a Certificate.
    ///
    /// # Errors
    /// When the Secret cannot be read.
    pub async fn of(context: &Context, certificate: Arc<Certificate>) -> Result<Self, Error> {
        let namespace = certificate.namespace().unwrap_or_default();
        let secret = stored(context, &certificate, &namespace).await?;
        let owner = secret.as_ref().and_then(|s| s.annotations.get(names::CERTIFICATE_NAME));
        let rival = rival_of(context, &certificate, owner.map(String::as_str));
        let rival = still_there(context, &namespace, rival).await?;
        let issuer = issuer_state(context, &certificate, &namespace);
        let passwords = passwords::read(context, &certificate).await?;
        let (asked, was_asked) = match issuer {
            IssuerState::Foreign | IssuerState::NeedsApproval => {
                requests(context, &certificate, &namespace).await?
            }
            _ => (None, None),
        };
        let signer = Signer::of(context, &certificate);
        let repairs = context.repairs.of(certificate.metadata.uid.as_deref().unwrap_or_default());
        Ok(Self {
            certificate,
            secret,
            issuer,
            rival,
            passwords,
            asked,
            was_asked,
            signer,
            repairs,
        })
    }
}

/// The request for the next revision, and what the one for this revision asked for.
async fn requests(
    context: &Context,
    certificate: &Certificate,
    namespace: &str,
) -> Result<(Option<Asked>, Option<String>), Error> {
    let made = super::request::made_for(context, certificate);
    let next = super::request::next_revision(certificate);
    let of_revision = |revision| {
        made.iter().find(|one| super::request::revision_of(certificate, one) == Some(revision))
    };
    let was_asked = of_revision(next - 1).and_then(|one| digest_of(one)).map(str::to_owned);
    let Some(request) = of_revision(next).cloned() else { return Ok((None, was_asked)) };
    let (key, is_kept) = match context.pending_keys.of(namespace, &request.name_any()) {
        Some(pending) => (Some(pending.key), pending.is_kept),
        None => {
            let kept = kept_key(context, namespace, &request).await?;
            let is_kept = kept.is_some();
            (kept, is_kept)
        }
    };
    Ok((Some(Asked { request, key, is_kept }), was_asked))
}

/// The key of a request, where it was kept for a restart.
async fn kept_key(
    context: &Context,
    namespace: &str,
    request: &CertificateRequest,
) -> Result<Option<Arc<PrivateKey>>, Error> {
    let name = super::request::key_secret_name(&request.name_any());
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let secret = secrets.get_opt(&name).await.map_err(|source| Error::ReadSecret {
        secret: Box::new(ObjectRef::new(&name).within(namespace)),
        source,
    })?;
    let its = secret.filter(|secret| {
        secret.owner_references().iter().any(|owner| Some(&owner.uid) == request.uid().as_ref())
    });
    let text = its.and_then(|secret| secret.data).and_then(|mut data| data.remove(names::TLS_KEY));
    Ok(text.and_then(|text| PrivateKey::from_pem(&text.0).ok()).map(Arc::new))
}

async fn stored(
    context: &Context,
    certificate: &Certificate,
    namespace: &str,
) -> Result<Option<Stored>, Error> {
    let name = &certificate.spec.secret_name;
    if is_known_to_be_new(context, certificate, namespace) {
        return Ok(None);
    }
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let secret = secrets.get_opt(name).await.map_err(|source| Error::ReadSecret {
        secret: Box::new(ObjectRef::new(name).within(namespace)),
        source,
    })?;
    Ok(secret.map(|secret| Stored::of(&secret)))
}

/// The first issuance need not look for a Secret: there is none of ours, and of one that somebody
/// else made nothing would be kept but what server-side apply keeps anyway.
fn is_known_to_be_new(context: &Context, certificate: &Certificate, namespace: &str) -> bool {
    let keeps_key = certificate.spec.private_key.as_ref().and_then(|key| key.rotation_policy)
        == Some(countersign_crds::RotationPolicy::Never);
    let key = (namespace.to_owned(), certificate.spec.secret_name.clone());
    certificate.status.is_none() && !keeps_key && !context.seen.secrets.knows(&key)
}

/// A watch may tell late that a rival is gone, and nothing would tell again.
async fn still_there(
    context: &Context,
    namespace: &str,
    rival: Option<String>,
) -> Result<Option<String>, Error> {
    let Some(rival) = rival else { return Ok(None) };
    let api: Api<Certificate> = Api::namespaced(context.client.clone(), namespace);
    let found = api.get_metadata_opt(&rival).await.map_err(|source| Error::ReadCertificate {
        certificate: Box::new(ObjectRef::new(&rival).within(namespace)),
        source,
    })?;
    Ok(found.filter(|one| one.metadata.deletion_timestamp.is_none()).map(|_| rival))
}

fn issuer_state(context: &Context, certificate: &Certificate, namespace: &str) -> IssuerState {
    if certificate.spec.issuer_ref.is_absent() {
        return IssuerState::Nobody;
    }
    let id = IssuerId::of(&certificate.spec.issuer_ref);
    if !id.is_ours() {
        return IssuerState::Foreign;
    }
    let found = if id.is_cluster_wide() {
        let found = context.seen.cluster_issuers.get(&ObjectRef::new(&id.name));
        found.map(|issuer| (issuer.spec.clone().into(), issuer.status.clone()))
    } else {
        let found = context.seen.issuers.get(&ObjectRef::new(&id.name).within(namespace));
        found.map(|issuer| (issuer.spec.clone(), issuer.status.clone()))
    };
    let Some((spec, status)) = found else { return IssuerState::Missing };
    let state = readiness(&status.unwrap_or_default().conditions);
    let is_free = context.settings.approves && !spec.requires_approval();
    if state == IssuerState::Ready && !is_free {
        return IssuerState::NeedsApproval;
    }
    state
}

pub(super) fn readiness(conditions: &[Condition]) -> IssuerState {
    match conditions.iter().find(|condition| condition.type_ == "Ready") {
        Some(ready) if ready.status == ConditionStatus::True => IssuerState::Ready,
        Some(ready) => IssuerState::NotReady(ready.message.clone().unwrap_or_default()),
        None => IssuerState::NotReady("it was not looked at yet".to_owned()),
    }
}

fn rival_of(context: &Context, certificate: &Certificate, owner: Option<&str>) -> Option<String> {
    let namespace = certificate.namespace().unwrap_or_default();
    let names = context.seen.claims.of(&namespace, &certificate.spec.secret_name);
    let others = names
        .iter()
        .filter_map(|name| context.seen.certificates.get(&ObjectRef::new(name).within(&namespace)));
    let rivals: Vec<_> = others.filter(|other| claims_the_same(certificate, other)).collect();
    first_of(&rivals, certificate, owner)
}

/// Whether another Certificate names the same Secret.
fn claims_the_same(certificate: &Certificate, other: &Certificate) -> bool {
    other.namespace() == certificate.namespace()
        && other.spec.secret_name == certificate.spec.secret_name
        && other.name_any() != certificate.name_any()
        && other.metadata.deletion_timestamp.is_none()
}

/// Of several Certificates that name one Secret, the one that the Secret says it belongs to keeps
/// it, or else the oldest, or else the first by name.
fn first_of(
    rivals: &[Arc<Certificate>],
    certificate: &Certificate,
    owner: Option<&str>,
) -> Option<String> {
    let age = |c: &Certificate| (c.metadata.creation_timestamp.clone().map(|t| t.0), c.name_any());
    let mine = age(certificate);
    if owner == Some(certificate.name_any().as_str()) {
        return None;
    }
    let rival = |other: &&Arc<Certificate>| match owner {
        Some(owner) if other.name_any() == owner => true,
        Some(owner) if rivals.iter().any(|one| one.name_any() == owner) => false,
        _ => age(other) < mine,
    };
    rivals.iter().find(rival).map(|other| other.name_any())
}

#[cfg(test)]
mod tests;
