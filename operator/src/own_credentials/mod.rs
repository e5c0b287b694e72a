//! The credentials with which this process serves. The controller issues them into Secrets; what serves
//! mounts these, and has no right to read them by the API.

mod files;
mod nudge;

use std::path::PathBuf;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tracing::warn;

use crate::certificate::names::{CA_CRT, TLS_CRT, TLS_KEY};
use crate::context::Context;
use crate::pki::Redacted;

pub use nudge::nudge;

/// What the server of the webhook has, below the folder of credentials.
pub const WEBHOOK: &str = "webhook";
/// What discovery has.
pub const DISCOVERY: &str = "discovery";

/// A chain, its key, and the roots that verify it: PEM, not looked at yet.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) chain: Vec<u8>,
    pub(crate) key: Redacted<Vec<u8>>,
    pub(crate) roots: Vec<u8>,
}

impl Credentials {
    fn is_same(&self, other: &Self) -> bool {
        let same_key = self.key.expose() == other.key.expose();
        same_key && self.chain == other.chain && self.roots == other.roots
    }

    /// Of a Secret that has all of them.
    fn of(secret: &Secret) -> Option<Self> {
        let data = secret.data.as_ref()?;
        let value = |key: &str| data.get(key).map(|bytes| bytes.0.clone());
        let (chain, key, roots) = (value(TLS_CRT)?, value(TLS_KEY)?, value(CA_CRT)?);
        Some(Self { chain, key: Redacted::new(key), roots })
    }
}

/// Where credentials are.
#[derive(Debug)]
pub(crate) enum Source {
    /// In a folder that the kubelet keeps up to date.
    Folder(PathBuf),
    /// In a Secret of the operator's namespace.
    Secret(Box<Api<Secret>>, String),
}

impl Source {
    /// Where this process finds some of its own: in `part` of its folder, or in a Secret.
    pub(crate) fn new(context: &Context, part: &str, secret: &str) -> Self {
        match &context.settings.process.credentials {
            Some(folder) => Self::Folder(folder.join(part)),
            None => {
                let namespace = &context.settings.cluster_resource_namespace;
                let api = Api::namespaced(context.client.clone(), namespace);
                Self::Secret(Box::new(api), secret.to_owned())
            }
        }
    }

    /// What is there, and again whenever it changes. Ends with nothing but itself.
    pub(crate) fn follow(self) -> impl Stream<Item = Credentials> + Send {
        match self {
            Self::Folder(folder) => files::follow(folder).boxed(),
            Self::Secret(api, name) => follow_secret(*api, name).boxed(),
        }
    }
}

fn follow_secret(api: Api<Secret>, name: String) -> impl Stream<Item = Credentials> + Send {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let secrets = watcher(api, config).default_backoff().applied_objects();
    secrets.filter_map(move |secret| {
        let found = match &secret {
            Ok(secret) => Credentials::of(secret),
            Err(error) => {
                warn!(%error, secret = name, "watching credentials of the operator");
                None
            }
        };
        std::future::ready(found)
    })
}
