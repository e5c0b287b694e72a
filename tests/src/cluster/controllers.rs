//! What a cluster with nodes has once, beside the API server: controllers and scheduler.

use std::process::Child;

use super::Site;
use super::network::Network;
use super::process;

/// Starts both, on the first node.
pub(super) fn start(site: Site<'_>, first: &Network) -> anyhow::Result<Vec<Child>> {
    let (run, pki) = (site.run.display(), site.run.join("pki"));
    let pki = pki.display();
    let mut manager = first.command(site.tools.program("kube-controller-manager")?);
    manager.args([
        format!("--kubeconfig={run}/controller-manager.conf"),
        format!("--root-ca-file={pki}/ca.crt"),
        format!("--service-account-private-key-file={pki}/sa.key"),
        format!("--cluster-signing-cert-file={pki}/ca.crt"),
        format!("--cluster-signing-key-file={pki}/ca.key"),
        "--use-service-account-credentials".to_owned(),
        "--leader-elect=false".to_owned(),
        // Each node's addresses for pods are in its configuration, and in the routes between nodes.
        "--allocate-node-cidrs=false".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
    ]);
    let mut scheduler = first.command(site.tools.program("kube-scheduler")?);
    scheduler.arg(format!("--kubeconfig={run}/scheduler.conf")).arg("--leader-elect=false");
    Ok(vec![
        process::start(site.run, "kube-controller-manager", &mut manager)?,
        process::start(site.run, "kube-scheduler", &mut scheduler)?,
    ])
}
