//! Wires everything together: watches, controllers, the webhook, and a graceful end.

use std::fmt::Debug;
use std::sync::Arc;

use countersign_crds::{Certificate, CertificateRequest, ClusterIssuer, Issuer};
use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, Service};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{self, Controller};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store, reflector, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::certificate::names::{CERTIFICATE_NAME, OURS_LABEL};
use crate::certificate::reference::IssuerId;
use crate::context::{Context, Settings, Watched};
use crate::issuer::AnyIssuer;
use crate::{
    certificate, clock::Clock, event::Events, identity, issuer, metrics::Metrics, request,
};

/// Every controller, before it runs.
pub struct Controllers {
    certificates: Controller<Certificate>,
    issuers: Controller<Issuer>,
    cluster_issuers: Controller<ClusterIssuer>,
    requests: Controller<CertificateRequest>,
    pods: Controller<Pod>,
    services: watcher::Config,
    context: Arc<Context>,
    service_writer: Writer<Service>,
    namespace_writer: Writer<PartialObjectMeta<Namespace>>,
}

fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("{OURS_LABEL}=true"))
}

impl Controllers {
    /// Sets the watches up; nothing is read before `run`.
    #[must_use]
    pub fn new(client: Client, clock: Clock, metrics: Metrics, settings: Settings) -> Self {
        let everything = watcher::Config::default;
        let certificates = Controller::new(Api::all(client.clone()), everything());
        let issuers = Controller::new(Api::all(client.clone()), everything());
        let cluster_issuers = Controller::new(Api::all(client.clone()), everything());
        let requests = Controller::new(Api::all(client.clone()), everything());
        let injected = everything().labels(&identity::injected());
        let pods = Controller::new(Api::all(client.clone()), injected);
        let (services, service_writer) = store();
        let (namespaces, namespace_writer) = store();
        let seen = Watched {
            certificates: certificates.store(),
            issuers: issuers.store(),
            cluster_issuers: cluster_issuers.store(),
            pods: pods.store(),
            services,
            namespaces,
        };
        let events = Events::new(client.clone());
        let context = Arc::new(Context { client, clock, events, metrics, seen, settings });
        let services = everything();
        Self {
            certificates,
            issuers,
            cluster_issuers,
            requests,
            pods,
            services,
            context,
            service_writer,
            namespace_writer,
        }
    }

    /// What the reconcilers are given.
    #[must_use]
    pub fn context(&self) -> Arc<Context> {
        self.context.clone()
    }

    /// Runs until `stop` is cancelled, and then until what is under way is done.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            certificates,
            issuers,
            cluster_issuers,
            requests,
            pods,
            services,
            context,
            service_writer,
            namespace_writer,
        } = self;
        let client = context.client.clone();
        let mut work = JoinSet::new();
        let end = || stop.clone().cancelled_owned();
        let (all_services, namespaces) = (Api::all(client.clone()), Api::all(client.clone()));
        work.spawn(until(end(), keep(service_writer, all_services, services)));
        work.spawn(until(end(), keep(namespace_writer, namespaces, watcher::Config::default())));
        let certificates = watching_for_certificates(certificates, &client, &context);
        let issuers = watching_for_issuers(issuers, &client, &context.seen.issuers, None);
        let home = context.settings.cluster_resource_namespace.clone();
        let cluster_issuers = watching_for_issuers(
            cluster_issuers,
            &client,
            &context.seen.cluster_issuers,
            Some(home),
        );
        let pods = watching_for_pods(pods, &client, &context);
        work.spawn(drive(certificates.with_config(at_once(16)).graceful_shutdown_on(end()).run(
            certificate::reconcile,
            certificate::error_policy,
            context.clone(),
        )));
        work.spawn(drive(issuers.graceful_shutdown_on(end()).run(
            issuer::reconcile,
            issuer::error_policy,
            context.clone(),
        )));
        work.spawn(drive(cluster_issuers.graceful_shutdown_on(end()).run(
            issuer::reconcile,
            issuer::error_policy,
            context.clone(),
        )));
        work.spawn(drive(requests.with_config(at_once(8)).graceful_shutdown_on(end()).run(
            request::reconcile,
            request::error_policy,
            context.clone(),
        )));
        work.spawn(drive(pods.with_config(at_once(8)).graceful_shutdown_on(end()).run(
            identity::reconcile,
            identity::error_policy,
            context.clone(),
        )));
        info!("reconciling");
        while work.join_next().await.is_some() {}
    }
}

/// Keeps what a watch sees for whoever looks it up.
async fn keep<K>(writer: Writer<K>, api: Api<K>, what: watcher::Config)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let seen = reflector(writer, watcher(api, what).default_backoff());
    seen.for_each(|_| std::future::ready(())).await;
}

/// The Certificates that are gone.
fn gone(
    client: &Client,
) -> impl Stream<Item = Result<PartialObjectMeta<Certificate>, watcher::Error>> + use<> {
    let certificates: Api<PartialObjectMeta<Certificate>> = Api::all(client.clone());
    let events = watcher(certificates, watcher::Config::default()).default_backoff();
    events.try_filter_map(async |event| match event {
        watcher::Event::Delete(certificate) => Ok(Some(certificate)),
        _ => Ok(None),
    })
}

/// A Certificate is looked at again when its Secret changes, its issuer does, or another one goes
/// that was before it at the same Secret. Of Secrets only metadata is watched: keys stay where they
/// are until a decision needs them.
fn watching_for_certificates(
    controller: Controller<Certificate>,
    client: &Client,
    context: &Arc<Context>,
) -> Controller<Certificate> {
    let of_issuer = {
        let certificates = context.seen.certificates.clone();
        move |namespace: Option<String>, name: String, kind: &'static str| {
            let names = move |certificate: &Certificate| {
                let id = IssuerId::of(&certificate.spec.issuer_ref);
                id.kind == kind
                    && id.name == name
                    && (namespace.is_none() || namespace == certificate.namespace())
            };
            let found = certificates.state_filter(names);
            found
                .iter()
                .map(|certificate| ObjectRef::from_obj(certificate.as_ref()))
                .collect::<Vec<_>>()
        }
    };
    let of_cluster_issuer = of_issuer.clone();
    let certificates = context.seen.certificates.clone();
    let secrets: Api<PartialObjectMeta<Secret>> = Api::all(client.clone());
    controller
        .watches(secrets, ours(), |secret| certificate_of(&secret))
        .watches_stream(gone(client), move |gone| {
            let namespace = gone.namespace();
            let had_to_wait = move |certificate: &Certificate| {
                certificate.namespace() == namespace
                    && certificate::is_refused_as_second(certificate)
            };
            let found = certificates.state_filter(had_to_wait);
            found.iter().map(|one| ObjectRef::from_obj(one.as_ref())).collect::<Vec<_>>()
        })
        .watches(Api::<Issuer>::all(client.clone()), watcher::Config::default(), move |issuer| {
            of_issuer(issuer.namespace(), issuer.name_any(), "Issuer")
        })
        .watches(
            Api::<ClusterIssuer>::all(client.clone()),
            watcher::Config::default(),
            move |issuer| of_cluster_issuer(None, issuer.name_any(), "ClusterIssuer"),
        )
}

fn certificate_of(secret: &PartialObjectMeta<Secret>) -> Option<ObjectRef<Certificate>> {
    let name = secret.annotations().get(CERTIFICATE_NAME)?;
    Some(ObjectRef::new(name).within(&secret.namespace()?))
}

/// An issuer is looked at again when a Secret of ours changes that it signs with; one that a user
/// brought is looked at by time.
fn watching_for_issuers<K: AnyIssuer + Resource<DynamicType = ()>>(
    controller: Controller<K>,
    client: &Client,
    issuers: &Store<K>,
    home: Option<String>,
) -> Controller<K> {
    let issuers = issuers.clone();
    let secrets: Api<PartialObjectMeta<Secret>> = Api::all(client.clone());
    controller.watches(secrets, ours(), move |secret| {
        let (name, namespace) = (secret.name_any(), secret.namespace());
        let home = home.clone();
        let signs_with = move |issuer: &K| {
            let from = home.clone().or_else(|| issuer.namespace());
            from == namespace && issuer.common_spec().ca.is_some_and(|ca| ca.secret_name == name)
        };
        let found = issuers.state_filter(signs_with);
        found.iter().map(|issuer| ObjectRef::from_obj(issuer.as_ref())).collect::<Vec<_>>()
    })
}

/// A pod's identity is looked at again when a Service of its namespace changes.
fn watching_for_pods(
    controller: Controller<Pod>,
    client: &Client,
    context: &Arc<Context>,
) -> Controller<Pod> {
    let pods = context.seen.pods.clone();
    let services: Api<Service> = Api::all(client.clone());
    controller.watches(services, watcher::Config::default(), move |service| {
        let namespace = service.namespace();
        let found = pods.state_filter(move |pod| pod.namespace() == namespace);
        found.iter().map(|pod| ObjectRef::from_obj(pod.as_ref())).collect::<Vec<_>>()
    })
}

fn at_once(reconciliations: u16) -> controller::Config {
    controller::Config::default().concurrency(reconciliations)
}

async fn until(stop: impl Future<Output = ()>, work: impl Future<Output = ()>) {
    tokio::select! { () = stop => {} () = work => {} }
}

type Reconciled<K, E> =
    Result<(ObjectRef<K>, controller::Action), controller::Error<E, watcher::Error>>;

async fn drive<K, E>(reconciled: impl Stream<Item = Reconciled<K, E>>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    E: std::error::Error + Send + 'static,
{
    // Errors of reconcilers are logged by their error policies.
    let mut reconciled = std::pin::pin!(reconciled);
    while let Some(one) = reconciled.next().await {
        if let Err(error) = one {
            debug!(%error, "reconciliation ended with an error");
        }
    }
}
