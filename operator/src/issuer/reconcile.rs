//! Says on an issuer's status whether it can sign.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use countersign_crds::{
    ClusterIssuer, Condition, ConditionStatus, Issuer, IssuerSpec, IssuerStatus,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::{info, instrument, warn};

use super::authority::{self, AuthorityUnavailable};
use crate::context::{Context, FIELD_MANAGER, Settings};
use crate::metrics::ReasonLabels;
use crate::pki::Authority;
use crate::story::story;
use crate::watch::OwnWrites;

/// A Secret of which no watch tells (there are very many issuers, or the issuer is new) is looked at
/// again by time: often while it cannot sign, seldom while it can.
const RECHECK_UNREADY: Duration = Duration::from_secs(3);
const RECHECK_READY: Duration = Duration::from_secs(60);

/// How often a Secret is read that is followed, in case that a watch was silent.
const RECHECK_FOLLOWED: Duration = Duration::from_secs(600);

/// What `Issuer` and `ClusterIssuer` have in common.
pub trait AnyIssuer:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// Its spec.
    fn common_spec(&self) -> IssuerSpec;
    /// The Secret of its authority, where it has one.
    fn authority_secret(&self) -> Option<&str>;
    /// Its status.
    fn common_status(&self) -> Option<&IssuerStatus>;
    /// Where its Secret is.
    fn authority_namespace(&self, context: &Context) -> String;
    /// Where it is itself.
    fn api(&self, context: &Context) -> Api<Self>;
    /// What we wrote of its kind a moment ago.
    fn own_writes(context: &Context) -> &OwnWrites<Self>;
}

impl AnyIssuer for Issuer {
    fn common_spec(&self) -> IssuerSpec {
        self.spec.clone()
    }
    fn authority_secret(&self) -> Option<&str> {
        self.spec.ca.as_ref().map(|ca| ca.secret_name.as_str())
    }
    fn common_status(&self) -> Option<&IssuerStatus> {
        self.status.as_ref()
    }
    fn authority_namespace(&self, _: &Context) -> String {
        self.namespace().unwrap_or_default()
    }
    fn api(&self, context: &Context) -> Api<Self> {
        Api::namespaced(context.client.clone(), &self.namespace().unwrap_or_default())
    }
    fn own_writes(context: &Context) -> &OwnWrites<Self> {
        &context.seen.own_issuers
    }
}

impl AnyIssuer for ClusterIssuer {
    fn common_spec(&self) -> IssuerSpec {
        self.spec.clone().into()
    }
    fn authority_secret(&self) -> Option<&str> {
        self.spec.ca.as_ref().map(|ca| ca.secret_name.as_str())
    }
    fn common_status(&self) -> Option<&IssuerStatus> {
        self.status.as_ref()
    }
    fn authority_namespace(&self, context: &Context) -> String {
        context.settings.cluster_resource_namespace.clone()
    }
    fn api(&self, context: &Context) -> Api<Self> {
        Api::all(context.client.clone())
    }
    fn own_writes(context: &Context) -> &OwnWrites<Self> {
        &context.seen.own_cluster_issuers
    }
}

/// An issuer's status could not be written.
#[derive(Debug, thiserror::Error)]
#[error("writing the status of {issuer}")]
pub struct Error {
    issuer: String,
    #[source]
    source: kube::Error,
}

/// Brings the status of one issuer to what it should be.
///
/// # Errors
/// When the API server cannot be written.
#[instrument(skip_all, fields(issuer = %ObjectRef::from_obj(&*issuer)))]
pub async fn reconcile<K: AnyIssuer>(
    issuer: Arc<K>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    if issuer.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let issuer = K::own_writes(&context).newest(issuer);
    let secret = issuer
        .authority_secret()
        .map(|name| (issuer.authority_namespace(&context), name.to_owned()));
    let looked = match &secret {
        Some(secret) => authority::read(&context, secret).await.map(Some),
        None => Ok(None),
    };
    let looked = looked.and_then(|authority| {
        let identities = secret.as_ref().zip(authority.as_deref());
        let identities = identities.filter(|_| signs_identities(&*issuer, &context.settings));
        identities.map_or(Ok(()), |(secret, authority)| {
            authority::verifiable(&context, secret, authority)
        })?;
        Ok(authority)
    });
    let now = context.clock.now();
    let ca_chain = chain(&*issuer, &looked, &context.settings);
    let status = IssuerStatus { ca_chain, ..next(&*issuer, &looked, now) };
    write(&context, &*issuer, status).await?;
    let is_followed = secret.is_some_and(|secret| context.seen.follows(&secret));
    Ok(wait(&looked, is_followed, now).map_or_else(Action::await_change, Action::requeue))
}

/// What was found: an authority, or none where none is needed.
type Looked = Result<Option<Arc<Authority>>, AuthorityUnavailable>;

/// When to look again, if nothing happens before; pure.
fn wait(looked: &Looked, is_followed: bool, now: Timestamp) -> Option<Duration> {
    match looked {
        Ok(None) => None,
        Err(_) if is_followed => Some(RECHECK_FOLLOWED),
        Err(_) => Some(RECHECK_UNREADY),
        Ok(Some(authority)) => {
            let longest = if is_followed { RECHECK_FOLLOWED } else { RECHECK_READY };
            let left = Duration::try_from(authority.not_after().duration_since(now));
            Some(left.unwrap_or_default().clamp(Duration::from_secs(1), longest))
        }
    }
}

/// The status that an issuer should now have; pure.
fn next<K: AnyIssuer>(issuer: &K, looked: &Looked, now: Timestamp) -> IssuerStatus {
    let before = issuer.common_status().cloned().unwrap_or_default();
    // What others say about it stays.
    let others = before.conditions.iter().filter(|condition| condition.type_ != "Ready").cloned();
    let conditions = std::iter::once(ready(issuer, looked, Time(now))).chain(others).collect();
    match looked {
        Ok(Some(authority)) => {
            let fingerprint = Some(authority.fingerprint());
            let is_same = before.authority == fingerprint;
            IssuerStatus {
                conditions,
                authority: fingerprint,
                authority_since: before.authority_since.filter(|_| is_same).or(Some(Time(now))),
                not_after: Some(Time(authority.not_after())),
                ca_chain: None,
            }
        }
        Ok(None) => IssuerStatus { conditions, ..IssuerStatus::default() },
        // What signed last is still told, so that the same is known again when it comes back.
        Err(_) => IssuerStatus { conditions, ..before },
    }
}

fn signs_identities<K: AnyIssuer>(issuer: &K, settings: &Settings) -> bool {
    K::kind(&()) == ClusterIssuer::kind(&()) && issuer.name_any() == settings.identity_issuer
}

/// The chain that is published: only of the issuers whose certificates sidecars tell apart; pure. What
/// signed last is still told where nothing can be read.
fn chain<K: AnyIssuer>(issuer: &K, looked: &Looked, settings: &Settings) -> Option<String> {
    let is_of_devices = K::kind(&()) == ClusterIssuer::kind(&())
        && settings.device_issuer == Some(issuer.name_any());
    let is_told = is_of_devices || signs_identities(issuer, settings);
    match looked {
        Ok(Some(authority)) if is_told => Some(authority.chain_pem()),
        Err(_) if is_told => issuer.common_status()?.ca_chain.clone(),
        _ => None,
    }
}

/// The condition Ready; pure.
fn ready<K: AnyIssuer>(issuer: &K, looked: &Looked, now: Time) -> Condition {
    let (status, reason, message) = match looked {
        Ok(Some(authority)) => (ConditionStatus::True, "KeyPairVerified", verified(authority)),
        Ok(None) => {
            (ConditionStatus::True, "IsReady", "Signs each certificate with its own key".to_owned())
        }
        Err(error) => (ConditionStatus::False, error.reason(), story(error)),
    };
    let before = issuer.common_status().into_iter().flat_map(|status| &status.conditions);
    let before = before.into_iter().find(|c| c.type_ == "Ready" && c.status == status);
    Condition {
        type_: "Ready".to_owned(),
        status,
        last_transition_time: before.and_then(|c| c.last_transition_time.clone()).or(Some(now)),
        reason: Some(reason.to_owned()),
        message: Some(message),
        observed_generation: issuer.meta().generation,
    }
}

/// That it can sign, and what it left alone although it could not be read.
fn verified(authority: &Authority) -> String {
    let verified = "Signing CA verified";
    match authority.unread_roots() {
        Some(error) => format!("{verified}; ca.crt is not needed and not used: {}", story(error)),
        None => verified.to_owned(),
    }
}

async fn write<K: AnyIssuer>(
    context: &Context,
    issuer: &K,
    status: IssuerStatus,
) -> Result<(), Error> {
    if issuer.common_status() == Some(&status) {
        return Ok(());
    }
    // Every field, since a merge takes away only what is said to be null.
    let patch = json!({ "status": {
        "conditions": status.conditions,
        "authority": status.authority,
        "authoritySince": status.authority_since,
        "notAfter": status.not_after,
        "caChain": status.ca_chain,
    } });
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let written = issuer
        .api(context)
        .patch_status(&issuer.name_any(), &parameters, &Patch::Merge(&patch))
        .await;
    let failed = |source| Error { issuer: ObjectRef::from_obj(issuer).to_string(), source };
    K::own_writes(context).note(written.map_err(failed)?);
    tell(context, issuer, &status);
    Ok(())
}

/// Tells what is new.
fn tell<K: AnyIssuer>(context: &Context, issuer: &K, status: &IssuerStatus) {
    let before = issuer.common_status();
    let replaced = before
        .is_some_and(|before| before.authority.is_some() && before.authority != status.authority);
    if replaced {
        let note = "The authority was replaced: what the one before signed is issued again";
        info!(authority = status.authority, "the authority was replaced");
        context.events.normal(issuer, "AuthorityReplaced", note.to_owned());
    }
    let Some(ready) = status.conditions.first() else { return };
    if before.is_some_and(|before| before.conditions.contains(ready)) {
        return;
    }
    let reason = ready.reason.clone().unwrap_or_default();
    let message = ready.message.clone().unwrap_or_default();
    if ready.status == ConditionStatus::True {
        info!(reason, "issuer is ready");
        context.events.normal(issuer, &reason, message);
    } else {
        warn!(reason, message, "issuer is not ready");
        context.events.warning(issuer, &reason, message);
    }
}

/// After an error of the API server's, a little later.
#[must_use]
pub fn error_policy<K: AnyIssuer>(_: Arc<K>, error: &Error, context: Arc<Context>) -> Action {
    let reason = "WriteIssuerStatusError";
    warn!(reason, error = story(error), "reconciliation failed");
    context.metrics.reconcile_errors.get_or_create(&ReasonLabels { reason }).inc();
    Action::requeue(crate::retry::after(error, Duration::from_secs(5)))
}

#[cfg(test)]
mod tests;
