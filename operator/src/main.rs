//! countersign-operator: see the library for the map.

use std::sync::Arc;

use anyhow::Context as _;
use countersign_operator::admin::{self, Readiness};
use countersign_operator::args::Args;
use countersign_operator::cabundle::ApiServerAuthority;
use countersign_operator::clock::Clock;
use countersign_operator::context::Settings;
use countersign_operator::discovery::Leader;
use countersign_operator::leader::{Election, identity};
use countersign_operator::metrics::{Exposition, Metrics, Objects};
use countersign_operator::policy::Defaults;
use countersign_operator::run::Controllers;
use countersign_operator::{discovery, inject, telemetry};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse_or_exit();
    let _flush = telemetry::start(&args.log, args.log_format)?;
    info!(version = env!("CARGO_PKG_VERSION"), "starting");
    let config = kube::Config::infer().await.context("finding the API server")?;
    let api_server_authority = ApiServerAuthority::of(&config);
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let client = metrics.api_requests.client(config).context("connecting to the API server")?;
    let clock = Clock::system();
    let readiness = Arc::new(Readiness::default());
    let stop = stop_on_signal()?;
    let mut controllers =
        Controllers::new(client.clone(), clock, metrics, settings(&args, api_server_authority));
    client.apiserver_version().await.context("asking the API server for its version")?;
    readiness.started();
    let webhook =
        inject::serve(args.inject.clone(), controllers.context(), readiness.clone(), stop.clone());
    let webhook = tokio::spawn(or_stop(webhook, stop.clone()));
    controllers.observe(&stop);
    let name = identity(&args.pod_name, std::process::id());
    let election = Election::new(client, &args.cluster_resource_namespace, name, clock);
    let discovery = tokio::spawn(discover(&args, &controllers, &election, &stop).await?);
    let exposition = Exposition::new(registry, Objects::of(&controllers.context()));
    let admin =
        admin::serve(args.admin_listen, exposition, readiness, stop.clone().cancelled_owned());
    let admin = tokio::spawn(or_stop(admin, stop.clone()));
    let events = controllers.context().events.clone();
    let led = lead(&args, election, controllers, &stop).await;
    stop.cancel();
    webhook.await.context("the webhook's task")??;
    discovery.await.context("the task of discovery")?;
    admin.await.context("the admin server's task")??;
    events.flush().await;
    info!("stopped");
    led
}

/// Listens to sidecars; what they report is told whoever is elected.
async fn discover(
    args: &Args,
    controllers: &Controllers,
    election: &Election,
    stop: &CancellationToken,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let listener = discovery::listen(args.discovery_listen).await?;
    let leader = Leader::Elected { pod: election.leads(), port: args.discovery_listen.port() };
    let (context, hub) = (controllers.context(), controllers.hub());
    Ok(discovery::serve(listener, context, hub, leader, stop.clone()))
}

/// A server that cannot serve takes the process down, which then says why.
async fn or_stop<E>(
    serving: impl Future<Output = Result<(), E>>,
    stop: CancellationToken,
) -> Result<(), E> {
    let served = serving.await;
    stop.cancel();
    served
}

fn settings(args: &Args, api_server_authority: ApiServerAuthority) -> Settings {
    Settings {
        trust_domain: args.inject.trust_domain.clone(),
        cluster_domain: args.cluster_domain.clone(),
        cluster_resource_namespace: args.cluster_resource_namespace.clone(),
        identity_issuer: args.identity_issuer.clone(),
        identity_duration: args.identity_duration,
        reissue_spread: args.reissue_spread,
        default_issuer: args.default_issuer.clone(),
        approves: args.auto_approval,
        signs_for_kubernetes: args.kubernetes_signer,
        injects_authorities: args.ca_injection,
        access: Defaults { allow: args.default_access, unmeshed: args.unmeshed.into() },
        pod_ranges: args.pod_cidrs.clone(),
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
    let running = controllers.run(stop.clone());
    tokio::select! {
        () = running => {
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
