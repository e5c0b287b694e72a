//! Good clients: pods that want an identity, the API server, and sidecars; and how long each took.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use countersign_contract::names::identity_name;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::super::discovery::population::Population;
use super::super::program::Operator;
use super::super::site::{Site, path_of};
use super::super::watch::Watch;
use super::flood::{post, review};
use crate::mesh::{Credentials, Stream};

const NAMESPACE: &str = "good";

/// How long anything may take until it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a good client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Identity,
    Webhook,
    Discovery,
}

/// What good clients saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// By kind, in milliseconds.
    pub(super) took: [Vec<f64>; 3],
    pub(super) failed: Vec<String>,
}

/// Good clients, until this goes.
pub(super) struct Good {
    seen: Notes,
    _all: JoinSet<()>,
}

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Seen>>);

impl Good {
    pub(super) async fn start(
        site: &Site,
        operator: &Operator,
        population: &Population,
    ) -> anyhow::Result<Self> {
        site.namespace(NAMESPACE).await?;
        let watch = Watch::of(site.client(), path_of(NAMESPACE, "certificates")).await?;
        let (seen, mut all) = (Notes::default(), JoinSet::new());
        all.spawn(identities(seen.clone(), site.client(), watch));
        all.spawn(reviews(seen.clone(), operator.webhook));
        let (pod, credentials) = population.pod(0);
        let service = population.services()[0].to_string();
        let asks = Asks { at: operator.discovery, pod, credentials: credentials.clone(), service };
        all.spawn(asks.run(seen.clone()));
        Ok(Self { seen, _all: all })
    }

    pub(super) fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock())
    }
}

impl Notes {
    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does it, and notes how long it took.
    async fn one(&self, kind: Kind, done: impl Future<Output = anyhow::Result<()>>) {
        let started = Instant::now();
        let ended = timeout(PATIENCE, done).await;
        let took = started.elapsed().as_secs_f64() * 1e3;
        match ended.context("it takes too long").and_then(|done| done) {
            Ok(()) => self.lock().took[kind as usize].push(took),
            Err(error) => {
                self.lock().failed.push(format!("{kind:?} after {took:.0} ms: {error:#}"))
            }
        }
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A pod of a new account twice a second.
async fn identities(seen: Notes, client: Client, mut watch: Watch) {
    let mut ticks = every(Duration::from_millis(500));
    for number in 0.. {
        ticks.tick().await;
        let account = format!("account-{number}");
        seen.one(Kind::Identity, identity(&client, &mut watch, &account)).await;
    }
}

async fn identity(client: &Client, watch: &mut Watch, account: &str) -> anyhow::Result<()> {
    let parameters = PostParams::default();
    let object: ServiceAccount =
        serde_json::from_value(json!({ "metadata": { "name": account } }))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    accounts.create(&parameters, &object).await.context("making an account")?;
    let object: Pod = serde_json::from_value(json!({
        "metadata": { "name": account, "labels": { "countersign.dev/injected": "true" } },
        "spec": {
            "serviceAccountName": account, "automountServiceAccountToken": false,
            "containers": [{ "name": "app", "image": "example.org/app:1" }],
        },
    }))?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    pods.create(&parameters, &object).await.context("making a pod")?;
    let name = identity_name(account);
    loop {
        let changed = watch.next(PATIENCE).await?;
        if changed.name == name && changed.is_ready {
            return Ok(());
        }
    }
}

/// Reviews of a small pod, ten times a second, each on a connection of its own.
async fn reviews(seen: Notes, webhook: SocketAddr) {
    let mut ticks = every(Duration::from_millis(100));
    let body = review(1);
    loop {
        ticks.tick().await;
        let reviewed = async {
            let answer = post(webhook, &body).await?;
            anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            Ok(())
        };
        seen.one(Kind::Webhook, reviewed).await;
    }
}

/// A sidecar that comes anew, five times a second.
struct Asks {
    at: SocketAddr,
    pod: String,
    credentials: Credentials,
    service: String,
}

impl Asks {
    async fn run(self, seen: Notes) {
        let mut ticks = every(Duration::from_millis(200));
        loop {
            ticks.tick().await;
            let asked = async {
                let mut stream = Stream::open(self.at, Some(&self.credentials), &self.pod).await?;
                stream.follow(std::slice::from_ref(&self.service)).await?;
                stream.until(&self.service, |answer| !answer.endpoints.is_empty()).await?;
                Ok(())
            };
            seen.one(Kind::Discovery, asked).await;
        }
    }
}
