//! A policy on its way to the pods: the ConfigMap, the touch, the status.

use countersign_contract::access::NamespaceDocument;
use countersign_contract::names::{INJECTED_LABEL, POLICIES_FILE, POLICY_REVISION_ANNOTATION};
use countersign_crds::AccessPolicy;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::ResourceExt;
use serde_json::json;

use crate::history::History;
use crate::scenario::Scenario;
use crate::space::Space;

/// A policy is made that selects a pod which runs.
#[derive(Clone, Copy)]
pub(crate) struct Published;

fn document(map: &ConfigMap) -> Option<NamespaceDocument> {
    serde_json::from_str(map.data.as_ref()?.get(POLICIES_FILE)?).ok()
}

/// The document, once the pod is told of it.
fn told(seen: &History) -> Option<NamespaceDocument> {
    let document = document(&seen.config_maps.named("countersign-policy")?)?;
    let pod = seen.pods.named("web")?;
    let told = pod.annotations().get(POLICY_REVISION_ANNOTATION)?;
    (*told == document.revision).then_some(document)
}

/// Whether all is written that the identity of the pod takes, for want of an issuer.
fn has_its_identity(seen: &History) -> bool {
    let identity = seen.certificates.named("countersign-default");
    let conditions = identity.and_then(|identity| Some(identity.status?.conditions));
    conditions.is_some_and(|conditions| conditions.iter().any(|it| it.type_ == "Ready"))
}

fn selects_one(policy: &AccessPolicy) -> bool {
    policy.status.as_ref().is_some_and(|status| status.selected_pods == 1)
}

impl Scenario for Published {
    async fn prepare(self, space: &Space) {
        space.make::<ServiceAccount>("default", json!({})).await;
        let spec = json!({
            "automountServiceAccountToken": false,
            "containers": [{ "name": "app", "image": "example.org/app" }],
        });
        let labels = json!({ INJECTED_LABEL: "true" });
        let pod = json!({ "metadata": { "labels": labels }, "spec": spec });
        space.make::<Pod>("web", pod).await;
        space.history.until(|seen| told(seen).is_some() && has_its_identity(seen)).await;
    }

    async fn begin(self, space: &Space) {
        space.make::<AccessPolicy>("web", json!({ "spec": { "allow": [{}] } })).await;
    }

    fn is_done(self, seen: &History) -> bool {
        let is_told = told(seen).is_some_and(|document| document.policies.len() == 1);
        is_told && seen.policies.named("web").as_ref().is_some_and(selects_one)
    }

    fn judge(self, space: &Space) {
        let maps = space.history.config_maps.versions();
        let ours = maps.iter().filter(|map| map.name_any() == "countersign-policy");
        let counts: Vec<_> = ours.map(|map| document(map).unwrap().policies.len()).collect();
        assert_eq!(counts, [0, 1], "each is written once");
        let pods = space.history.pods.versions();
        let touches = pods.iter().map(|pod| pod.annotations().get(POLICY_REVISION_ANNOTATION));
        assert_eq!(touches.count(), 3, "it was made, and is told once of each");
    }
}
