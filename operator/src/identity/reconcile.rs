//! Applies the identity Certificate of a pod's service account where it is not there yet.

use std::sync::Arc;
use std::time::Duration;

use countersign_contract::identity::InvalidIdentity;
use countersign_contract::names;
use countersign_crds::Certificate;
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

/// How soon a pod is looked at again whose account has no identity.
const RECHECK: Duration = Duration::from_secs(5);

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
    Ok(is_there.map_or(Action::requeue(RECHECK), |_| Action::await_change()))
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
    let dns_names = service_names(context, namespace, account);
    let mut wanted = desired::certificate(&context.settings, namespace, account, dns_names)?;
    let key = ObjectRef::from_obj(&wanted);
    let found = context.seen.certificates.get(&key);
    if found.as_ref().is_some_and(|found| desired::is_as_wanted(found, &wanted)) {
        return Ok(());
    }
    let Some(owner) = owner(context, namespace, account).await? else { return Ok(()) };
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
