//! etcd and the API server.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::network::Network;
use super::pki::{ClusterAuthority, kubeconfig};
use super::process::{self, wait_until};
use super::tools::Tools;

/// How long the API server may take until it is ready, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The address of the API server inside the cluster.
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// The name by which the API server calls webhooks.
const WEBHOOK_CLIENT: &str = "kube-apiserver-webhook";

/// Where the control plane listens.
pub(super) struct Addresses {
    pub(super) api: String,
    address: Ipv4Addr,
    api_port: u16,
    etcd_port: u16,
    peer_port: u16,
}

impl Addresses {
    /// In a namespace of its own the ports are free.
    pub(super) fn of_node(network: &Network) -> Self {
        Self::new(network.address, [6443, 2379, 2380])
    }

    /// On this host they must be looked for.
    pub(super) fn on_loopback() -> anyhow::Result<Self> {
        let listeners: Vec<_> = (0..3)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<Result<_, _>>()?;
        let ports: Vec<u16> =
            listeners.iter().map(|l| l.local_addr().map(|a| a.port())).collect::<Result<_, _>>()?;
        Ok(Self::new(Ipv4Addr::LOCALHOST, [ports[0], ports[1], ports[2]]))
    }

    fn new(address: Ipv4Addr, [api_port, etcd_port, peer_port]: [u16; 3]) -> Self {
        let api = format!("https://{address}:{api_port}");
        Self { api, address, api_port, etcd_port, peer_port }
    }
}

/// Certificates and kubeconfigs of everybody who talks to the API server: each node as itself.
pub(super) fn credentials(
    run: &Path,
    addresses: &Addresses,
    nodes: &[Network],
) -> anyhow::Result<()> {
    let pki = run.join("pki");
    let authority = ClusterAuthority::new(&pki)?;
    let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"];
    let ips = [Ipv4Addr::LOCALHOST, SERVICE, addresses.address].map(IpAddr::V4);
    authority.server("apiserver", &names, &ips)?;
    authority.client("admin", "admin", Some("system:masters"))?;
    authority.client("kubelet-client", "apiserver-kubelet-client", Some("system:masters"))?;
    authority.client("controller-manager", "system:kube-controller-manager", None)?;
    authority.client("scheduler", "system:kube-scheduler", None)?;
    authority.client("proxy", "system:kube-proxy", None)?;
    let nodes = nodes.iter().map(|network| network.node.as_str());
    for node in nodes.clone() {
        authority.client(node, &format!("system:node:{node}"), Some("system:nodes"))?;
    }
    authority.server("webhook", &["localhost"], &[IpAddr::V4(Ipv4Addr::LOCALHOST)])?;
    authority.client("webhook-client", WEBHOOK_CLIENT, None)?;
    admission(run, &pki)?;
    for client in ["admin", "controller-manager", "scheduler", "proxy"].into_iter().chain(nodes) {
        kubeconfig(&run.join(format!("{client}.conf")), &addresses.api, &pki, client)?;
    }
    Ok(())
}

/// Has the API server show webhooks a certificate, as docs/injection.md says.
fn admission(run: &Path, pki: &Path) -> anyhow::Result<()> {
    let (file, pki) = (run.join("webhooks.conf"), pki.display());
    let users = format!(
        "apiVersion: v1\nkind: Config\nusers:\n- name: '*'\n  user:\n    \
         client-certificate: {pki}/webhook-client.crt\n    client-key: {pki}/webhook-client.key\n"
    );
    std::fs::write(&file, users)?;
    let plugin = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n\
         - name: MutatingAdmissionWebhook\n  configuration:\n    \
         apiVersion: apiserver.config.k8s.io/v1\n    kind: WebhookAdmissionConfiguration\n    \
         kubeConfigFile: {}\n",
        file.display()
    );
    Ok(std::fs::write(run.join("admission.yaml"), plugin)?)
}

/// Starts both, and waits until the API server is ready.
pub(super) fn start(
    run: &Path,
    tools: &Tools,
    addresses: &Addresses,
    command: &dyn Fn(&Path) -> Command,
) -> anyhow::Result<Vec<Child>> {
    let mut etcd = command(&tools.program("etcd")?);
    let loopback = |port: u16| format!("http://127.0.0.1:{port}");
    let (client, peer) = (loopback(addresses.etcd_port), loopback(addresses.peer_port));
    etcd.arg("--data-dir").arg(run.join("etcd")).args([
        // The data of a throw-away cluster need not outlive the machine.
        "--unsafe-no-fsync",
        "--log-level=warn",
        &format!("--listen-client-urls={client}"),
        &format!("--advertise-client-urls={client}"),
        &format!("--listen-peer-urls={peer}"),
        &format!("--initial-advertise-peer-urls={peer}"),
        &format!("--initial-cluster=default={peer}"),
    ]);
    let etcd = process::start(run, "etcd", &mut etcd)?;
    let mut api = command(&tools.program("kube-apiserver")?);
    api.args(api_arguments(run, addresses, &client));
    let api = process::start(run, "kube-apiserver", &mut api)?;
    let children = vec![etcd, api];
    wait_ready(run, tools)?;
    Ok(children)
}

fn api_arguments(run: &Path, addresses: &Addresses, etcd: &str) -> Vec<String> {
    let pki = run.join("pki");
    let file = |flag: &str, name: &str| format!("--{flag}={}", pki.join(name).display());
    // Pods, of which there are none, could not reach an address of loopback.
    let reconciler = if addresses.address.is_loopback() { "none" } else { "lease" };
    vec![
        format!("--endpoint-reconciler-type={reconciler}"),
        format!("--etcd-servers={etcd}"),
        format!("--bind-address={}", addresses.address),
        format!("--advertise-address={}", addresses.address),
        format!("--secure-port={}", addresses.api_port),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        format!("--admission-control-config-file={}", run.join("admission.yaml").display()),
        "--allow-privileged=true".to_owned(),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        file("service-account-signing-key-file", "sa.key"),
        file("service-account-key-file", "sa.pub"),
        file("client-ca-file", "ca.crt"),
        file("tls-cert-file", "apiserver.crt"),
        file("tls-private-key-file", "apiserver.key"),
        file("kubelet-client-certificate", "kubelet-client.crt"),
        file("kubelet-client-key", "kubelet-client.key"),
    ]
}

fn wait_ready(run: &Path, tools: &Tools) -> anyhow::Result<()> {
    let kubectl = tools.program("kubectl")?;
    let ready = || {
        let mut ask = Command::new(&kubectl);
        ask.arg("--kubeconfig").arg(run.join("admin.conf")).args(["get", "--raw", "/readyz"]);
        ask.output().is_ok_and(|output| output.status.success())
    };
    let ended = || process::recorded(run, "kube-apiserver").is_none_or(|api| !api.runs());
    if wait_until(PATIENCE, || ready() || ended()) && ready() {
        return Ok(());
    }
    let log = process::log(run, "kube-apiserver");
    let text =
        std::fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()))?;
    let last = text.lines().last().unwrap_or_default();
    bail!("the API server does not become ready; its log is {}: {last}", log.display())
}
