//! Where the operator is measured: etcd and the API server, the chart as Helm renders it, an
//! authority, and the right to write everything that is to be measured.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Request;
use kube::{Client, Config};
use serde_json::{Value, json};

use super::super::counters::Counters;
use super::super::process::cpu;
use crate::cluster::{Cluster, Mode, repository};

/// The operator's namespace.
const HOME: &str = "countersign-system";

/// So many requests are under way at once where much is created.
pub(super) const AT_ONCE: usize = 48;

/// The group of the API that is measured.
pub(super) const GROUP: &str = "countersign.dev";

/// A ClusterIssuer that signs with an intermediate, and what it needs.
const AUTHORITY: &str = "
apiVersion: countersign.dev/v1
kind: ClusterIssuer
metadata: {name: bench-self}
spec: {selfSigned: {}}
---
apiVersion: countersign.dev/v1
kind: Certificate
metadata: {name: bench-root, namespace: countersign-system}
spec:
  isCA: true
  commonName: bench root
  secretName: bench-root
  duration: 87600h
  privateKey: {algorithm: ECDSA}
  issuerRef: {name: bench-self, kind: ClusterIssuer}
---
apiVersion: countersign.dev/v1
kind: ClusterIssuer
metadata: {name: bench-root}
spec: {ca: {secretName: bench-root}}
---
apiVersion: countersign.dev/v1
kind: Certificate
metadata: {name: bench-intermediate, namespace: countersign-system}
spec:
  isCA: true
  commonName: bench intermediate
  secretName: bench-intermediate
  duration: 43800h
  privateKey: {algorithm: ECDSA}
  issuerRef: {name: bench-root, kind: ClusterIssuer}
---
apiVersion: countersign.dev/v1
kind: ClusterIssuer
metadata: {name: bench}
spec: {ca: {secretName: bench-intermediate}}
";

/// A control plane with the chart on it.
pub(super) struct Site {
    cluster: Cluster,
    client: Client,
    /// How the operator reaches the API server: with the rights that the chart gives it.
    pub(super) kubeconfig: PathBuf,
    /// Where logs and results go.
    pub(super) folder: PathBuf,
}

impl Site {
    /// Starts a control plane, and installs the chart.
    ///
    /// # Errors
    /// When something does not start, or the API server refuses something.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let folder = repository().join("target/bench");
        std::fs::create_dir_all(&folder)?;
        let cluster = Cluster::start(&format!("bench-{}", std::process::id()), Mode::ControlPlane)?;
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config)?;
        let run = cluster.kubeconfig().with_file_name("operator.conf");
        let site = Self { cluster, client, kubeconfig: run, folder };
        site.install(&server)?;
        Ok(site)
    }

    fn install(&self, server: &str) -> anyhow::Result<()> {
        let crds = repository().join("crds");
        kubectl(&self.cluster, &["apply", "--server-side", "-f", &crds.display().to_string()], "")?;
        let established = ["wait", "--for=condition=Established", "--all", "crd", "--timeout=60s"];
        kubectl(&self.cluster, &established, "")?;
        kubectl(&self.cluster, &["create", "namespace", HOME], "")?;
        let mut helm = self.cluster.command("helm");
        helm.args(["template", "countersign"]).arg(repository().join("charts/countersign"));
        helm.args(["--namespace", HOME, "--api-versions"]);
        helm.arg("admissionregistration.k8s.io/v1/MutatingAdmissionPolicy");
        let chart = output_of(&mut helm, "")?;
        kubectl(&self.cluster, &["apply", "--server-side", "-f", "-"], &chart)?;
        // One process is measured that is both.
        let account = format!("--serviceaccount={HOME}:countersign-controller");
        let front = ["clusterrolebinding", "bench-front", "--clusterrole=countersign-operator"];
        kubectl(&self.cluster, &[&["create"], &front[..], &[&*account]].concat(), "")?;
        self.write_kubeconfig(server)
    }

    /// The operator's own kubeconfig, with a token of the controller's ServiceAccount.
    fn write_kubeconfig(&self, server: &str) -> anyhow::Result<()> {
        let ask =
            ["create", "token", "countersign-controller", "--duration=24h", "--namespace", HOME];
        let token = kubectl(&self.cluster, &ask, "")?;
        let authority = self.kubeconfig.with_file_name("pki").join("ca.crt");
        let cluster = json!({ "server": server, "certificate-authority": authority });
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{ "name": "bench", "cluster": cluster }],
            "users": [{ "name": "operator", "user": { "token": token.trim() } }],
            "contexts": [
                { "name": "bench", "context": { "cluster": "bench", "user": "operator" } },
            ],
        });
        std::fs::write(&self.kubeconfig, config.to_string()).context("writing a kubeconfig")
    }

    /// Makes the authority; an operator must be running.
    ///
    /// # Errors
    /// When the operator does not make it ready.
    pub(super) fn make_authority(&self) -> anyhow::Result<()> {
        kubectl(&self.cluster, &["apply", "--server-side", "-f", "-"], AUTHORITY)?;
        let ready = "--for=condition=Ready";
        let issuers = ["clusterissuer/bench", "clusterissuer/countersign"];
        kubectl(&self.cluster, &[&["wait", ready, "--timeout=60s"], &issuers[..]].concat(), "")?;
        Ok(())
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(super) async fn namespace(&self, name: &str) -> anyhow::Result<()> {
        let object = json!({ "metadata": { "name": name } });
        self.post("/api/v1/namespaces", &object).await
    }

    /// Makes Certificates `0` to `count` in a namespace, many at once.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub(super) async fn make_certificates(&self, ns: &str, count: usize) -> anyhow::Result<()> {
        let making = (0..count).map(|number| self.make_certificate(ns, number));
        stream::iter(making).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Makes one Certificate: two DNS names, an ECDSA key.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub(super) async fn make_certificate(&self, ns: &str, number: usize) -> anyhow::Result<()> {
        let name = name_of(number);
        let object = json!({
            "apiVersion": "countersign.dev/v1", "kind": "Certificate",
            "metadata": { "name": name },
            "spec": {
                "secretName": name,
                "dnsNames": [format!("{name}.{ns}.test"), format!("{name}.{ns}.svc.test")],
                "privateKey": { "algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always" },
                "issuerRef": { "name": "bench", "kind": "ClusterIssuer", "group": GROUP },
            },
        });
        self.post(&path_of(ns, "certificates"), &object).await
    }

    /// Asks for the renewal of every Certificate in a namespace, as people do.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(super) async fn renew_certificates(&self, ns: &str, count: usize) -> anyhow::Result<()> {
        let asking = (0..count).map(|number| self.renew_certificate(ns, number));
        stream::iter(asking).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Asks for the renewal of one.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(super) async fn renew_certificate(&self, ns: &str, number: usize) -> anyhow::Result<()> {
        let asked = json!({ "status": { "conditions": [{
            "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "now",
        }] } });
        self.patch_status(ns, "certificates", &name_of(number), &asked).await
    }

    /// Makes Secrets that are nobody's business here, of ten kilobytes each.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub(super) async fn make_foreign_secrets(&self, ns: &str, count: usize) -> anyhow::Result<()> {
        let text = "0123456789abcdef".repeat(640);
        let making = (0..count).map(|number| {
            let object = json!({
                "metadata": { "name": format!("foreign-{number}") },
                "type": "Opaque", "stringData": { "text": text },
            });
            async move { self.post(&format!("/api/v1/namespaces/{ns}/secrets"), &object).await }
        });
        stream::iter(making).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Deletes what was made in these namespaces.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(super) async fn clear(&self, namespaces: &[&str]) -> anyhow::Result<()> {
        for ns in namespaces {
            let secrets = format!("/api/v1/namespaces/{ns}/secrets");
            let ours = ["certificates", "certificaterequests"].map(|kind| path_of(ns, kind));
            for collection in ours.into_iter().chain([secrets]) {
                let (parameters, all) = (DeleteParams::default(), ListParams::default());
                self.write(Request::new(collection).delete_collection(&parameters, &all)?).await?;
            }
        }
        Ok(())
    }

    /// Writes the status of an object of ours.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(super) async fn patch_status(
        &self,
        ns: &str,
        resource: &str,
        name: &str,
        status: &Value,
    ) -> anyhow::Result<()> {
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(status));
        let collection = Request::new(path_of(ns, resource));
        self.write(collection.patch_subresource("status", name, &parameters, &patch)?).await
    }

    async fn post(&self, collection: &str, object: &Value) -> anyhow::Result<()> {
        let parameters = PostParams::default();
        self.write(Request::new(collection).create(&parameters, serde_json::to_vec(object)?)?).await
    }

    async fn write(&self, request: http::Request<Vec<u8>>) -> anyhow::Result<()> {
        let what = format!("{} {}", request.method(), request.uri().path());
        self.client.request_text(request).await.with_context(|| what)?;
        Ok(())
    }

    /// What the API server has counted so far.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) async fn counters(&self) -> anyhow::Result<Counters> {
        let request = Request::new("").get("metrics", &GetParams::default())?;
        let text = self.client.request_text(request).await.context("reading its metrics")?;
        Ok(Counters::parse(&text))
    }

    /// The time of the processor that the API server took so far.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn api_server_cpu(&self) -> anyhow::Result<Duration> {
        let record = self.kubeconfig.with_file_name("kube-apiserver.pid");
        let text = std::fs::read_to_string(record)?;
        let id = text.split_whitespace().next().context("the API server's process id")?;
        cpu(id.parse()?)
    }

    /// A client with every right.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Ends everything.
    ///
    /// # Errors
    /// When something does not end.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.cluster.stop()
    }
}

/// The name of a Certificate, and of its Secret.
pub(super) fn name_of(number: usize) -> String {
    format!("leaf-{number}")
}

/// Where the objects of our API in a namespace are.
pub(super) fn path_of(ns: &str, resource: &str) -> String {
    format!("/apis/{GROUP}/v1/namespaces/{ns}/{resource}")
}

/// What kubectl says, as an administrator.
fn kubectl(cluster: &Cluster, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    output_of(cluster.command("kubectl").args(arguments), input)
}

/// What a program says that is given this to read.
fn output_of(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let program = command.get_program().display().to_string();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().with_context(|| format!("starting {program}"))?;
    let mut to_program = running.stdin.take().context("its input")?;
    to_program.write_all(input.as_bytes())?;
    drop(to_program);
    let output = running.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}", complaint.trim());
    Ok(String::from_utf8(output.stdout)?)
}
