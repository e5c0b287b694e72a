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

/// Which addresses of the Service's endpoints the visitor's sidecar has called since it is there.
const CALLED: &str = "kubectl -n edge logs deploy/visitor -c countersign-sidecar --since-time=$(kubectl -n app get service front-here -o jsonpath='{.metadata.creationTimestamp}') | grep -o 'Service app/front-here at [0-9.]*' | awk '{ print $4 }'";

pub(super) const LOCAL: Step = Step {
    name: "a_service_of_the_callers_node_is_called_on_that_node_only",
    title: "A Service with internalTrafficPolicy Local is called on the caller's node only, though nginx is on both",
    show: |stage| {
        let node = field(stage, "-n edge get pod -l app=visitor", ".spec.nodeName")?;
        let here = stage.run(&format!("kubectl -n app get pod -l app=front --field-selector=spec.nodeName={node} -o jsonpath='{{.items[*].status.podIP}}'"))?;
        if here.trim().is_empty() {
            return Ok(format!("not seen here: there is no nginx on {node}, where the caller is"));
        }
        stage.run("kubectl -n app delete service front-here --ignore-not-found")?;
        stage.run("printf 'apiVersion: v1\nkind: Service\nmetadata: {name: front-here, namespace: app}\nspec:\n  selector: {app: front}\n  internalTrafficPolicy: Local\n  ports: [{port: 80, targetPort: http}]\n' | kubectl apply -f -")?;
        let call = "curl -sf --max-time 10 -o /dev/null http://front-here.app.svc.cluster.local/";
        stage.until(30, &format!("{VISITOR} {call}"))?;
        stage.run(&format!("{VISITOR} sh -c 'for I in $(seq 12); do {call} || exit 1; done'"))?;
        let called = stage.until(
            20,
            &format!("A=$({CALLED}); test $(echo \"$A\" | wc -l) -ge 12 && echo \"$A\" | sort -u"),
        )?;
        stage.run("kubectl -n app delete service front-here")?;
        let is_here = |address: &str| here.split_whitespace().any(|one| one == address);
        ensure!(
            called.split_whitespace().all(is_here),
            "nginx on {node}: {here}; called: {called}"
        );
        Ok(format!("12 calls, all to {}, which is on {node}", called.trim()))
    },
};
