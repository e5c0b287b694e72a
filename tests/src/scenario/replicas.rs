//! The replicas that serve sidecars: one leads, and every one hears sidecars.

use anyhow::Context as _;

use super::{Stage, Step};

/// Prints the pod of the front that leads: the Lease has a process of it.
pub(super) const LEADER: &str = "kubectl -n countersign-system get lease countersign-front -o jsonpath='{.spec.holderIdentity}' | sed 's/-[0-9]*$//'";

/// Prints the pod of the controller that acts.
pub(super) const CONTROLLER: &str = "kubectl -n countersign-system get lease countersign-operator -o jsonpath='{.spec.holderIdentity}' | sed 's/-[0-9]*$//'";

/// Prints the pods of replicas that are ready.
const READY: &str = "kubectl -n countersign-system get pod -l app.kubernetes.io/name=countersign -o json | jq -r '.items[] | select(.metadata.deletionTimestamp == null) | select(any(.status.conditions[]; .type == \"Ready\" and .status == \"True\")) | .metadata.name'";

/// Everywhere where there are sidecars.
const NAMESPACES: &[&str] = &["app", "edge", "shop", "desk"];

/// Prints how many sidecars follow destinations at a replica.
fn streams(replica: &str) -> String {
    format!(
        "kubectl get --raw /api/v1/namespaces/countersign-system/pods/{replica}:8080/proxy/metrics | awk '/^countersign_discovery_streams / {{ print $2 }}'"
    )
}

/// Selects every pod, and allows what was allowed before.
fn count(stage: &Stage, namespace: &str) -> anyhow::Result<String> {
    stage.run(&format!("printf 'apiVersion: countersign.dev/v1\\nkind: AccessPolicy\\nmetadata: {{name: counted, namespace: {namespace}}}\\nspec:\\n  allow: [{{}}]\\n' | kubectl apply -f -"))
}

/// Waits until a policy counts every pod that it selects; says how many.
fn counted(stage: &Stage, namespace: &str) -> anyhow::Result<u32> {
    let status = format!(
        "kubectl -n {namespace} get accesspolicy counted -o jsonpath='{{.status.inForcePods}} {{.status.selectedPods}}'"
    );
    let all =
        stage.until(60, &format!("{status} | awk '$1 > 0 && $1 == $2 {{ print $1 }}' | grep ."))?;
    all.trim().parse().with_context(|| format!("a count of pods in {namespace}: {all}"))
}

fn sum(stage: &Stage) -> anyhow::Result<u32> {
    NAMESPACES.iter().try_for_each(|namespace| count(stage, namespace).map(drop))?;
    NAMESPACES.iter().map(|namespace| counted(stage, namespace)).sum()
}

pub(super) const RELAYED: Step = Step {
    name: "what_sidecars_tell_another_replica_than_the_leader_counts",
    title: "A policy's status counts every sidecar, also those that report to the replica that does not lead",
    show: |stage| {
        let other = format!(
            "P=$({READY}); L=$({LEADER}); echo \"$P\" | grep -qx $L && echo \"$P\" | grep -vx $L"
        );
        let other = stage.until(60, &other)?;
        let other = other.lines().next().unwrap_or_default().to_owned();
        let leader = stage.run(LEADER)?.trim().to_owned();
        // Which replica a sidecar finds is left to chance: one that starts anew may find another.
        let mallory = "kubectl -n shop delete pod -l app=mallory --wait && kubectl -n shop rollout status deployment/mallory --timeout=60s";
        stage.until(120, &format!("test $({}) -ge 1 || ({mallory}; false)", streams(&other)))?;
        let counted = sum(stage);
        for namespace in NAMESPACES {
            stage.run(&format!(
                "kubectl -n {namespace} delete accesspolicy counted --ignore-not-found"
            ))?;
        }
        let [led, told] = [&leader, &other].map(|replica| stage.run(&streams(replica)));
        Ok(format!(
            "{} pods counted; {} sidecars report to the leader, {} to the other replica",
            counted?,
            led?.trim(),
            told?.trim()
        ))
    },
};
