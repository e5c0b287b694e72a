//! Who may talk to whom, written down, in force, and explained.

use anyhow::ensure;

use super::application::{CLI, VISITOR};
use super::{Stage, Step};

/// A policy that lets only nginx reach Redis.
const FRONT_ONLY: &str = "printf 'apiVersion: countersign.dev/v1\\nkind: AccessPolicy\\nmetadata: {name: redis, namespace: app}\\nspec:\\n  podSelector: {matchLabels: {app: redis}}\\n  enforcement: %s\\n  allow: [{namespaces: [app], serviceAccounts: [front]}]\\n'";

fn apply(stage: &Stage, enforcement: &str) -> anyhow::Result<String> {
    stage.run(&format!("{FRONT_ONLY} {enforcement} | kubectl apply -f -"))
}

fn remove(stage: &Stage) -> anyhow::Result<String> {
    stage.run("kubectl -n app delete accesspolicy redis --ignore-not-found")
}

const DIRECT: &str = "redis-cli -h redis.app.svc.cluster.local";

pub(super) const ENFORCED: Step = Step {
    name: "a_policy_bites_at_once_on_live_connections_too",
    title: "A policy is in force within seconds of kubectl apply, on connections that are open, too; why explains it",
    show: |stage| {
        remove(stage)?;
        stage.until(60, &format!("{VISITOR} {DIRECT} ping | grep PONG"))?;
        // A connection that stays open, and says when it ended.
        stage.run(&format!("{VISITOR} sh -c 'rm -f /tmp/pipe /tmp/ended; mkfifo /tmp/pipe; (exec 3<>/tmp/pipe; nc redis.app.svc.cluster.local 6379 <&3; touch /tmp/ended) >/dev/null 2>&1 & echo open'"))?;
        stage.until(10, "kubectl -n app exec redis-0 -c redis -- redis-cli client list | wc -l | grep -E '^[2-9]'")?;
        let before = stage.run("date +%s%N")?;
        apply(stage, "Enforce")?;
        stage.until(20, &format!("{VISITOR} ls /tmp/ended"))?;
        let after = stage.run("date +%s%N")?;
        let millis = (after.trim().parse::<u128>()? - before.trim().parse::<u128>()?) / 1_000_000;
        stage.fails(&format!("{VISITOR} timeout 10 {DIRECT} ping | grep PONG"))?;
        stage
            .run(&format!("{VISITOR} redis-cli -h front.app.svc.cluster.local ping | grep PONG"))?;
        stage.until(20, "kubectl -n app logs redis-0 -c countersign-sidecar --tail=-1 | grep peer_not_allowed | grep ns/edge/sa/visitor | tail -1")?;
        stage.until(20, "kubectl -n app get accesspolicy redis -o jsonpath='{.status.inForcePods} of {.status.selectedPods}' | grep '1 of 1'")?;
        let pod =
            "$(kubectl -n edge get pod -l app=visitor -o jsonpath='{.items[0].metadata.name}')";
        let why = stage.fails(&format!("{CLI} why edge/{pod} app/svc/redis:6379"))?;
        ensure!(why.contains("no rule of AccessPolicy redis allows"), "{why}");
        stage.run(&format!("{CLI} why spiffe://cluster.local/ns/app/sa/front app/redis-0:6379 | grep 'AccessPolicy redis allows'"))?;
        remove(stage)?;
        stage.until(30, &format!("{VISITOR} {DIRECT} ping | grep PONG"))?;
        Ok(format!("the open connection ended {millis} ms after kubectl apply was begun"))
    },
};

pub(super) const AUDITED: Step = Step {
    name: "an_audited_policy_tells_whom_it_would_refuse",
    title: "A policy that is only audited refuses nobody, and its status names whom it would refuse",
    show: |stage| {
        apply(stage, "Audit")?;
        let named = "kubectl -n app get accesspolicy redis -o jsonpath='{.status.recentDenials[*].peer}' | grep ns/edge/sa/visitor";
        let told = stage.until(60, &format!("{VISITOR} {DIRECT} ping | grep PONG && {named}"))?;
        remove(stage)?;
        Ok(told.lines().last().unwrap_or_default().trim().to_owned())
    },
};

pub(super) const PERMISSIVE: Step = Step {
    name: "a_permissive_port_takes_plaintext_and_a_mutual_one_does_not",
    title: "A pod outside the mesh is refused by a mutual port, and admitted by a permissive one",
    show: |stage| {
        let call = "kubectl -n outside exec workstation -- curl -sS --max-time 10 http://front.app.svc.cluster.local/";
        stage.run("kubectl -n app delete accesspolicy front --ignore-not-found")?;
        stage.fails(&format!("{call} | grep front"))?;
        stage.run("printf 'apiVersion: countersign.dev/v1\\nkind: AccessPolicy\\nmetadata: {name: front, namespace: app}\\nspec:\\n  podSelector: {matchLabels: {app: front}}\\n  allow: [{}]\\n  ports: [{port: 8080, mode: permissive}]\\n' | kubectl apply -f -")?;
        stage.until(30, &format!("{call} | grep front"))?;
        // The mesh still comes by mutual TLS.
        stage.run(&format!(
            "{VISITOR} curl -sS --max-time 10 http://front.app.svc.cluster.local/ | grep front"
        ))?;
        stage.run("kubectl -n app delete accesspolicy front")?;
        stage.until(30, &format!("! {call} | grep front"))?;
        Ok("refused, admitted, and refused again".to_owned())
    },
};

pub(super) const UNMESHED: Step = Step {
    name: "a_policy_keeps_its_pods_from_calling_whoever_is_not_in_the_mesh",
    title: "Whoever is not in the mesh is called as they are, until a policy forbids it",
    show: |stage| {
        let call = format!(
            "{VISITOR} curl -sSk --max-time 10 https://impostor.outside.svc.cluster.local:8080/"
        );
        stage.until(60, &format!("{call} | grep s_server"))?;
        stage.run("printf 'apiVersion: countersign.dev/v1\\nkind: AccessPolicy\\nmetadata: {name: mesh-only, namespace: edge}\\nspec:\\n  allow: [{}]\\n  egress: {unmeshed: Deny}\\n' | kubectl apply -f -")?;
        stage.until(30, &format!("! {call} | grep s_server"))?;
        stage.until(20, "kubectl -n edge logs deploy/visitor -c countersign-sidecar --tail=-1 | grep unmeshed_not_allowed | tail -1")?;
        stage.run("kubectl -n edge delete accesspolicy mesh-only")?;
        stage.until(30, &format!("{call} | grep s_server"))?;
        Ok("called, refused by name, and called again".to_owned())
    },
};
