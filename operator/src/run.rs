//! Wires everything together: watches, reconcilers, and a graceful end.

mod mesh;

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};

use countersign_crds::{Certificate, CertificateRequest, ClusterIssuer, Issuer};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store;
use kube::runtime::reflector::store::Writer;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use self::mesh::MeshWriters;
use crate::context::{Context, Settings, Watched};
use crate::kept::MeshPod;
use crate::policy::{Documents, Policies, Reports};
use crate::role::Role;
use crate::watch::{
    Change, Once, Outlet, Queues, Routes, Scope, Touched, Waiting, follow, follow_authorities,
    follow_config_maps, follow_secrets,
};
use crate::worker::Worker;
use crate::{
    cabundle, certificate, clock::Clock, discovery, discovery::Hub, event::Events, identity,
    inject, inject::audit, issuer, issuer_kinds, kubernetes, metrics::Metrics, policy, request,
};

/// Every reconciler, before it runs.
pub struct Controllers {
    context: Arc<Context>,
    hub: Arc<Hub>,
    writers: Writers,
    /// What every replica watches, until it does.
    mesh: Option<MeshWriters>,
    /// Who hears of it beside discovery, once we lead.
    leading: Arc<OnceLock<Routes>>,
}

/// Where the watches write what they see.
struct Writers {
    certificates: Writer<Certificate>,
    issuers: Writer<Issuer>,
    cluster_issuers: Writer<ClusterIssuer>,
    requests: Writer<CertificateRequest>,
    namespaces: Writer<PartialObjectMeta<Namespace>>,
}

/// So many changes of issuers wait to be read by those who retry Kubernetes' requests.
const MOST_CHANGES: usize = 256;

fn stores() -> (Watched, Writers, MeshWriters) {
    let (certificates, to_certificates) = store();
    let (issuers, to_issuers) = store();
    let (cluster_issuers, to_cluster_issuers) = store();
    let (requests, to_requests) = store();
    let (access_policies, to_access_policies) = store();
    let (namespaces, to_namespaces) = store();
    let (pods, to_pods) = store();
    let (services, to_services) = store();
    let (slices, to_slices) = store();
    let writers = Writers {
        certificates: to_certificates,
        issuers: to_issuers,
        cluster_issuers: to_cluster_issuers,
        requests: to_requests,
        namespaces: to_namespaces,
    };
    let mesh = MeshWriters {
        pods: to_pods,
        services: to_services,
        slices: to_slices,
        access_policies: to_access_policies,
    };
    let (claims, inputs, secrets, named) = Default::default();
    let (own_writes, own_issuers, own_cluster_issuers) = Default::default();
    let (own_access_policies, published) = Default::default();
    let watched = Watched {
        certificates,
        issuers,
        cluster_issuers,
        requests,
        access_policies,
        namespaces,
        claims,
        inputs,
        secrets,
        named,
        own_writes,
        own_issuers,
        own_cluster_issuers,
        own_access_policies,
        published,
        signers: broadcast::Sender::new(MOST_CHANGES),
        pods,
        services,
        slices,
        mesh_was_read: Once::default(),
    };
    (watched, writers, mesh)
}

impl Controllers {
    /// Sets everything up; nothing is read before `run`.
    #[must_use]
    pub fn new(client: Client, clock: Clock, metrics: Metrics, settings: Settings) -> Self {
        let (seen, writers, mesh) = stores();
        metrics.leader_as(settings.process.role).set(0);
        let certificates = metrics.work.of::<Certificate>();
        let dropped = metrics.events_dropped.clone();
        let events = Events::new(client.clone(), certificates, dropped);
        let (authorities, repairs, keys, pending_keys, refreshes) = Default::default();
        let documents = Arc::new(Documents::new(&seen, &settings));
        let reports = Arc::<Reports>::default();
        let (mistakes, suspects) = Default::default();
        let context = Context {
            client,
            clock,
            events,
            metrics,
            seen,
            authorities,
            repairs,
            keys,
            pending_keys,
            refreshes,
            documents,
            reports,
            mistakes,
            suspects,
            settings,
        };
        let context = Arc::new(context);
        let hub = Arc::new(Hub::new(
            context.seen.clone(),
            context.settings.clone(),
            context.documents.clone(),
        ));
        Self { context, hub, writers, mesh: Some(mesh), leading: Arc::default() }
    }

    /// Who answers sidecars.
    #[must_use]
    pub fn hub(&self) -> Arc<Hub> {
        self.hub.clone()
    }

    /// What the reconcilers are given.
    #[must_use]
    pub fn context(&self) -> Arc<Context> {
        self.context.clone()
    }

    /// Runs until `stop` is cancelled, and then until what is under way is done.
    pub async fn run(mut self, stop: CancellationToken) {
        self.observe(&stop);
        let Self { context, writers, leading, .. } = self;
        context.reports.lead(context.clock.now());
        let (queues, waiting) = Queues::new(&context.metrics.work);
        let waiting = Reconciled::by(context.settings.process.role, waiting);
        let routes = Routes {
            seen: context.seen.clone(),
            queues,
            metrics: context.metrics.clone(),
            repairs: context.repairs.clone(),
            keys: context.keys.clone(),
            pending_keys: context.pending_keys.clone(),
            documents: context.documents.clone(),
            reports: context.reports.clone(),
            mistakes: context.mistakes.clone(),
            suspects: context.suspects.clone(),
            services: Arc::default(),
            home: context.settings.cluster_resource_namespace.clone(),
            role: context.settings.process.role,
        };
        // Whatever was seen before is told again, once it all was.
        drop(leading.set(routes.clone()));
        let mut work = JoinSet::new();
        watch(&mut work, &context.client, writers, &routes, &stop);
        if routes.role.issues() {
            follow_signers(&mut work, &context, &routes, &stop);
        }
        if !was_read(&context.seen, routes.role, &stop).await {
            return;
        }
        for pod in context.seen.pods.state() {
            routes.pod(Change::There(&pod));
        }
        for policy in context.seen.access_policies.state() {
            routes.access_policy(Change::There(&policy));
        }
        info!("reconciling");
        let leader = context.metrics.leader_as(routes.role);
        leader.set(1);
        reconcile(&mut work, &context, &routes, waiting, &stop);
        while let Some(ended) = work.join_next().await {
            if let Err(error) = ended {
                // Without it some kind of change would go unnoticed: a new process has all of them.
                error!(%error, "a task panicked: the operator stops");
                stop.cancel();
            }
        }
        leader.set(0);
    }
}

/// Waits until everything was read that decisions rest on. Who decides before would find issuers
/// and Secrets missing that are there.
async fn was_read(seen: &Watched, role: Role, stop: &CancellationToken) -> bool {
    let issuing = async {
        if role.issues() {
            // An error means that its watch has ended, as it does when `stop` is cancelled.
            let _ = tokio::join!(
                seen.issuers.wait_until_ready(),
                seen.certificates.wait_until_ready(),
                seen.requests.wait_until_ready(),
                seen.secrets.wait_until_read(),
            );
        }
    };
    let serving = async {
        if role.serves() {
            seen.published.wait_until_read().await;
        }
    };
    let both = async {
        let _ = tokio::join!(
            seen.namespaces.wait_until_ready(),
            seen.cluster_issuers.wait_until_ready(),
            seen.mesh_was_read.wait(),
        );
    };
    let all = async { tokio::join!(issuing, serving, both) };
    tokio::select! { _ = all => !stop.is_cancelled(), () = stop.cancelled() => false }
}

/// Follows every kind that this role needs, once.
fn watch(
    work: &mut JoinSet<()>,
    client: &Client,
    writers: Writers,
    routes: &Routes,
    stop: &CancellationToken,
) {
    let Writers { certificates, issuers, cluster_issuers, requests, namespaces } = writers;
    let mut watching = Watching { work, client, stop };
    watching.follow(namespaces, routes, Routes::namespace);
    watching.follow(cluster_issuers, routes, Routes::cluster_issuer);
    if routes.role.serves() {
        watching.follow_config_maps(routes);
    }
    if routes.role.issues() {
        watching.follow(certificates, routes, Routes::certificate);
        watching.follow(issuers, routes, Routes::issuer);
        watching.follow(requests, routes, Routes::request);
        watching.follow_secrets(routes);
    }
}

/// Tells issuers when the Secret of their authority changes.
fn follow_signers(
    work: &mut JoinSet<()>,
    context: &Arc<Context>,
    routes: &Routes,
    stop: &CancellationToken,
) {
    let (context, routes, stop) = (context.clone(), routes.clone(), stop.clone());
    work.spawn(async move {
        let client = context.client.clone();
        let following = follow_authorities(client, routes, &context.authorities);
        tokio::select! { () = following => {} () = stop.cancelled() => {} }
    });
}

/// What the watches have in common.
struct Watching<'a> {
    work: &'a mut JoinSet<()>,
    client: &'a Client,
    stop: &'a CancellationToken,
}

impl Watching<'_> {
    fn follow<K>(&mut self, writer: Writer<K>, routes: &Routes, route: fn(&Routes, Change<'_, K>))
    where
        K: Resource<DynamicType: Eq + Hash + Clone + Default + Send + Sync>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let (routes, stop) = (routes.clone(), self.stop.clone());
        let api: Api<K> = Api::all(self.client.clone());
        self.work.spawn(async move {
            let restarts = &routes.metrics.watch_restarts;
            let told = |change: Change<'_, K>| route(&routes, change);
            let following = follow(api, Scope::default(), writer, restarts, told);
            tokio::select! { () = following => {} () = stop.cancelled() => {} }
        });
    }

    fn follow_secrets(&mut self, routes: &Routes) {
        let (client, routes, stop) = (self.client.clone(), routes.clone(), self.stop.clone());
        self.work.spawn(async move {
            let (versions, restarts) = (&routes.seen.secrets, &routes.metrics.watch_restarts);
            let told = |touched: Touched| routes.secret(&touched);
            let following = follow_secrets(client, versions, restarts, told);
            tokio::select! { () = following => {} () = stop.cancelled() => {} }
        });
    }

    fn follow_config_maps(&mut self, routes: &Routes) {
        let (client, routes, stop) = (self.client.clone(), routes.clone(), self.stop.clone());
        self.work.spawn(async move {
            let (published, restarts) = (&routes.seen.published, &routes.metrics.watch_restarts);
            let told = |namespace: &str| routes.policies_of(namespace);
            let following = follow_config_maps(client, published, restarts, told);
            tokio::select! { () = following => {} () = stop.cancelled() => {} }
        });
    }
}

/// Has namespaces looked at whose sidecars report something new.
fn wake_policies(
    work: &mut JoinSet<()>,
    context: &Arc<Context>,
    routes: &Routes,
    stop: &CancellationToken,
) {
    let (context, queue) = (context.clone(), routes.queues.namespaces.clone());
    let stop = stop.clone();
    work.spawn(async move {
        let waking = policy::wake(&context, &queue);
        tokio::select! { () = waking => {} () = stop.cancelled() => {} }
    });
}

/// Has the identities looked at of namespaces whose Services changed.
fn follow_services(work: &mut JoinSet<()>, routes: &Routes, stop: &CancellationToken) {
    let (routes, stop) = (routes.clone(), stop.clone());
    work.spawn(async move {
        tokio::select! { () = routes.follow_services() => {} () = stop.cancelled() => {} }
    });
}

/// Makes RSA keys, and has the Certificates reconciled that wait for one.
fn make_keys(work: &mut JoinSet<()>, routes: &Routes, stop: &CancellationToken) {
    let (routes, stop) = (routes.clone(), stop.clone());
    work.spawn(async move {
        let making = routes.keys.run(|certificate| routes.key_made(certificate));
        tokio::select! { () = making => {} () = stop.cancelled() => {} }
    });
}

/// Starts every reconciler that this role has.
fn reconcile(
    work: &mut JoinSet<()>,
    context: &Arc<Context>,
    routes: &Routes,
    waiting: Reconciled,
    stop: &CancellationToken,
) {
    if let Some(namespaces) = waiting.serving {
        wake_policies(work, context, routes, stop);
        let policies = Arc::new(Policies::new(context.clone()));
        work.spawn(Worker::new(&context.seen.namespaces, namespaces, 8, stop).run(
            policy::reconcile,
            policy::error_policy,
            policies,
        ));
        work.spawn(audit::run(context.clone(), stop.clone()));
    }
    if let Some(waiting) = waiting.issuing {
        follow_services(work, routes, stop);
        make_keys(work, routes, stop);
        issue(work, context, waiting, stop);
        keep_own(work, context, stop);
        work.spawn(issuer_kinds::run(context.clone(), stop.clone()));
    }
}

/// What waits to be reconciled by this role. The queues of the other one are closed, so that nothing waits
/// there.
struct Reconciled {
    issuing: Option<Issuing>,
    serving: Option<Outlet<PartialObjectMeta<Namespace>>>,
}

impl Reconciled {
    fn by(role: Role, waiting: Waiting) -> Self {
        let Waiting {
            certificates,
            identities,
            issuers,
            cluster_issuers,
            requests,
            pods,
            namespaces,
        } = waiting;
        let issuing =
            Issuing { certificates, identities, issuers, cluster_issuers, requests, pods };
        let issuing = role.issues().then_some(issuing);
        Self { issuing, serving: role.serves().then_some(namespaces) }
    }
}

/// What waits to be reconciled where certificates are issued.
struct Issuing {
    certificates: Outlet<Certificate>,
    identities: Outlet<Certificate>,
    issuers: Outlet<Issuer>,
    cluster_issuers: Outlet<ClusterIssuer>,
    requests: Outlet<CertificateRequest>,
    pods: Outlet<MeshPod>,
}

/// Starts what issues certificates.
fn issue(
    work: &mut JoinSet<()>,
    context: &Arc<Context>,
    waiting: Issuing,
    stop: &CancellationToken,
) {
    let seen = &context.seen;
    let Issuing { certificates, identities, issuers, cluster_issuers, requests, pods } = waiting;
    work.spawn(Worker::new(&seen.certificates, identities, 16, stop).run(
        certificate::reconcile_identity,
        certificate::error_policy,
        context.clone(),
    ));
    work.spawn(Worker::new(&seen.certificates, certificates, 32, stop).run(
        certificate::reconcile,
        certificate::error_policy,
        context.clone(),
    ));
    work.spawn(Worker::new(&seen.issuers, issuers, 8, stop).run(
        issuer::reconcile,
        issuer::error_policy,
        context.clone(),
    ));
    work.spawn(Worker::new(&seen.cluster_issuers, cluster_issuers, 8, stop).run(
        issuer::reconcile,
        issuer::error_policy,
        context.clone(),
    ));
    work.spawn(Worker::new(&seen.requests, requests, 8, stop).run(
        request::reconcile,
        request::error_policy,
        context.clone(),
    ));
    work.spawn(Worker::new(&seen.pods, pods, 8, stop).run(
        identity::reconcile,
        identity::error_policy,
        context.clone(),
    ));
    if context.settings.injects_authorities {
        work.spawn(cabundle::run(context.clone(), stop.clone()));
    }
    if context.settings.signs_for_kubernetes {
        work.spawn(kubernetes::run(context.clone(), stop.clone()));
    }
}

/// Keeps the credentials with which the operator itself serves.
fn keep_own(work: &mut JoinSet<()>, context: &Arc<Context>, stop: &CancellationToken) {
    work.spawn(discovery::keep(context.clone(), stop.clone()));
    if let Some(webhook) = context.settings.process.webhook.clone() {
        work.spawn(inject::keep(context.clone(), webhook, stop.clone()));
    }
}
