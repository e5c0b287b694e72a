//! Says on an issuer's status whether it can sign.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use countersign_crds::{
    ClusterIssuer, Condition, ConditionStatus, Issuer, IssuerSpec, IssuerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::{info, instrument, warn};

use super::authority::{self, AuthorityUnavailable};
use crate::context::{Context, FIELD_MANAGER};
use crate::metrics::ReasonLabels;

/// A user's own Secret carries no label of ours by which it could be watched, so that an issuer
/// looks at it again by itself: often while it cannot sign, seldom while it can.
const RECHECK_UNREADY: Duration = Duration::from_secs(3);
const RECHECK_READY: Duration = Duration::from_secs(60);

/// What `Issuer` and `ClusterIssuer` have in common.
pub trait AnyIssuer:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// Its spec.
    fn common_spec(&self) -> IssuerSpec;
    /// Its status.
    fn common_status(&self) -> Option<&IssuerStatus>;
    /// Where its Secret is.
    fn authority_namespace(&self, context: &Context) -> String;
    /// Where it is itself.
    fn api(&self, context: &Context) -> Api<Self>;
}

impl AnyIssuer for Issuer {
    fn common_spec(&self) -> IssuerSpec {
        self.spec.clone()
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
}

impl AnyIssuer for ClusterIssuer {
    fn common_spec(&self) -> IssuerSpec {
        self.spec.clone().into()
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
    let spec = issuer.common_spec();
    let looked = match &spec.ca {
        Some(ca) => {
            let namespace = issuer.authority_namespace(&context);
            authority::load(&context, &namespace, &ca.secret_name).await.map(|_| true)
        }
        None => Ok(false),
    };
    let condition = ready(&*issuer, &looked, Time(context.clock.now()));
    write(&context, &*issuer, condition).await?;
    let wait = match looked {
        Ok(true) => RECHECK_READY,
        Ok(false) => return Ok(Action::await_change()),
        Err(_) => RECHECK_UNREADY,
    };
    Ok(Action::requeue(wait))
}

/// The condition Ready; pure.
fn ready<K: AnyIssuer>(
    issuer: &K,
    looked: &Result<bool, AuthorityUnavailable>,
    now: Time,
) -> Condition {
    let (status, reason, message) = match looked {
        Ok(true) => (ConditionStatus::True, "KeyPairVerified", "Signing CA verified".to_owned()),
        Ok(false) => {
            (ConditionStatus::True, "IsReady", "Signs each certificate with its own key".to_owned())
        }
        Err(error) => (ConditionStatus::False, error.reason(), error.to_string()),
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

async fn write<K: AnyIssuer>(context: &Context, issuer: &K, ready: Condition) -> Result<(), Error> {
    let before = issuer.common_status().into_iter().flat_map(|status| &status.conditions);
    if before.clone().any(|condition| *condition == ready) {
        return Ok(());
    }
    // What others say about it stays.
    let others = before.filter(|condition| condition.type_ != ready.type_);
    let conditions: Vec<&Condition> = std::iter::once(&ready).chain(others).collect();
    let patch = json!({ "status": { "conditions": conditions } });
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let written = issuer
        .api(context)
        .patch_status(&issuer.name_any(), &parameters, &Patch::Merge(&patch))
        .await;
    written.map_err(|source| Error { issuer: ObjectRef::from_obj(issuer).to_string(), source })?;
    let (reason, message) = (ready.reason.unwrap_or_default(), ready.message.unwrap_or_default());
    if ready.status == ConditionStatus::True {
        info!(reason, "issuer is ready");
        context.events.normal(issuer, &reason, message);
    } else {
        warn!(reason, message, "issuer is not ready");
        context.events.warning(issuer, &reason, message);
    }
    Ok(())
}

/// After an error of the API server's, a little later.
#[must_use]
pub fn error_policy<K: AnyIssuer>(_: Arc<K>, error: &Error, context: Arc<Context>) -> Action {
    let reason = "WriteIssuerStatusError";
    warn!(reason, %error, "reconciliation failed");
    context.metrics.reconcile_errors.get_or_create(&ReasonLabels { reason }).inc();
    Action::requeue(Duration::from_secs(5))
}

#[cfg(test)]
mod tests;
