//! Reads pods, and what stands around them.

use std::collections::BTreeMap;

use countersign_contract::access::NamespaceDocument;
use countersign_contract::names;
use countersign_crds::Certificate;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;

use crate::cluster::{Cluster, Found};
use crate::error::Error;

/// A pod, and what its sidecar goes by.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) account: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    /// Whether it has the sidecar.
    pub(super) is_injected: bool,
    /// What the two containers of ours were told.
    pub(super) commands: [Option<Vec<String>>; 2],
    /// The SPIFFE ID of its account, where the operator made a Certificate for it.
    pub(super) identity: Found<String>,
    /// Whether that Certificate is ready, in the operator's words where it is not.
    pub(super) problem: Option<String>,
    /// The policies of its namespace.
    pub(super) policies: Found<NamespaceDocument>,
}

impl Cluster {
    /// The same cluster, and another namespace.
    #[must_use]
    pub(crate) fn within(&self, namespace: Option<&str>) -> Self {
        let namespace = namespace.map_or_else(|| self.namespace.clone(), str::to_owned);
        Self { client: self.client.clone(), namespace }
    }
}

/// Reads the pod of a name, in the namespace that is spoken of.
pub(super) async fn named(cluster: &Cluster, name: &str) -> Result<Workload, Error> {
    let pod: Pod = cluster.get(name).await?;
    workload(cluster, &pod).await
}

/// Reads what stands around a pod.
pub(super) async fn workload(cluster: &Cluster, pod: &Pod) -> Result<Workload, Error> {
    let spec = pod.spec.as_ref();
    let account = spec.and_then(|spec| spec.service_account_name.clone());
    let account = account.filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned());
    let command = |name: &str| {
        let mut inits = spec?.init_containers.iter().flatten();
        inits.find(|it| it.name == name).map(|it| it.command.clone().unwrap_or_default())
    };
    let commands = [names::REDIRECT_CONTAINER, names::SIDECAR_CONTAINER].map(command);
    let certificate = cluster.look::<Certificate>(&names::identity_name(&account)).await;
    let problem = certificate.there().and_then(problem);
    let identity = match certificate {
        Found::There(certificate) => match certificate.spec.uris.first() {
            Some(uri) => Found::There(uri.clone()),
            None => Found::Missing,
        },
        Found::Missing => Found::Missing,
        Found::Unknown(why) => Found::Unknown(why),
    };
    Ok(Workload {
        namespace: cluster.namespace.clone(),
        name: pod.name_any(),
        account,
        labels: pod.labels().clone(),
        annotations: pod.annotations().clone(),
        is_injected: commands[1].is_some(),
        commands,
        identity,
        problem,
        policies: policies(cluster).await,
    })
}

/// Why an identity is not there, or is not as it should be.
fn problem(certificate: &Certificate) -> Option<String> {
    let conditions = certificate.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    match ready {
        None => Some("it was not issued yet".to_owned()),
        Some(ready) if ready.status == countersign_crds::ConditionStatus::True => None,
        Some(ready) => Some(ready.message.clone().unwrap_or_else(|| "it is not ready".to_owned())),
    }
}

/// What the operator compiled for the namespace.
pub(crate) async fn policies(cluster: &Cluster) -> Found<NamespaceDocument> {
    let map = cluster.look::<ConfigMap>(names::POLICY_CONFIG_MAP).await;
    let text = match &map {
        Found::There(map) => map.data.as_ref().and_then(|data| data.get(names::POLICIES_FILE)),
        Found::Missing => return Found::Missing,
        Found::Unknown(why) => return Found::Unknown(why.clone()),
    };
    match text.map(|text| serde_json::from_str(text)) {
        Some(Ok(document)) => Found::There(document),
        Some(Err(error)) => {
            Found::Unknown(format!("ConfigMap {}: {error}", names::POLICY_CONFIG_MAP))
        }
        None => Found::Missing,
    }
}
