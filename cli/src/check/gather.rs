//! Reads what an installation consists of.

use std::collections::BTreeMap;

use countersign_contract::names::API_GROUP;
use countersign_crds::{Certificate, ClusterIssuer, Condition, Issuer};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams};
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};

use super::callers::{self, Called};
use crate::cluster::{Cluster, Found, Object, all};
use crate::error::{Asked, Error};
use crate::sidecars::{self, Versions};

/// What the chart puts on everything of its own.
pub const OURS: &str = "app.kubernetes.io/name=countersign";

/// A list, or why it could not be read.
pub(super) type Listed<T> = Result<Vec<T>, String>;

/// What was read.
pub(super) struct Seen {
    /// Each definition that should be there, and what is there.
    pub(super) definitions: Vec<(CustomResourceDefinition, Found<CustomResourceDefinition>)>,
    /// The operator's.
    pub(super) deployments: Listed<Deployment>,
    /// The webhooks of injection, with who answers for them.
    pub(super) webhooks: Listed<Webhook>,
    /// Issuers of both kinds.
    pub(super) issuers: Listed<AnyIssuer>,
    /// Certificates.
    pub(super) certificates: Listed<Certificate>,
    /// Sidecars, by their versions.
    pub(super) sidecars: Result<Versions, String>,
    /// Namespaces and pods.
    pub(super) marked: Listed<Marked>,
    /// What the API server calls.
    pub(super) called: Listed<Called>,
}

/// An object, and what people wrote on it.
pub(super) struct Marked {
    /// Its kind and name.
    pub(super) object: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// A configuration of webhooks.
pub(super) struct Webhook {
    pub(super) configuration: MutatingWebhookConfiguration,
    /// Of each of its webhooks, in order: whether anybody answers behind its Service.
    pub(super) endpoints: Vec<Found<Vec<EndpointSlice>>>,
}

/// What is looked at of an issuer.
pub(super) struct AnyIssuer {
    /// Its kind and name.
    pub(super) object: String,
    /// What its status says.
    pub(super) conditions: Vec<Condition>,
}

/// Reads it; issuers and Certificates of one namespace only, if one is named.
///
/// # Errors
/// When the API server cannot be reached at all.
pub(super) async fn gather(cluster: &Cluster, namespace: Option<&str>) -> Result<Seen, Error> {
    let version = cluster.client.apiserver_version().await;
    version.map_err(|error| {
        let object = "the version".to_owned();
        Asked { doing: "reading", kind: String::new(), object, namespace: None }.failed(&error)
    })?;
    let mut definitions = Vec::new();
    for wanted in countersign_crds::all() {
        let found = cluster.look_cluster_wide(&wanted.name_any()).await;
        definitions.push((wanted, found));
    }
    let ours = ListParams::default().labels(OURS);
    let deployments: Api<Deployment> = Api::all(cluster.client.clone());
    Ok(Seen {
        definitions,
        deployments: listed(all(&deployments, &ours).await),
        webhooks: webhooks(cluster, &ours).await,
        issuers: issuers(cluster, namespace).await,
        certificates: list_in(cluster, namespace).await,
        sidecars: sidecars::gather(cluster, namespace).await.map_err(|error| error.to_string()),
        marked: listed(marked(cluster, namespace).await),
        called: callers::gather::gather(cluster, namespace).await,
    })
}

/// Namespaces and pods, as far as they bear anything of ours.
async fn marked(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<Marked>, Error> {
    let client = cluster.client.clone();
    let (namespaces, pods): (Api<PartialObjectMeta<Namespace>>, Api<PartialObjectMeta<Pod>>) =
        match namespace {
            Some(namespace) => (Api::all(client.clone()), Api::namespaced(client, namespace)),
            None => (Api::all(client.clone()), Api::all(client)),
        };
    let named = namespace.map(|name| format!("metadata.name={name}"));
    let of_one =
        named.map_or_else(ListParams::default, |field| ListParams::default().fields(&field));
    let mut marked = Vec::new();
    for object in all(&namespaces, &of_one).await? {
        marked.push(mark(format!("Namespace {}", object.name_any()), object.metadata));
    }
    for object in all(&pods, &ListParams::default()).await? {
        let name = format!("Pod {}/{}", object.namespace().unwrap_or_default(), object.name_any());
        marked.push(mark(name, object.metadata));
    }
    Ok(marked)
}

fn mark(object: String, metadata: ObjectMeta) -> Marked {
    let ours = |map: Option<BTreeMap<String, String>>| {
        let mut map = map.unwrap_or_default();
        map.retain(|name, _| name.starts_with(API_GROUP));
        map
    };
    Marked { object, labels: ours(metadata.labels), annotations: ours(metadata.annotations) }
}

fn listed<T>(list: Result<Vec<T>, Error>) -> Listed<T> {
    list.map_err(|error| error.to_string())
}

async fn list_in<K>(cluster: &Cluster, namespace: Option<&str>) -> Listed<K>
where
    K: Object + Resource<Scope = NamespaceResourceScope>,
{
    let api = match namespace {
        Some(namespace) => Api::namespaced(cluster.client.clone(), namespace),
        None => Api::all(cluster.client.clone()),
    };
    listed(all(&api, &ListParams::default()).await)
}

async fn issuers(cluster: &Cluster, namespace: Option<&str>) -> Listed<AnyIssuer> {
    let api: Api<ClusterIssuer> = Api::all(cluster.client.clone());
    let wide =
        listed(all(&api, &ListParams::default()).await)?.into_iter().map(|issuer| AnyIssuer {
            object: format!("ClusterIssuer {}", issuer.name_any()),
            conditions: issuer.status.unwrap_or_default().conditions,
        });
    let narrow = list_in::<Issuer>(cluster, namespace).await?.into_iter().map(|issuer| AnyIssuer {
        object: format!("Issuer {}/{}", issuer.namespace().unwrap_or_default(), issuer.name_any()),
        conditions: issuer.status.unwrap_or_default().conditions,
    });
    Ok(wide.chain(narrow).collect())
}

async fn webhooks(cluster: &Cluster, ours: &ListParams) -> Listed<Webhook> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let mut webhooks = Vec::new();
    for configuration in listed(all(&api, ours).await)? {
        let mut endpoints = Vec::new();
        for webhook in configuration.webhooks.iter().flatten() {
            endpoints.push(match &webhook.client_config.service {
                Some(service) => behind(cluster, &service.namespace, &service.name).await,
                None => Found::Missing,
            });
        }
        webhooks.push(Webhook { configuration, endpoints });
    }
    Ok(webhooks)
}

/// Who answers behind a Service.
async fn behind(cluster: &Cluster, namespace: &str, service: &str) -> Found<Vec<EndpointSlice>> {
    let api: Api<EndpointSlice> = Api::namespaced(cluster.client.clone(), namespace);
    let of_service = format!("kubernetes.io/service-name={service}");
    match all(&api, &ListParams::default().labels(&of_service)).await {
        Ok(slices) if slices.is_empty() => Found::Missing,
        Ok(slices) => Found::There(slices),
        Err(error) => Found::Unknown(error.to_string()),
    }
}
