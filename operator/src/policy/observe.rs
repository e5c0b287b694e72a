//! What is known of a namespace; it costs no request.

use std::sync::Arc;

use countersign_contract::names::INJECT_LABEL;
use countersign_crds::AccessPolicy;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;

use super::compiled::Compiled;
use super::documents::policies_of;
use crate::context::Context;
use crate::identity::is_over;
use crate::kept::MeshPod;
use crate::watch::Found;

/// What is known of a namespace.
pub(super) struct Observed {
    pub(super) namespace: String,
    pub(super) policies: Vec<Arc<AccessPolicy>>,
    /// Those that run, and have a sidecar.
    pub(super) pods: Vec<Arc<MeshPod>>,
    pub(super) compiled: Compiled,
    pub(super) published: Option<Found>,
    /// Whether it is the operator's own.
    pub(super) is_home: bool,
    /// Whether its pods get the sidecar.
    pub(super) is_labelled: bool,
}

impl Observed {
    /// Whether the policies changed since: what is done for those before need not be done.
    pub(super) fn is_outdated(&self, context: &Context) -> bool {
        context.documents.compiled_of(&self.namespace).digest != self.compiled.digest
    }
}

pub(super) fn observe(context: &Context, namespace: &PartialObjectMeta<Namespace>) -> Observed {
    let name = namespace.name_any();
    let is_here = |pod: &MeshPod| pod.is_in(&name) && !is_over(pod);
    // What the policies are is read before what they were compiled to: what comes between is looked
    // at again.
    Observed {
        policies: policies_of(&context.seen.access_policies, &name),
        pods: context.seen.pods.state_filter(is_here),
        compiled: context.documents.compiled_of(&name),
        published: context.seen.published.of(&name),
        is_home: name == context.settings.cluster_resource_namespace,
        is_labelled: namespace.labels().get(INJECT_LABEL).is_some_and(|value| value == "enabled"),
        namespace: name,
    }
}
