//! The API server, as the command line and the kubeconfig name it.

use std::fmt::Debug;
use std::time::Duration;

use countersign_contract::names::API_GROUP;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::Global;
use crate::error::{Asked, Error};

/// Whoever sits before a terminal has not the patience of a controller.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// So many objects come with one answer.
const PAGE: u32 = 500;

/// Who changes what is changed here.
pub const FIELD_MANAGER: &str = "kubectl-countersign";

/// An API server, and the namespace that is spoken of.
#[derive(Clone)]
pub struct Cluster {
    /// The way to it.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
}

/// What was found where something was looked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<T> {
    /// It is there.
    There(T),
    /// It is not.
    Missing,
    /// It could not be looked at, and why.
    Unknown(String),
}

impl<T> Found<T> {
    /// What is there, if anything is.
    pub fn there(&self) -> Option<&T> {
        if let Self::There(it) = self { Some(it) } else { None }
    }

    /// What is there, seen another way.
    pub fn map<U>(self, see: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Self::There(it) => Found::There(see(it)),
            Self::Missing => Found::Missing,
            Self::Unknown(why) => Found::Unknown(why),
        }
    }
}

impl<T> From<Result<Option<T>, Error>> for Found<T> {
    fn from(read: Result<Option<T>, Error>) -> Self {
        match read {
            Ok(Some(it)) => Self::There(it),
            Ok(None) => Self::Missing,
            Err(error) => Self::Unknown(error.to_string()),
        }
    }
}

/// Any object of ours or of Kubernetes'.
pub trait Object:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize
{
}

impl<K> Object for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize
{
}

impl Cluster {
    /// Reads the kubeconfig, or what stands in a pod. Nothing is asked of the API server yet.
    ///
    /// # Errors
    /// When it cannot be read, or has no such context.
    pub async fn of(global: &Global) -> Result<Self, Error> {
        let mut config = configuration(global).await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let namespace =
            global.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config);
        let client = client.map_err(|error| {
            Asked {
                doing: "connecting to",
                kind: String::new(),
                object: "the cluster".to_owned(),
                namespace: None,
            }
            .failed(&error)
        })?;
        Ok(Self { client, namespace })
    }

    /// Objects of a kind in the namespace that is spoken of.
    #[must_use]
    pub fn namespaced<K: Object + Resource<Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// An object of the namespace.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    pub async fn get<K>(&self, name: &str) -> Result<K, Error>
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let got = self.namespaced::<K>().get(name).await;
        got.map_err(|error| self.asked::<K>("reading", name).failed(&error))
    }

    /// An object of the namespace, if it is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn find<K>(&self, name: &str) -> Result<Option<K>, Error>
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let got = self.namespaced::<K>().get_opt(name).await;
        got.map_err(|error| self.asked::<K>("reading", name).failed(&error))
    }

    /// An object of the namespace that one need not be allowed to read.
    pub async fn look<K>(&self, name: &str) -> Found<K>
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        self.find(name).await.into()
    }

    /// The same of the whole cluster's.
    pub async fn look_cluster_wide<K>(&self, name: &str) -> Found<K>
    where
        K: Object + Resource<Scope = ClusterResourceScope>,
    {
        let asked = Asked { namespace: None, ..self.asked::<K>("reading", name) };
        let got = Api::<K>::all(self.client.clone()).get_opt(name).await;
        got.map_err(|error| asked.failed(&error)).into()
    }

    /// What is asked about an object of the namespace.
    #[must_use]
    pub fn asked<K: Object>(&self, doing: &'static str, name: &str) -> Asked {
        Asked {
            doing,
            kind: plural::<K>(),
            object: format!("{} {name}", K::kind(&())),
            namespace: Some(self.namespace.clone()),
        }
    }
}

async fn configuration(global: &Global) -> Result<Config, Error> {
    let unusable = |source| Error::Kubeconfig { source: Box::new(source) };
    let options = KubeConfigOptions { context: global.context.clone(), ..Default::default() };
    let file = match &global.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    match file {
        Ok(file) => Config::from_custom_kubeconfig(file, &options).await.map_err(unusable),
        // In a pod there is none, and needs to be none.
        Err(error) if global.kubeconfig.is_none() && global.context.is_none() => {
            Config::incluster().map_err(|_| unusable(error))
        }
        Err(error) => Err(unusable(error)),
    }
}

/// The name of a kind in kubectl's own command line; ours with its group, since others have
/// Certificates too.
fn plural<K: Object>() -> String {
    match K::group(&()).as_ref() {
        API_GROUP => format!("{}.{API_GROUP}", K::plural(&())),
        _ => K::plural(&()).into_owned(),
    }
}

/// Every object that there is, page by page.
///
/// # Errors
/// When they cannot be read.
pub async fn all<K: Object>(api: &Api<K>, parameters: &ListParams) -> Result<Vec<K>, Error> {
    let mut page = parameters.clone().limit(PAGE);
    let mut objects = Vec::new();
    loop {
        let listed = api.list(&page).await.map_err(|error| {
            let object = format!("the {}", plural::<K>());
            Asked { doing: "listing", kind: plural::<K>(), object, namespace: None }.failed(&error)
        })?;
        objects.extend(listed.items);
        match listed.metadata.continue_.filter(|more| !more.is_empty()) {
            Some(more) => page = page.continue_token(&more),
            None => return Ok(objects),
        }
    }
}
