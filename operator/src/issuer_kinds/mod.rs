//! Publishes which kinds of issuers the API server serves, with their plurals and scopes: the admission
//! policy `countersign-external-approval` looks up the name of an external issuer's signer there, and
//! refuses kinds that do not exist.
//!
//! The controller polls API discovery, so that no request of a tenant makes it do anything, and so that
//! it needs no right to CustomResourceDefinitions.

mod discover;
mod publish;
mod served;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::runtime::reflector::{Store, store};
use kube::runtime::watcher;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::discover::{Discovered, Discovery};
use self::served::{IssuerKinds, served};
use crate::context::Context;
use crate::story::story;
use crate::watch::{Once, Scope, follow};

/// The name of the ConfigMap, in the operator's namespace; the chart's policies name it too.
pub const CONFIG_MAP: &str = "countersign-issuer-kinds";

/// How often API discovery is asked. The API server answers 304 while nothing changes.
const PERIOD: Duration = Duration::from_secs(5);

/// Publishes until `stop` is cancelled.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let namespace = &context.settings.cluster_resource_namespace;
    let api = Api::namespaced(context.client.clone(), namespace);
    let (published, writer) = store();
    let (read, changed) = (Once::default(), Notify::new());
    let fields = format!("metadata.name={CONFIG_MAP}");
    let config = watcher::Config::default().fields(&fields);
    let scope = Scope { config, slim: |_| {}, read: read.clone() };
    // While the ConfigMap is gone, no status of a CertificateRequest is written: it is created at once.
    let following = follow(api.clone(), scope, writer, &context.metrics.watch_restarts, |_| {
        changed.notify_one();
    });
    let publisher = Publisher {
        context: &context,
        api,
        discovery: Discovery::default(),
        kinds: None,
        published,
    };
    let publishing = async {
        read.wait().await;
        publisher.run(&changed).await;
    };
    tokio::select! { () = following => {} () = publishing => {} () = stop.cancelled() => {} }
}

/// Why the ConfigMap may be out of date.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("asking API discovery (GET /apis)")]
    Discover(#[from] discover::Error),
    #[error("writing ConfigMap {namespace}/{CONFIG_MAP}")]
    Publish {
        namespace: String,
        #[source]
        source: kube::Error,
    },
}

struct Publisher<'a> {
    context: &'a Context,
    api: Api<ConfigMap>,
    discovery: Discovery,
    /// What is served, since the last answer that was not 304.
    kinds: Option<IssuerKinds>,
    published: Store<ConfigMap>,
}

impl Publisher<'_> {
    async fn run(mut self, changed: &Notify) {
        let mut last_error = None;
        loop {
            let error = self.update().await.err().map(|error| story(&error));
            if let Some(error) = error.as_ref().filter(|_| error != last_error) {
                warn!(error, "issuer kinds not published");
            }
            last_error = error;
            tokio::select! { () = tokio::time::sleep(PERIOD) => {} () = changed.notified() => {} }
        }
    }

    /// Asks what is served, and corrects the ConfigMap where it differs.
    async fn update(&mut self) -> Result<(), Error> {
        if let Discovered::Changed(list) = self.discovery.ask(&self.context.client).await? {
            let kinds = served(&list);
            if kinds.omitted > 0 {
                warn!(omitted = kinds.omitted, "too many kinds: some are not published");
            }
            self.kinds = Some(kinds);
        }
        let Some(kinds) = &self.kinds else { return Ok(()) };
        let found = self.published.state().into_iter().next();
        let written = publish::publish(&self.api, found.as_deref(), &kinds.data).await;
        let namespace = || self.context.settings.cluster_resource_namespace.clone();
        if written.map_err(|source| Error::Publish { namespace: namespace(), source })? {
            info!(kinds = kinds.data.len(), "issuer kinds published");
        }
        Ok(())
    }
}
