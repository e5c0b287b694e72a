//! Calls that cross from one node to another.

use anyhow::ensure;

use super::application::VISITOR;
use super::{Stage, Step};

/// The kubeconfig's context of a cluster that `countersign-cluster` started: it has two nodes, and the
/// scheduler no reason to put together what prefers to be apart.
const OURS: &str = "countersign";

/// A field of the first pod that a selector selects.
fn field(stage: &Stage, pod: &str, path: &str) -> anyhow::Result<String> {
    stage.run(&format!("kubectl {pod} -o jsonpath='{{.items[0]{path}}}'"))
}

pub(super) const CROSSING: Step = Step {
    name: "a_call_to_another_node_keeps_its_callers_address_and_identity",
    title: "redis-cli calls Redis on another node: Redis' sidecar sees the caller's own address and identity",
    show: |stage| {
        let visitor = "-n edge get pod -l app=visitor";
        let from = field(stage, visitor, ".spec.nodeName")?;
        let to = field(stage, "-n app get pod -l app=redis", ".spec.nodeName")?;
        let context = stage.run("kubectl config current-context")?;
        ensure!(from != to || context.trim() != OURS, "both pods are on {from}");
        let address = field(stage, visitor, ".status.podIP")?;
        let ping = "redis-cli -h redis.app.svc.cluster.local ping | grep PONG";
        stage.until(60, &format!("{VISITOR} {ping}"))?;
        stage.until(20, &format!("kubectl -n app logs redis-0 -c countersign-sidecar --tail=-1 | grep '\"client\":\"{address}:' | grep '\"peer\":\"spiffe://cluster.local/ns/edge/sa/visitor\"' | grep inbound | tail -1"))?;
        let saw = format!("it saw {address}, ns/edge/sa/visitor");
        Ok(if from == to {
            format!("{saw}; both pods are on {from}: no call crossed between nodes here")
        } else {
            format!("from {from} to {to}: {saw}")
        })
    },
};
