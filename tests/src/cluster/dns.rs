//! The cluster's DNS: CoreDNS, beside the control plane and not in a pod.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Child;

use anyhow::ensure;

use super::Site;
use super::network::Network;
use super::process;

/// Starts it on the first node, and makes it known to all.
pub(super) fn start(site: Site<'_>, first: &Network) -> anyhow::Result<Child> {
    let configuration = site.run.join("Corefile");
    fs::write(&configuration, corefile(site.run, first.address))?;
    let mut dns = first.command(site.tools.program("coredns")?);
    dns.arg("-conf").arg(configuration);
    let started = process::start(site.run, "coredns", &mut dns)?;
    apply(site, &service(first.address))?;
    Ok(started)
}

fn apply(site: Site<'_>, manifest: &str) -> anyhow::Result<()> {
    let path = site.run.join("manifest.yaml");
    fs::write(&path, manifest)?;
    let output = site.kubectl()?.arg("apply").arg("-f").arg(&path).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn corefile(run: &Path, address: Ipv4Addr) -> String {
    let run = run.display();
    format!(
        ".:53 {{
  bind {address}
  errors
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {run}/admin.conf
  }}
}}
"
    )
}

/// A Service without a selector, whose one endpoint is not a pod.
fn service(address: Ipv4Addr) -> String {
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
endpoints: [{{addresses: [{address}]}}]
ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]
"
    )
}
