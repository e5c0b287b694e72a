//! Where each kind has its bundles; pure.

use std::fmt::Debug;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Resource;
use kube::core::ClusterResourceScope;
use serde::de::DeserializeOwned;

/// A caBundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bundle {
    /// Where it stands, a JSON pointer.
    pub(super) path: String,
    /// What it holds now.
    pub(super) holds: Option<Vec<u8>>,
    /// Why it cannot be filled, if it cannot.
    pub(super) obstacle: Option<&'static str>,
}

impl Bundle {
    fn new(path: String, holds: Option<&ByteString>) -> Self {
        let holds = holds.map(|bytes| bytes.0.clone()).filter(|bytes| !bytes.is_empty());
        Self { path, holds, obstacle: None }
    }
}

/// A kind that has bundles.
pub(super) trait Target:
    Resource<DynamicType = (), Scope = ClusterResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Every bundle that it has.
    fn bundles(&self) -> Vec<Bundle>;
}

fn webhooks<'a>(configs: impl Iterator<Item = &'a WebhookClientConfig>) -> Vec<Bundle> {
    let bundle = |(place, config): (usize, &WebhookClientConfig)| {
        let path = format!("/webhooks/{place}/clientConfig/caBundle");
        Bundle::new(path, config.ca_bundle.as_ref())
    };
    configs.enumerate().map(bundle).collect()
}

impl Target for ValidatingWebhookConfiguration {
    fn bundles(&self) -> Vec<Bundle> {
        webhooks(self.webhooks.iter().flatten().map(|webhook| &webhook.client_config))
    }
}

impl Target for MutatingWebhookConfiguration {
    fn bundles(&self) -> Vec<Bundle> {
        webhooks(self.webhooks.iter().flatten().map(|webhook| &webhook.client_config))
    }
}

impl Target for APIService {
    /// None where the API server answers itself.
    fn bundles(&self) -> Vec<Bundle> {
        let Some(spec) = self.spec.as_ref().filter(|spec| spec.service.is_some()) else {
            return Vec::new();
        };
        let skips = spec.insecure_skip_tls_verify == Some(true);
        let obstacle = skips.then_some("spec.insecureSkipTLSVerify is true: take it away");
        let path = "/spec/caBundle".to_owned();
        vec![Bundle { obstacle, ..Bundle::new(path, spec.ca_bundle.as_ref()) }]
    }
}

impl Target for CustomResourceDefinition {
    /// None where no webhook converts.
    fn bundles(&self) -> Vec<Bundle> {
        let conversion = self.spec.conversion.as_ref().filter(|it| it.strategy == "Webhook");
        let webhook = conversion.and_then(|conversion| conversion.webhook.as_ref());
        let config = webhook.and_then(|webhook| webhook.client_config.as_ref());
        let path = || "/spec/conversion/webhook/clientConfig/caBundle".to_owned();
        config.map(|config| Bundle::new(path(), config.ca_bundle.as_ref())).into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
