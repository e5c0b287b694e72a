//! Countersign on the cluster, and two pods in the mesh and two outside of it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::call;
use super::pod::Pod;
use crate::cluster::wait_until;
use crate::scenario::{PREPARATION, Stage};

/// How long a Service may take until every node knows it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whom there is to measure.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) plain: Side,
    pub(super) mesh: Side,
    are_apart: bool,
}

/// A client, and whom it calls.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) client: Pod,
    serving: Pod,
    pub(super) server: SocketAddr,
    /// The same server behind addresses of which the client has not heard.
    pub(super) first: Vec<SocketAddr>,
}

impl Side {
    fn find(stage: &Stage, namespace: &str) -> anyhow::Result<Self> {
        let client = Pod::find(stage, namespace, "client")?;
        let serving = Pod::find(stage, namespace, "server")?;
        let services = stage.run(&format!(
            "kubectl -n {namespace} get services -o jsonpath='{{range .items[*]}}{{.metadata.name}} {{.spec.clusterIP}}{{\"\\n\"}}{{end}}'"
        ))?;
        let (mut server, mut first) = (None, Vec::new());
        for line in services.lines() {
            let (name, address) = line.split_once(' ').context("a Service")?;
            let address = SocketAddr::new(address.parse().context("a Service's address")?, 80);
            if name == "server" {
                server = Some(address);
            } else {
                first.push(address);
            }
        }
        Ok(Self { client, serving, server: server.context("no server")?, first })
    }

    /// What both sidecars have used of the processors.
    pub(super) fn spent(&self) -> anyhow::Result<Duration> {
        Ok(self.client.spent()? + self.serving.spent()?)
    }
}

impl Site {
    pub(super) fn prepare(first: usize) -> anyhow::Result<Self> {
        let stage = Stage::new(false);
        println!("installing Countersign, and starting pods");
        let install = PREPARATION.first().context("no preparation")?;
        (install.show)(&stage)?;
        for (namespace, label) in
            [("bench-plain", ""), ("bench-mesh", "countersign.dev/inject: enabled")]
        {
            start(&stage, namespace, label, first)?;
        }
        let site = Self {
            plain: Side::find(&stage, "bench-plain")?,
            mesh: Side::find(&stage, "bench-mesh")?,
            are_apart: are_apart(&stage)?,
        };
        ensure!(site.mesh.client.is_meshed(), "the client has no sidecar");
        ensure!(!site.plain.client.is_meshed(), "the plain client has a sidecar");
        // The sidecar is ready for calls, and the node knows each Service.
        call::first(&site.mesh.client, site.mesh.server)?;
        for address in site.plain.first.iter().chain(&site.mesh.first) {
            let accepts = || call::accepts(&site.plain.client, *address).unwrap_or(false);
            ensure!(wait_until(PATIENCE, accepts), "nobody accepts at {address}");
        }
        Ok(site)
    }

    /// Where the pods are.
    pub(super) fn nodes(&self) -> &'static str {
        if self.are_apart { "on two nodes" } else { "on one node" }
    }
}

fn start(stage: &Stage, namespace: &str, label: &str, first: usize) -> anyhow::Result<()> {
    let kubectl = format!("kubectl -n {namespace}");
    stage.run(&format!("printf 'apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: {{{label}}}}}\n' | kubectl apply -f -"))?;
    stage.run(&format!("{kubectl} apply -f tests/manifests/latency.yaml"))?;
    stage.run(&format!("for N in $(seq {first}); do printf -- '---\napiVersion: v1\nkind: Service\nmetadata: {{name: first-%s}}\nspec: {{selector: {{app: server}}, ports: [{{port: 80, targetPort: 8080}}]}}\n' $N; done | {kubectl} apply -f -"))?;
    stage.run(&format!(
        "{kubectl} wait --for=condition=Ready pod/server pod/client --timeout=120s"
    ))?;
    Ok(())
}

/// Whether both clients are on another node than their servers.
fn are_apart(stage: &Stage) -> anyhow::Result<bool> {
    let mut apart = true;
    for namespace in ["bench-plain", "bench-mesh"] {
        let nodes = stage.run(&format!(
            "kubectl -n {namespace} get pods -o jsonpath='{{.items[*].spec.nodeName}}'"
        ))?;
        let mut nodes = nodes.split_whitespace();
        apart &= nodes.next() != nodes.next();
    }
    Ok(apart)
}
