//! What all tests share: a control plane, and an authority.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, RwLock};

use countersign_tests::cluster::{Cluster, Mode, repository};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::runtime::Runtime;

use crate::authority::Pems;

/// The operator's own namespace.
pub(crate) const HOME: &str = "countersign-system";

/// The webhook's configuration, with no webhook in it.
const WEBHOOK: &str = r#"{ "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingWebhookConfiguration", "metadata": { "name": "countersign" }, "webhooks": [] }"#;

/// What all tests share.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    /// Signs for everybody.
    pub(crate) authority: Pems,
    /// Held by whoever can bear no others beside it.
    pub(crate) alone: RwLock<()>,
    cluster: Mutex<Option<Cluster>>,
    client: OnceLock<Client>,
    folder: PathBuf,
}

impl Default for World {
    fn default() -> Self {
        let name = format!("countersign-crash-{}", std::process::id());
        Self {
            runtime: Runtime::new().expect("a runtime"),
            authority: Pems::new(),
            alone: RwLock::default(),
            cluster: Mutex::default(),
            client: OnceLock::new(),
            folder: std::env::temp_dir().join(name),
        }
    }
}

impl World {
    /// Starts the control plane.
    pub(crate) fn start(&self) {
        std::fs::create_dir_all(&self.folder).expect("a folder");
        let name = format!("crash-{}", std::process::id());
        let cluster = Cluster::start(&name, Mode::ControlPlane).expect("a control plane");
        run(cluster.command("kubectl").args(["apply", "-f"]).arg(repository().join("crds")));
        run(cluster.command("kubectl").args(["create", "namespace", HOME]));
        // What the webhook's keeper looks after; without it, it would look again and again.
        let webhook = self.file("webhook.yaml");
        std::fs::write(&webhook, WEBHOOK).expect("a manifest");
        run(cluster.command("kubectl").args(["apply", "-f"]).arg(webhook));
        let established = ["wait", "--for=condition=Established", "--all", "crd"];
        run(cluster.command("kubectl").args(established));
        let client = self.runtime.block_on(client(&cluster.kubeconfig()));
        self.client.set(client).ok().expect("started once");
        *self.cluster.lock().unwrap() = Some(cluster);
    }

    /// Ends it. The operators' logs stay where something failed.
    pub(crate) fn stop(&self, has_failed: bool) {
        if let Some(cluster) = self.cluster.lock().unwrap().take() {
            cluster.stop().expect("the control plane ends");
            if !has_failed {
                std::fs::remove_dir_all(&self.folder).expect("the logs go");
            }
        }
    }

    /// Who may do anything.
    pub(crate) fn client(&self) -> Client {
        self.client.get().expect("it was started").clone()
    }

    /// A file that goes at the end.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A number that nobody else has.
    pub(crate) fn number() -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("kubectl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn client(path: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(path).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("a config");
    Client::try_from(config).expect("a client")
}
