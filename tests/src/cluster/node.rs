//! The rest of a one-node cluster: controllers, scheduler, container runtime, kubelet, proxy, DNS.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::network::Network;
use super::process::{self, wait_until};
use super::tools::Tools;

/// A node that is being set up.
pub(super) struct Node<'a> {
    pub(super) run: &'a Path,
    pub(super) tools: &'a Tools,
    pub(super) network: &'a Network,
}

impl Node<'_> {
    /// Starts everything and waits until pods can run.
    pub(super) fn start(&self, pause: &Path) -> anyhow::Result<Vec<Child>> {
        self.configure()?;
        let mut children = self.start_controllers()?;
        children.push(self.start_containerd(pause)?);
        children.extend(self.start_kubelet()?);
        self.apply(&self.dns_service())?;
        self.wait_ready()?;
        Ok(children)
    }

    fn configure(&self) -> anyhow::Result<()> {
        let write = |name: &str, text: String| {
            fs::write(self.run.join(name), text).with_context(|| format!("writing {name}"))
        };
        fs::create_dir_all(self.run.join("cni"))?;
        write("containerd.toml", self.containerd_configuration())?;
        write("cni/10-bridge.conflist", BRIDGE.to_owned())?;
        write("kubelet.yaml", self.kubelet_configuration())?;
        write("proxy.yaml", self.proxy_configuration())?;
        write("resolv.conf", "nameserver 127.0.0.1\n".to_owned())?;
        write("Corefile", self.corefile())
    }

    fn program(&self, name: &str) -> anyhow::Result<Command> {
        Ok(self.network.command(self.tools.program(name)?))
    }

    fn start_controllers(&self) -> anyhow::Result<Vec<Child>> {
        let (run, pki) = (self.run.display(), self.run.join("pki"));
        let pki = pki.display();
        let mut manager = self.program("kube-controller-manager")?;
        manager.args([
            format!("--kubeconfig={run}/controller-manager.conf"),
            format!("--root-ca-file={pki}/ca.crt"),
            format!("--service-account-private-key-file={pki}/sa.key"),
            format!("--cluster-signing-cert-file={pki}/ca.crt"),
            format!("--cluster-signing-key-file={pki}/ca.key"),
            "--use-service-account-credentials".to_owned(),
            "--leader-elect=false".to_owned(),
            "--allocate-node-cidrs=true".to_owned(),
            "--cluster-cidr=10.244.0.0/16".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        ]);
        let mut scheduler = self.program("kube-scheduler")?;
        scheduler.arg(format!("--kubeconfig={run}/scheduler.conf")).arg("--leader-elect=false");
        Ok(vec![
            process::start(self.run, "kube-controller-manager", &mut manager)?,
            process::start(self.run, "kube-scheduler", &mut scheduler)?,
        ])
    }

    fn start_containerd(&self, pause: &Path) -> anyhow::Result<Child> {
        let mut containerd = self.program("containerd")?;
        containerd.arg("-c").arg(self.run.join("containerd.toml"));
        containerd.env("PATH", self.tools.path());
        let child = process::start(self.run, "containerd", &mut containerd)?;
        let answers = || {
            let version =
                ctr(self.run, self.tools).and_then(|mut ctr| Ok(ctr.arg("version").output()?));
            version.is_ok_and(|output| output.status.success())
        };
        let log = process::log(self.run, "containerd");
        ensure!(
            wait_until(Duration::from_secs(60), answers),
            "containerd does not answer; its log is {}",
            log.display()
        );
        super::images::import(self.run, self.tools, pause)?;
        Ok(child)
    }

    fn start_kubelet(&self) -> anyhow::Result<Vec<Child>> {
        let run = self.run.display();
        let mut kubelet = self.program("kubelet")?;
        kubelet.args([
            format!("--config={run}/kubelet.yaml"),
            format!("--kubeconfig={run}/node.conf"),
            format!("--root-dir={run}/kubelet"),
            format!("--cert-dir={run}/kubelet-pki"),
            format!("--node-ip={}", self.network.node),
            "--hostname-override=node".to_owned(),
        ]);
        let mut proxy = self.program("kube-proxy")?;
        proxy.arg(format!("--config={run}/proxy.yaml"));
        let mut dns = self.program("coredns")?;
        dns.arg("-conf").arg(self.run.join("Corefile"));
        Ok(vec![
            process::start(self.run, "kubelet", &mut kubelet)?,
            process::start(self.run, "kube-proxy", &mut proxy)?,
            process::start(self.run, "coredns", &mut dns)?,
        ])
    }

    fn kubectl(&self) -> anyhow::Result<Command> {
        let mut kubectl = Command::new(self.tools.program("kubectl")?);
        kubectl.arg("--kubeconfig").arg(self.run.join("admin.conf"));
        Ok(kubectl)
    }

    fn apply(&self, manifest: &str) -> anyhow::Result<()> {
        let path = self.run.join("manifest.yaml");
        fs::write(&path, manifest)?;
        let output = self.kubectl()?.arg("apply").arg("-f").arg(&path).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    fn wait_ready(&self) -> anyhow::Result<()> {
        let ready = || {
            let Ok(mut ask) = self.kubectl() else { return false };
            ask.args(["wait", "--for=condition=Ready", "node/node", "--timeout=10s"]);
            let node = ask.stdout(Stdio::null()).stderr(Stdio::null()).status();
            let Ok(mut ask) = self.kubectl() else { return false };
            let account = ask.args(["get", "serviceaccount", "default"]);
            let account = account.stdout(Stdio::null()).stderr(Stdio::null()).status();
            node.is_ok_and(|status| status.success())
                && account.is_ok_and(|status| status.success())
        };
        let log = process::log(self.run, "kubelet");
        ensure!(
            wait_until(Duration::from_secs(180), ready),
            "the node does not become ready; the kubelet's log is {}",
            log.display()
        );
        Ok(())
    }

    fn containerd_configuration(&self) -> String {
        let (run, pause) = (self.run.display(), super::images::PAUSE);
        format!(
            r#"version = 3
root = "{run}/containerd"
state = "{run}/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]

[grpc]
address = "{run}/containerd.sock"

[ttrpc]
address = "{run}/containerd.sock.ttrpc"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"

[plugins."io.containerd.cri.v1.runtime"]
# Some sandboxes lack CAP_SYS_RESOURCE.
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{run}/cni"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
"#
        )
    }

    fn kubelet_configuration(&self) -> String {
        let run = self.run.display();
        format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
failSwapOn: false
containerRuntimeEndpoint: unix://{run}/containerd.sock
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: {run}/resolv.conf
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: false}}
  x509: {{clientCAFile: {run}/pki/ca.crt}}
authorization: {{mode: AlwaysAllow}}
evictionHard: {{memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
podLogsDir: {run}/pod-logs
volumePluginDir: {run}/volume-plugins
staticPodPath: \"\"
"
        )
    }

    fn proxy_configuration(&self) -> String {
        let run = self.run.display();
        // conntrack's limits are the host's, and not ours to set.
        format!(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {{kubeconfig: {run}/proxy.conf}}
clusterCIDR: 10.244.0.0/16
hostnameOverride: node
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
"
        )
    }

    fn corefile(&self) -> String {
        let (node, run) = (self.network.node, self.run.display());
        format!(
            ".:53 {{
  bind {node}
  errors
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {run}/admin.conf
  }}
}}
"
        )
    }

    /// CoreDNS runs on the node beside the others; this makes it the cluster's DNS.
    fn dns_service(&self) -> String {
        let node = self.network.node;
        format!(
            "apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system}}
spec:
  clusterIP: 10.96.0.10
  ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: kube-dns-node, namespace: kube-system, labels: {{kubernetes.io/service-name: kube-dns}}}}
addressType: IPv4
endpoints: [{{addresses: [{node}]}}]
ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]
"
        )
    }
}

/// Pods are on a bridge of the node's.
const BRIDGE: &str = r#"{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "cni0",
      "isGateway": true,
      "ipMasq": true,
      "hairpinMode": true,
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.244.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
"#;

/// containerd's own client, for its images and tasks.
pub(super) fn ctr(run: &Path, tools: &Tools) -> anyhow::Result<Command> {
    let mut ctr = Command::new(tools.program("ctr")?);
    ctr.arg("-a").arg(run.join("containerd.sock")).args(["-n", "k8s.io"]);
    Ok(ctr)
}
