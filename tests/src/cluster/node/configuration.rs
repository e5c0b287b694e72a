//! What the programs of a node are told.

use std::path::Path;

/// containerd: its own folders, its own socket, and where the node's network is described.
pub(super) fn containerd(folder: &Path) -> String {
    let (folder, pause) = (folder.display(), super::super::images::PAUSE);
    format!(
        r#"version = 3
root = "{folder}/containerd"
state = "{folder}/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]

[grpc]
address = "{folder}/containerd.sock"

[ttrpc]
address = "{folder}/containerd.sock.ttrpc"

# Its socket would be one path for all nodes of this machine.
[plugins."io.containerd.nri.v1.nri"]
disable = true

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"

[plugins."io.containerd.cri.v1.runtime"]
# Some sandboxes lack CAP_SYS_RESOURCE.
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{folder}/cni"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
"#
    )
}

/// The kubelet: who may call it, and everything that it would otherwise share with another one.
pub(super) fn kubelet(run: &Path, folder: &Path, group: &str) -> String {
    let (run, folder) = (run.display(), folder.display());
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /{group}
failSwapOn: false
containerRuntimeEndpoint: unix://{folder}/containerd.sock
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: {folder}/resolv.conf
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: false}}
  x509: {{clientCAFile: {run}/pki/ca.crt}}
authorization: {{mode: AlwaysAllow}}
evictionHard: {{memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
podLogsDir: {folder}/pod-logs
volumePluginDir: {folder}/volume-plugins
staticPodPath: \"\"
"
    )
}

/// kube-proxy.
pub(super) fn proxy(run: &Path, node: &str) -> String {
    let run = run.display();
    // conntrack's limits are the host's, and not ours to set.
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {{kubeconfig: {run}/proxy.conf}}
clusterCIDR: 10.244.0.0/16
hostnameOverride: {node}
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
"
    )
}

/// Pods are on a bridge of the node's. It masquerades nothing: a pod of another node sees who calls,
/// and there is nobody beyond the nodes to be called.
pub(super) fn bridge(folder: &Path, pods: &str) -> String {
    let folder = folder.display();
    format!(
        r#"{{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {{
      "type": "bridge",
      "bridge": "cni0",
      "isGateway": true,
      "ipMasq": false,
      "hairpinMode": true,
      "ipam": {{
        "type": "host-local",
        "dataDir": "{folder}/addresses",
        "ranges": [[{{"subnet": "{pods}"}}]],
        "routes": [{{"dst": "0.0.0.0/0"}}]
      }}
    }},
    {{"type": "portmap", "capabilities": {{"portMappings": true}}}}
  ]
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NRI's default path is the same for each containerd of a machine.
    #[test]
    fn containerds_of_two_nodes_share_no_socket() {
        let text = containerd(Path::new("/run/one"));
        assert!(text.contains("[plugins.\"io.containerd.nri.v1.nri\"]\ndisable = true\n"));
        let sockets = text.lines().filter(|line| line.contains(".sock"));
        for socket in sockets {
            assert!(socket.contains("\"/run/one/"), "{socket}");
        }
    }
}
