//! Keeps the webhook's certificate and the caBundle right, whoever changes them. The controller does it;
//! what serves the webhook mounts the Secret.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::own_certificate::{self, MakeError, SECRET, Served};
use crate::context::{Context, FIELD_MANAGER, Webhook};
use crate::pki::{KeyError, PemError, certificates_from_pem, private_key_for_tls};

/// How often it is looked after even when no watch says anything.
const PERIOD: Duration = Duration::from_secs(600);

/// How soon after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// The certificate that is served now; none until the API server can verify it.
#[derive(Debug, Default)]
pub(super) struct Current(RwLock<Option<Arc<CertifiedKey>>>);

impl Current {
    /// Serves this one from now on.
    pub(super) fn serve(&self, key: CertifiedKey) {
        let Ok(mut current) = self.0.write() else { return };
        let same = current.as_ref().is_some_and(|before| before.cert == key.cert);
        if !same {
            info!("serving the webhook with a new certificate");
            *current = Some(Arc::new(key));
        }
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().ok().and_then(|current| current.clone())
    }
}

/// Why the certificate or the caBundle is not right yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error("reading Secret {SECRET}")]
    ReadSecret(#[source] kube::Error),
    #[error("writing Secret {SECRET}")]
    WriteSecret(#[source] kube::Error),
    #[error("reading MutatingWebhookConfiguration {name}")]
    ReadConfiguration {
        name: String,
        #[source]
        source: kube::Error,
    },
    #[error("writing caBundle of MutatingWebhookConfiguration {name}")]
    WriteConfiguration {
        name: String,
        #[source]
        source: kube::Error,
    },
    #[error(transparent)]
    Make(#[from] MakeError),
    #[error("what was made for the webhook cannot be used")]
    Unusable,
    #[error("loading the webhook's certificate")]
    Load(#[source] rustls::Error),
    #[error("reading the webhook's certificate")]
    Pem(#[source] PemError),
    #[error("reading the key of the webhook's certificate")]
    Key(#[source] KeyError),
}

/// What is kept.
struct Keeper {
    context: Arc<Context>,
    webhook: Webhook,
}

/// Keeps the Secret and the caBundle until `stop` is cancelled.
pub async fn keep(context: Arc<Context>, webhook: Webhook, stop: CancellationToken) {
    let keeper = Keeper { context, webhook };
    let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
    let secrets = watcher(keeper.secrets(), named(SECRET)).default_backoff().map(|_| ());
    let configurations = watcher(keeper.configurations(), named(&keeper.webhook.configuration))
        .default_backoff()
        .map(|_| ());
    let mut changes = std::pin::pin!(futures::stream::select(secrets, configurations));
    loop {
        let wait = match keeper.keep().await {
            Ok(()) => PERIOD,
            Err(error) => {
                let cause = crate::story::cause(&error);
                warn!(%error, cause, "the webhook's certificate is not right yet");
                RETRY
            }
        };
        tokio::select! {
            _ = changes.next() => {}
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

impl Keeper {
    fn secrets(&self) -> Api<Secret> {
        let namespace = &self.context.settings.cluster_resource_namespace;
        Api::namespaced(self.context.client.clone(), namespace)
    }

    fn configurations(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.context.client.clone())
    }

    /// Once. A new authority is trusted before its certificate stands in the Secret: whatever mounts that
    /// serves it within a moment.
    async fn keep(&self) -> Result<(), KeepError> {
        let api = self.secrets();
        let now = self.context.clock.now();
        let namespace = &self.context.settings.cluster_resource_namespace;
        let service = &self.webhook.service;
        let names = [
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.{}", self.context.settings.cluster_domain),
        ];
        let found = api.get_opt(SECRET).await.map_err(KeepError::ReadSecret)?;
        if let Some(served) = own_certificate::usable(found.as_ref(), &names, now) {
            return self.trust(&served.authorities).await;
        }
        let made = own_certificate::made(found.as_ref(), namespace, &names, now)?;
        let served =
            own_certificate::usable(Some(&made), &names, now).ok_or(KeepError::Unusable)?;
        self.trust(&served.authorities).await?;
        // The version goes along, or the name is taken: of two who write, one fails here and reads what
        // the other wrote.
        let written = match found {
            Some(_) => api.replace(SECRET, &PostParams::default(), &made).await,
            None => api.create(&PostParams::default(), &made).await,
        };
        written.map_err(KeepError::WriteSecret)?;
        info!(secret = SECRET, "the webhook has a new certificate");
        Ok(())
    }

    /// Writes the caBundle of every webhook of ours that lacks it.
    async fn trust(&self, authorities: &str) -> Result<(), KeepError> {
        let name = self.webhook.configuration.clone();
        let api = self.configurations();
        let read = api.get(&name).await;
        let found =
            read.map_err(|source| KeepError::ReadConfiguration { name: name.clone(), source })?;
        let hooks = found.webhooks.unwrap_or_default();
        let has = |bundle: &Option<k8s_openapi::ByteString>| {
            bundle.as_ref().is_some_and(|bundle| bundle.0 == authorities.as_bytes())
        };
        let mut operations = Vec::new();
        for (place, hook) in hooks.iter().enumerate() {
            if !has(&hook.client_config.ca_bundle) {
                let bundle = k8s_openapi::ByteString(authorities.as_bytes().to_vec());
                let path = format!("/webhooks/{place}/name");
                operations.push(json!({ "op": "test", "path": path, "value": hook.name }));
                let path = format!("/webhooks/{place}/clientConfig/caBundle");
                operations.push(json!({ "op": "add", "path": path, "value": bundle }));
            }
        }
        if operations.is_empty() {
            return Ok(());
        }
        let failed = |source| KeepError::WriteConfiguration { name: name.clone(), source };
        let operations = serde_json::from_value(operations.into())
            .map_err(|error| failed(kube::Error::SerdeError(error)))?;
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(&name, &parameters, &Patch::<()>::Json(operations)).await.map_err(failed)?;
        info!(configuration = name, "caBundle written");
        Ok(())
    }
}

/// What is in the Secret, as rustls wants it.
pub(super) fn certified(
    served: &Served,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, KeepError> {
    let chain = certificates_from_pem(&served.chain).map_err(KeepError::Pem)?;
    let key = private_key_for_tls(served.key.expose()).map_err(KeepError::Key)?;
    CertifiedKey::from_der(chain, key, provider).map_err(KeepError::Load)
}
