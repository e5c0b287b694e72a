//! Applies the identity Certificate of a pod's service account where it is not there yet.

use std::sync::Arc;
use std::time::Duration;

use countersign_contract::identity::InvalidIdentity;
use countersign_contract::names;
use countersign_crds::Certificate;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tracing::{info, instrument, warn};

use super::desired;
use crate::context::{Context, FIELD_MANAGER};
use crate::inject;
use crate::kept::MeshPod;
use crate::metrics::ReasonLabels;

/// How soon a pod is looked at again whose account has no identity: a pod that was just made soon, one
/// whose account is long gone ever more seldom.
const RECHECK: Duration = Duration::from_secs(5);

/// However long it waited.
const LONGEST_RECHECK: Duration = Duration::from_secs(300);

/// An identity could not be asked for.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum Error {
    #[error(transparent)]
    Identity(#[from] InvalidIdentity),
    #[error("reading {account}")]
    ReadAccount {
        account: ObjectRef<ServiceAccount>,
        #[source]
        source: kube::Error,
    },
    #[error("applying {certificate}")]
    Apply {
        certificate: ObjectRef<Certificate>,
        #[source]
        source: kube::Error,
    },
}

/// Sees to the identity of one pod's service account.
///
/// # Errors
/// When the API server cannot be read or written.
#[instrument(skip_all, fields(pod = %ObjectRef::from_obj(&*pod)))]
pub async fn reconcile(pod: Arc<MeshPod>, context: Arc<Context>) -> Result<Action, Error> {
    if is_over(&pod) {
        return Ok(Action::await_change());
    }
    inject::tell(&context, &pod);
    let namespace = pod.namespace().unwrap_or_default();
    // Whoever could have an identity `root` made there would have the authority's own Secret
    // written over; nothing is injected there anyway.
    if namespace == context.settings.cluster_resource_namespace {
        return Ok(Action::await_change());
    }
    ensure(&context, &namespace, &pod.service_account).await?;
    let identity = names::identity_name(&pod.service_account);
    let is_there = context.seen.certificates.get(&ObjectRef::new(&identity).within(&namespace));
    // Its account is not there yet, which is not watched, or the watch is late.
    let wait = || recheck_after(&pod, context.clock.now());
    Ok(is_there.map_or_else(|| Action::requeue(wait()), |_| Action::await_change()))
}

/// A tenth of the pod's age.
fn recheck_after(pod: &MeshPod, now: Timestamp) -> Duration {
    let made = pod.meta().creation_timestamp.as_ref().map(|made| made.0);
    let age = made.map(|made| now.duration_since(made)).unwrap_or_default();
    Duration::try_from(age / 10).unwrap_or_default().clamp(RECHECK, LONGEST_RECHECK)
}

/// A pod that ended, or is being deleted, needs no identity and gives none a name.
pub(crate) fn is_over(pod: &MeshPod) -> bool {
    pod.meta().deletion_timestamp.is_some() || pod.has_ended
}

/// Sees to the identity of a service account.
///
/// # Errors
/// When the API server cannot be read or written.
pub async fn ensure(context: &Context, namespace: &str, account: &str) -> Result<(), Error> {
    let identity = ObjectRef::new(&names::identity_name(account)).within(namespace);
    let found = context.seen.certificates.get(&identity);
    // Names cost most, and are not looked for where there is nobody whom they are for.
    let mut owned_by = None;
    if found.is_none() {
        owned_by = owner(context, namespace, account).await?;
        if owned_by.is_none() {
            return Ok(());
        }
    }
    let dns_names = service_names(context, namespace, account);
    let mut wanted = desired::certificate(&context.settings, namespace, account, dns_names)?;
    let key = ObjectRef::from_obj(&wanted);
    let found = context.seen.certificates.get(&key);
    if found.as_ref().is_some_and(|found| desired::is_as_wanted(found, &wanted)) {
        return Ok(());
    }
    if owned_by.is_none() {
        owned_by = owner(context, namespace, account).await?;
    }
    let Some(owner) = owned_by else { return Ok(()) };
    wanted.metadata.owner_references = Some(vec![owner]);
    info!(namespace, account, names = ?wanted.spec.dns_names, "identity wanted");
    let api: Api<Certificate> = Api::namespaced(context.client.clone(), namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let failed = |source| Error::Apply { certificate: key.clone(), source };
    let name = wanted.name_any();
    let applied = api.patch(&name, &parameters, &Patch::Apply(&wanted)).await.map_err(failed)?;
    // What others added stays when we apply ours.
    if let Some(rest) = desired::without_additions(&applied.spec, &wanted.spec) {
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(&name, &parameters, &Patch::Merge(rest)).await.map_err(failed)?;
    }
    Ok(())
}

/// The names of the Services that select a pod of an account.
pub(crate) fn service_names(context: &Context, namespace: &str, account: &str) -> Vec<String> {
    let pods = context.seen.pods.state_filter(|pod| {
        pod.is_in(namespace) && *pod.service_account == *account && !is_over(pod)
    });
    let services = context.seen.services.state_filter(|service| service.is_in(namespace));
    desired::dns_names(
        &context.settings.cluster_domain,
        namespace,
        pods.iter().map(AsRef::as_ref),
        services.iter().map(AsRef::as_ref),
    )
}

/// An identity goes when its account goes; an account that is gone gets none.
async fn owner(
    context: &Context,
    namespace: &str,
    account: &str,
) -> Result<Option<OwnerReference>, Error> {
    let api: Api<PartialObjectMeta<ServiceAccount>> =
        Api::namespaced(context.client.clone(), namespace);
    let found = api.get_opt(account).await.map_err(|source| Error::ReadAccount {
        account: ObjectRef::new(account).within(namespace),
        source,
    })?;
    Ok(found.and_then(|account| account.uid()).map(|uid| OwnerReference {
        api_version: ServiceAccount::api_version(&()).into_owned(),
        kind: ServiceAccount::kind(&()).into_owned(),
        name: account.to_owned(),
        uid,
        ..OwnerReference::default()
    }))
}

/// The selector of the pods that are watched.
#[must_use]
pub fn injected() -> String {
    format!("{}=true", names::INJECTED_LABEL)
}

/// After an error of the API server's, a little later.
#[must_use]
pub fn error_policy(_: Arc<MeshPod>, error: &Error, context: Arc<Context>) -> Action {
    let reason = "IdentityError";
    let cause = crate::story::cause(error);
    warn!(reason, %error, cause, "reconciliation failed");
    context.metrics.reconcile_errors.get_or_create(&ReasonLabels { reason }).inc();
    Action::requeue(crate::retry::after(error, Duration::from_secs(3)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_whose_account_is_long_gone_are_looked_at_ever_more_seldom() {
        let made = "2026-01-01T00:00:00Z";
        let now: Timestamp = made.parse().unwrap();
        let metadata = json!({ "name": "web-0", "creationTimestamp": made });
        let pod: MeshPod = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        for (age, expected) in [(-60, 5), (0, 5), (40, 5), (600, 60), (86_400, 300)] {
            let later = Timestamp::from_second(now.as_second() + age).unwrap();
            assert_eq!(recheck_after(&pod, later), Duration::from_secs(expected), "{age}");
        }
        assert_eq!(recheck_after(&MeshPod::default(), now), RECHECK);
    }
}
