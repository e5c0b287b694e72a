//! Reads what the API server calls, and the pods behind it.

use std::collections::BTreeMap;

use countersign_contract::names;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ServiceReference, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::{Called, Reference, mutual};
use crate::check::gather::Listed;
use crate::cluster::{Cluster, Found, all};
use crate::error::Error;
use crate::mesh::gather::policies;

/// The port that is called where none is named.
const HTTPS: i32 = 443;

/// Reads it, of one namespace only, if one is named.
pub(in crate::check) async fn gather(cluster: &Cluster, namespace: Option<&str>) -> Listed<Called> {
    let references = references(cluster).await.map_err(|error| error.to_string())?;
    let is_wanted = |reference: &Reference| namespace.is_none_or(|it| it == reference.namespace);
    let mut called = Vec::new();
    for reference in references.into_iter().filter(is_wanted) {
        let mutual = behind(&cluster.within(Some(&reference.namespace)), &reference).await;
        called.push(Called { reference, mutual });
    }
    Ok(called)
}

async fn references(cluster: &Cluster) -> Result<Vec<Reference>, Error> {
    let everything = ListParams::default();
    let mut references = Vec::new();
    let api: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
    for object in all(&api, &everything).await? {
        for hook in object.webhooks.iter().flatten() {
            let name = format!(
                "MutatingWebhookConfiguration {}, webhook {}",
                object.name_any(),
                hook.name
            );
            references.extend(hook.client_config.service.as_ref().map(|it| of(name, it)));
        }
    }
    let api: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client.clone());
    for object in all(&api, &everything).await? {
        for hook in object.webhooks.iter().flatten() {
            let name = format!(
                "ValidatingWebhookConfiguration {}, webhook {}",
                object.name_any(),
                hook.name
            );
            references.extend(hook.client_config.service.as_ref().map(|it| of(name, it)));
        }
    }
    let api: Api<APIService> = Api::all(cluster.client.clone());
    references.extend(all(&api, &everything).await?.iter().filter_map(of_api_service));
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    references.extend(all(&api, &everything).await?.iter().filter_map(of_definition));
    Ok(references)
}

fn of(object: String, service: &ServiceReference) -> Reference {
    Reference {
        object,
        namespace: service.namespace.clone(),
        service: service.name.clone(),
        port: service.port.unwrap_or(HTTPS),
    }
}

fn of_api_service(object: &APIService) -> Option<Reference> {
    let service = object.spec.as_ref()?.service.as_ref()?;
    Some(Reference {
        object: format!("APIService {}", object.name_any()),
        namespace: service.namespace.clone()?,
        service: service.name.clone()?,
        port: service.port.unwrap_or(HTTPS),
    })
}

fn of_definition(object: &CustomResourceDefinition) -> Option<Reference> {
    let webhook = object.spec.conversion.as_ref()?.webhook.as_ref()?;
    let service = webhook.client_config.as_ref()?.service.as_ref()?;
    Some(Reference {
        object: format!("CustomResourceDefinition {}, conversion", object.name_any()),
        namespace: service.namespace.clone(),
        service: service.name.clone(),
        port: service.port.unwrap_or(HTTPS),
    })
}

async fn behind(cluster: &Cluster, reference: &Reference) -> Found<BTreeMap<u16, String>> {
    let service = match cluster.look::<Service>(&reference.service).await {
        Found::There(service) => service,
        Found::Missing => return Found::Missing,
        Found::Unknown(why) => return Found::Unknown(why),
    };
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
    if selector.is_empty() {
        return Found::Missing;
    }
    let mut labels: Vec<_> =
        selector.iter().map(|(name, value)| format!("{name}={value}")).collect();
    labels.push(format!("{}=true", names::INJECTED_LABEL));
    let injected = ListParams::default().labels(&labels.join(","));
    let pods = match all(&cluster.namespaced::<Pod>(), &injected).await {
        Ok(pods) => pods,
        Err(error) => return Found::Unknown(error.to_string()),
    };
    let policies = policies(cluster).await;
    Found::There(mutual(&service, reference.port, &pods, policies.there()))
}
