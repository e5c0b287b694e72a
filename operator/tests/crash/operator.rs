//! The operator, as a child process that can be killed at any moment.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::proxy::Proxy;
use crate::world::{HOME, World};

/// A process of the operator; it is killed (SIGKILL) when this goes.
pub(crate) struct Operator(Child);

impl Operator {
    fn start(kubeconfig: &Path, log: &Path, flags: &[&str]) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_countersign-operator"))
            .args(["--admin-listen=127.0.0.1:0", "--webhook-listen=127.0.0.1:0"])
            .arg("--discovery-listen=127.0.0.1:0")
            .args(["--cluster-resource-namespace", HOME, "--ca-injection=false"])
            .args(flags)
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        Self(child.expect("the operator starts"))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.kill().expect("it is killed");
        self.0.wait().expect("it is gone");
    }
}

/// Where operators sit, one after the other: behind a proxy, with a log.
pub(crate) struct Seat {
    pub(crate) proxy: Proxy,
    pub(crate) log: PathBuf,
    kubeconfig: PathBuf,
}

impl Seat {
    /// From it one namespace is to be seen, or all.
    pub(crate) async fn new(world: &World, name: &str, namespace: Option<String>) -> Self {
        let proxy = Proxy::start(world.client(), namespace).await;
        let server = format!("http://{}", proxy.address);
        let content = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{ "name": "proxy", "cluster": { "server": server } }],
            "users": [{ "name": "proxy", "user": {} }],
            "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": "proxy" } }],
        });
        let kubeconfig = world.file(&format!("{name}.conf"));
        std::fs::write(&kubeconfig, content.to_string()).expect("a kubeconfig");
        Self { proxy, log: world.file(&format!("{name}.log")), kubeconfig }
    }

    /// Starts an operator, alone.
    pub(crate) async fn start(&self) {
        self.start_with(&["--leader-election=false"]).await;
    }

    /// Starts an operator with these flags.
    pub(crate) async fn start_with(&self, flags: &[&str]) {
        self.proxy.admit(|| Operator::start(&self.kubeconfig, &self.log, flags)).await;
    }
}
