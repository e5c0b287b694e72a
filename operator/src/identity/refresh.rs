//! Tells the kubelet of pods whose credentials were renewed.

use countersign_contract::names;
use countersign_crds::Certificate;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use serde_json::json;
use tracing::debug;

use crate::context::{Context, FIELD_MANAGER};
use crate::kept::MeshPod;

/// A pod could not be touched.
#[derive(Debug, thiserror::Error)]
#[error("annotating {pod}")]
pub struct Error {
    pod: ObjectRef<MeshPod>,
    #[source]
    source: kube::Error,
}

/// After an identity was renewed, changes an annotation of the pods that use it: the kubelet looks
/// at the volumes of a pod that changed at once, and at those of others only every minute or so.
/// The annotation is written through the status, which is the lesser right: whoever may only write
/// that can change no container.
///
/// # Errors
/// When a pod could not be written.
pub async fn refresh_pods(context: &Context, certificate: &Certificate) -> Result<(), Error> {
    let account = certificate.annotations().get(names::SERVICE_ACCOUNT_ANNOTATION);
    let is_identity = certificate.labels().contains_key(names::IDENTITY_LABEL);
    let Some(account) = account.filter(|_| is_identity) else { return Ok(()) };
    let revision = certificate.status.as_ref().and_then(|status| status.revision).unwrap_or(0);
    let namespace = certificate.namespace().unwrap_or_default();
    let pods = context
        .seen
        .pods
        .state_filter(|pod| pod.is_in(&namespace) && *pod.service_account == **account);
    for pod in pods {
        touch(context, &pod, revision + 1).await?;
    }
    Ok(())
}

async fn touch(context: &Context, pod: &MeshPod, revision: i64) -> Result<(), Error> {
    let api: Api<Pod> =
        Api::namespaced(context.client.clone(), &pod.namespace().unwrap_or_default());
    let annotations = json!({ names::CREDENTIALS_REVISION_ANNOTATION: revision.to_string() });
    let patch = json!({ "metadata": { "annotations": annotations } });
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch_status(&pod.name_any(), &parameters, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            debug!(pod = pod.name_any(), "pod is gone meanwhile");
            Ok(())
        }
        Err(source) => Err(Error { pod: ObjectRef::from_obj(pod), source }),
    }
}
