//! The webhook takes reviews from the API server only, which shows its client certificate. Strangers are
//! played in the operator's own tests (inject/server/tests/clients.rs).

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use countersign_operator::admin::Readiness;
use countersign_operator::args::Args;
use countersign_operator::clock::Clock;
use countersign_operator::inject;
use countersign_operator::metrics::Metrics;
use countersign_operator::run::Controllers;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use libtest_mimic::Trial;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::webhook;
use crate::approval::has;
use crate::space::{Space, make_in, text};
use crate::world::World;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        webhook::{
            api_server_is_known_by_its_client_certificate,
        }
    }
}

/// A webhook that runs, and its files; both go with this.
struct Webhook {
    folder: PathBuf,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Webhook {
    /// Starts one that answers clients of a CA with this name.
    async fn start(space: &Space, ca: &[u8], name: &str) -> Self {
        let pki = space.world.authority_of_the_api_server();
        let pki = pki.parent().unwrap();
        let folder = std::env::temp_dir().join(format!("{}-{name}", space.namespace));
        let folder = folder.with_extension(std::process::id().to_string());
        let own = folder.join("webhook");
        std::fs::create_dir_all(&own).unwrap();
        let copy = |from: &str, to: &str| std::fs::copy(pki.join(from), own.join(to)).unwrap();
        copy("webhook.crt", "tls.crt");
        copy("webhook.key", "tls.key");
        copy("ca.crt", "ca.crt");
        let file = folder.join("clients.crt");
        std::fs::write(&file, ca).unwrap();
        let (address, stop) = (free_port(), CancellationToken::new());
        serve(space, &folder, &file, (address, name), stop.clone()).await;
        Self { folder, address, stop }
    }

    /// What makes the API server call it for the pods of the test's namespace.
    async fn configure(&self, space: &Space) {
        let pki = space.world.authority_of_the_api_server();
        let ca = k8s_openapi::ByteString(std::fs::read(pki).unwrap());
        let here = json!({ "matchLabels": { "kubernetes.io/metadata.name": space.namespace } });
        let hook = json!({
            "name": "a.example.org", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": { "url": format!("https://{}/inject", self.address), "caBundle": ca },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }],
            "namespaceSelector": here, "failurePolicy": "Fail", "timeoutSeconds": 5,
        });
        make_in(&configurations(space), &space.namespace, json!({ "webhooks": [hook] })).await;
    }
}

fn configurations(space: &Space) -> Api<MutatingWebhookConfiguration> {
    Api::all(space.client.clone())
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

async fn serve(
    space: &Space,
    credentials: &Path,
    ca: &Path,
    (address, name): (SocketAddr, &str),
    stop: CancellationToken,
) {
    let mut args = Args::try_parse_from(["countersign-operator"]).unwrap().inject;
    args.webhook_listen = address;
    args.webhook_client_ca = Some(ca.to_owned());
    args.webhook_client_names = vec![name.to_owned()];
    let mut settings = space.world.settings();
    settings.process.credentials = Some(credentials.to_owned());
    let metrics = Metrics::register(&mut Registry::default());
    let client = space.client.clone();
    let context = Controllers::new(client, Clock::system(), metrics, settings).context();
    let readiness = Arc::new(Readiness::default());
    let is_ready = readiness.clone();
    is_ready.started();
    tokio::spawn(inject::serve(args, context, readiness, stop));
    let ready = async {
        while is_ready.missing().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ready).await.expect("the webhook is ready");
}

/// Creates pods until one shows what the webhook does; a configuration is in force a moment later.
async fn create_until<T>(
    space: &Space,
    what: &str,
    is_it: impl Fn(kube::Result<Pod>) -> Option<T>,
) -> T {
    let creating = async {
        for number in 0.. {
            let pod = json!({
                "metadata": { "name": format!("{what}-{number}"), "labels": { "countersign.dev/inject": "enabled" } },
                "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
            });
            let pod = serde_json::from_value(pod).unwrap();
            let made = space.api::<Pod>().create(&PostParams::default(), &pod).await;
            if let Some(found) = is_it(made) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        unreachable!()
    };
    tokio::time::timeout(Duration::from_secs(60), creating).await.expect(what)
}

fn is_injected(pod: &Pod) -> bool {
    let inits = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    inits.into_iter().any(|container| container.name == "countersign-sidecar")
}

pub(crate) async fn api_server_is_known_by_its_client_certificate(space: Space) {
    space.make::<ServiceAccount>("default", json!({})).await;
    space.authority().await;
    space.ready("root").await;
    let ca = std::fs::read(space.world.authority_of_the_api_server()).unwrap();
    let name = "kube-apiserver-webhook";
    let good = Webhook::start(&space, &ca, name).await;
    good.configure(&space).await;
    create_until(&space, "good", |made| made.ok().filter(is_injected)).await;
    let foreign = text(&space.secret("root").await, "tls.crt").to_vec();
    for (what, ca, name) in [("foreign", &foreign, name), ("misnamed", &ca, "another")] {
        let refusing = Webhook::start(&space, ca, name).await;
        refusing.configure(&space).await;
        let why = create_until(&space, what, |made| made.err()).await.to_string();
        has(&why, &["failed calling webhook"]);
        good.configure(&space).await;
        create_until(&space, &format!("{what}-good"), |made| made.ok().filter(is_injected)).await;
    }
    configurations(&space)
        .delete(&space.namespace, &DeleteParams::default())
        .await
        .expect("it goes");
}
