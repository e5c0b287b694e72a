//! Reads what a decision needs: the Secret from the API, the rest from the watches.

use std::sync::Arc;

use countersign_contract::names::IDENTITY_PREFIX;
use countersign_crds::{Certificate, CertificateRequest, Condition, ConditionStatus};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use super::ask::holds_key_of;
use super::error::Error;
use super::extras::Passwords;
use super::names;
use super::passwords::{self, PasswordMissing};
use super::reference::IssuerId;
use super::request::{Asked, digest_of};
use super::signer::Signer;
pub use super::stored::{Applied, Contents, Pair, SecretData, Stored};
use crate::context::{Context, Settings};
use crate::identity;
use crate::pki::PrivateKey;

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
    /// The Secret is one that sidecars mount as an identity, and the Certificate is not that identity.
    pub is_reserved: bool,
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

/// When the Secret is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Unless the watches know of none and it is the first issuance.
    IfKnown,
    /// In any case: one is there that the watches do not know of.
    Always,
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

impl Observed {
    /// Looks at everything that concerns a Certificate.
    ///
    /// # Errors
    /// When the Secret cannot be read.
    pub async fn of(
        context: &Context,
        certificate: Arc<Certificate>,
        look: Look,
    ) -> Result<Self, Error> {
        let namespace = certificate.namespace().unwrap_or_default();
        let secret = stored(context, &certificate, &namespace, look).await?;
        let owner = secret.as_ref().and_then(|s| s.annotations.get(names::CERTIFICATE_NAME));
        let claim = claim(&context.settings, &namespace, &certificate);
        let rival = match claim {
            Claim::Identity => None,
            Claim::Reserved | Claim::Free => {
                rival_of(context, &certificate, owner.map(String::as_str))
            }
        };
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
            is_reserved: claim == Claim::Reserved,
            passwords,
            asked,
            was_asked,
            signer,
            repairs,
        })
    }
}

/// The right of a Certificate to the Secret that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// It is the identity that the Secret is named after: no other Certificate has a claim to it.
    Identity,
    /// The Secret is the identity of a service account, or may become it.
    Reserved,
    /// As the Certificates that name the Secret agree among themselves.
    Free,
}

/// A sidecar takes its roots from the Secret of its identity, so only the identity's own issuer may fill it.
/// Nothing mounts identities in the operator's namespace, which has the Secrets of its CAs.
fn claim(settings: &Settings, namespace: &str, certificate: &Certificate) -> Claim {
    if identity::is_identity(settings, namespace, certificate) {
        return Claim::Identity;
    }
    let is_ours = namespace == settings.cluster_resource_namespace;
    match certificate.spec.secret_name.starts_with(IDENTITY_PREFIX) && !is_ours {
        true => Claim::Reserved,
        false => Claim::Free,
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
    // Anybody who may make requests can say that one is for this Certificate: that with a key is ours.
    let mut asked = None;
    for request in
        made.iter().filter(|one| super::request::revision_of(certificate, one) == Some(next))
    {
        let (key, is_kept) = key_of(context, namespace, request).await?;
        let has_key = key.is_some();
        let one = Asked { request: request.clone(), key, is_kept };
        if has_key {
            return Ok((Some(one), was_asked));
        }
        asked.get_or_insert(one);
    }
    Ok((asked, was_asked))
}

/// The key of a request, and whether it is in a Secret, too.
async fn key_of(
    context: &Context,
    namespace: &str,
    request: &CertificateRequest,
) -> Result<(Option<Arc<PrivateKey>>, bool), Error> {
    let name = request.name_any();
    if let Some(pending) = context.pending_keys.of(namespace, &name) {
        return Ok((Some(pending.key), pending.is_kept));
    }
    let secret = (namespace.to_owned(), super::request::key_secret_name(&name));
    if !context.seen.secrets.knows(&secret) {
        return Ok((None, false));
    }
    let kept = kept_key(context, namespace, request).await?;
    let is_kept = kept.is_some();
    Ok((kept, is_kept))
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
    let its = secret.filter(|secret| holds_key_of(&secret.metadata, request));
    let text = its.and_then(|secret| secret.data).and_then(|mut data| data.remove(names::TLS_KEY));
    Ok(text.and_then(|text| PrivateKey::from_pem(&text.0).ok()).map(Arc::new))
}

async fn stored(
    context: &Context,
    certificate: &Certificate,
    namespace: &str,
    look: Look,
) -> Result<Option<Stored>, Error> {
    let name = &certificate.spec.secret_name;
    if look == Look::IfKnown && is_known_to_be_new(context, certificate, namespace) {
        return Ok(None);
    }
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let secret = secrets.get_opt(name).await.map_err(|source| Error::ReadSecret {
        secret: Box::new(ObjectRef::new(name).within(namespace)),
        source,
    })?;
    Ok(secret.map(|secret| Stored::of(&secret)))
}

/// The first issuance need not look for a Secret: there is none of ours, and the write fails where
/// another one is there.
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
