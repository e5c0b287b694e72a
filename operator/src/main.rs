//! countersign-operator: see the library for the map.

use std::sync::Arc;

use anyhow::Context as _;
use countersign_operator::admin::{self, Readiness};
use countersign_operator::api_client::Fence;
use countersign_operator::args::Args;
use countersign_operator::cabundle::ApiServerAuthority;
use countersign_operator::clock::Clock;
use countersign_operator::context::{Process, Settings, Webhook};
use countersign_operator::discovery::Leader;
use countersign_operator::inject::InjectArgs;
use countersign_operator::leader::{Election, identity};
use countersign_operator::metrics::{Exposition, Metrics, Objects};
use countersign_operator::policy::Defaults;
use countersign_operator::role::Role;
use countersign_operator::run::Controllers;
use countersign_operator::{descriptors, discovery, inject, own_credentials, telemetry};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What fails where there is no client.
const CONNECTING: &str = "connecting to the API server";

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse_or_exit();
    let _flush = telemetry::start(&args.log, args.log_format)?;
    info!(version = env!("CARGO_PKG_VERSION"), "starting");
    descriptors::raise();
    let config = kube::Config::infer().await.context("finding the API server")?;
    let api_server_authority = ApiServerAuthority::of(&config);
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let fence = if args.leader_election { Fence::closed() } else { Fence::open() };
    let [client, unfenced] = [&fence, &Fence::open()]
        .map(|fence| metrics.api_requests.fenced_client(config.clone(), fence));
    let (client, unfenced) = (client.context(CONNECTING)?, unfenced.context(CONNECTING)?);
    let clock = Clock::system();
    let readiness = Arc::new(Readiness::default());
    let stop = stop_on_signal()?;
    let mut controllers =
        Controllers::new(client.clone(), clock, metrics, settings(&args, api_server_authority));
    client.apiserver_version().await.context("asking the API server for its version")?;
    readiness.started();
    let name = identity(&args.pod_name, std::process::id());
    let home = &args.cluster_resource_namespace;
    let lease = args.role.lease();
    let election = Election::new(unfenced.clone(), home, lease, name, clock, fence);
    let mut serving = JoinSet::new();
    if args.role.serves() {
        controllers.observe(&stop);
        serve(&mut serving, &args, &controllers, &election, &readiness, &stop).await?;
    } else {
        readiness.webhook_is_ready();
    }
    if args.role == Role::Front {
        serving.spawn(credentials(args.clone(), unfenced, clock, stop.clone()));
    }
    let exposition = Exposition::new(registry, Objects::of(&controllers.context()));
    let admin = admin::serve(args.admin_listen, exposition, readiness, stop.clone());
    serving.spawn(or_stop(admin, stop.clone()));
    let events = controllers.context().events.clone();
    let led = lead(&args, election, controllers, &stop).await;
    stop.cancel();
    while let Some(served) = serving.join_next().await {
        served.context("a server's task")??;
    }
    events.flush().await;
    info!("stopped");
    led
}

/// Serves the webhook and sidecars; what these report is told whoever is elected.
async fn serve(
    serving: &mut JoinSet<anyhow::Result<()>>,
    args: &Args,
    controllers: &Controllers,
    election: &Election,
    readiness: &Arc<Readiness>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let (context, hub) = (controllers.context(), controllers.hub());
    let mut inject_args = args.inject.clone();
    inject_args.discovery_addresses = hub.home();
    let webhook = inject::serve(inject_args, context.clone(), readiness.clone(), stop.clone());
    serving.spawn(or_stop(webhook, stop.clone()));
    let listener = discovery::listen(args.discovery_listen).await?;
    let leader = Leader::Elected { pod: election.leads(), port: args.discovery_listen.port() };
    let discovery = discovery::serve(listener, context, hub, leader, stop.clone());
    serving.spawn(async move {
        discovery.await;
        Ok(())
    });
    Ok(())
}

/// Waits for the credentials that the controller issues.
async fn credentials(
    args: Args,
    client: Client,
    clock: Clock,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client, &args.cluster_resource_namespace);
    let mounted = own_credentials::nudge(pods, args.pod_name, &args.credentials, clock);
    tokio::select! { () = mounted => {} () = stop.cancelled() => {} }
    Ok(())
}

/// A server that cannot serve takes the process down, which then says why.
async fn or_stop<E>(
    serving: impl Future<Output = Result<(), E>>,
    stop: CancellationToken,
) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let served = serving.await;
    stop.cancel();
    Ok(served?)
}

fn process(args: &Args) -> Process {
    let InjectArgs { webhook_service, webhook_configuration, .. } = args.inject.clone();
    let webhook = Webhook { service: webhook_service, configuration: webhook_configuration };
    Process {
        role: args.role,
        credentials: (args.role == Role::Front).then(|| args.credentials.clone()),
        webhook: Some(webhook),
        pod: args.pod_name.clone(),
        ..Process::default()
    }
}

fn settings(args: &Args, api_server_authority: ApiServerAuthority) -> Settings {
    Settings {
        process: process(args),
        trust_domain: args.inject.trust_domain.clone(),
        cluster_domain: args.cluster_domain.clone(),
        cluster_resource_namespace: args.cluster_resource_namespace.clone(),
        identity_issuer: args.identity_issuer.clone(),
        device_issuer: args.device_issuer.clone().filter(|name| !name.is_empty()),
        identity_duration: args.identity_duration,
        reissue_spread: args.reissue_spread,
        max_rsa_bits: args.max_rsa_bits,
        default_issuer: args.default_issuer.clone(),
        approves: args.auto_approval,
        signs_for_kubernetes: args.kubernetes_signer,
        injects_authorities: args.ca_injection,
        access: Defaults { allow: args.default_access, unmeshed: args.unmeshed.into() },
        pod_ranges: args.pod_cidrs.clone(),
        external_ranges: args.external_cidrs.clone(),
        excluded_namespaces: args.inject.excluded_namespaces.clone(),
        replaces_uninjected: args.inject.replace_uninjected,
        api_server_authority,
    }
}

/// Waits for the Lease, reconciles while it is held, and gives it back.
async fn lead(
    args: &Args,
    election: Election,
    controllers: Controllers,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    if !args.leader_election {
        controllers.run(stop.clone()).await;
        return Ok(());
    }
    tokio::select! {
        () = election.won() => {}
        () = stop.cancelled() => return Ok(()),
    }
    let events = controllers.context().events.clone();
    let running = controllers.run(stop.clone());
    tokio::select! {
        () = running => {
            events.flush().await;
            election.release().await;
            Ok(())
        }
        lost = election.lost() => {
            error!(%lost, "ending, so that no two write at once");
            Err(lost.into())
        }
    }
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
        info!("stopping");
        token.cancel();
    });
    Ok(stop)
}
