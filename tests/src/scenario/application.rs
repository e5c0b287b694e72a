//! An application of programs not written here, in the mesh without knowing of it.

use anyhow::ensure;

use super::Step;

/// A shell of somebody who uses the application.
pub(super) const VISITOR: &str = "kubectl -n edge exec deploy/visitor -c shell --";

/// kubectl-countersign, built by whoever runs this.
pub(super) const CLI: &str = "target/debug/kubectl-countersign";

pub(super) const DEPLOY: Step = Step {
    name: "an_application_joins_the_mesh_without_a_change",
    title: "nginx, Redis, two CoreDNS that speak gRPC, and who uses them join the mesh unchanged; their probes pass",
    show: |stage| {
        stage.run("kubectl apply -f tests/manifests/application.yaml")?;
        for (namespace, name) in [
            ("app", "statefulset/redis"),
            ("app", "deployment/front"),
            ("app", "deployment/names"),
            ("edge", "deployment/visitor"),
        ] {
            stage.run(&format!("kubectl -n {namespace} rollout status {name} --timeout=120s"))?;
        }
        // The kubelet asks the sidecar, and the sidecar the application.
        let path = stage.run("kubectl -n app get pod -l app=front -o jsonpath='{.items[0].spec.containers[0].readinessProbe.httpGet.path}'")?;
        ensure!(path.contains("/probe/nginx/readiness"), "the probe is as it was: {path}");
        Ok("every pod is ready, and every port of theirs is mutual".to_owned())
    },
};

pub(super) const TRANSPARENT: Step = Step {
    name: "calls_that_know_nothing_of_the_mesh_go_by_mutual_tls",
    title: "redis-cli calls nginx by its Service, nginx calls Redis: both by mutual TLS, with both identities checked",
    show: |stage| {
        let front = "front.app.svc.cluster.local";
        stage.until(60, &format!("{VISITOR} redis-cli -h {front} set greeting hello | grep OK"))?;
        let got = stage.run(&format!("{VISITOR} redis-cli -h {front} get greeting"))?;
        ensure!(got.contains("hello"), "Redis lost it: {got}");
        let page = stage.run(&format!("{VISITOR} curl -sS --max-time 10 http://{front}/"))?;
        ensure!(page.contains("the front"), "another page: {page}");
        let seen = |workload: &str, peer: &str| {
            stage.until(20, &format!("kubectl -n app logs {workload} -c countersign-sidecar --tail=-1 | grep '\"peer\":\"{peer}\"' | grep inbound | tail -1"))
        };
        seen("-l app=front", "spiffe://cluster.local/ns/edge/sa/visitor")?;
        seen("redis-0", "spiffe://cluster.local/ns/app/sa/front")?;
        Ok("nginx's sidecar names ns/edge/sa/visitor, Redis' names ns/app/sa/front".to_owned())
    },
};

pub(super) const GRPC: Step = Step {
    name: "grpc_goes_through_the_mesh",
    title: "CoreDNS asks CoreDNS over gRPC, through the mesh",
    show: |stage| {
        let answer = stage.until(
            60,
            &format!("{VISITOR} nslookup answered.over.grpc 127.0.0.1:1053 | grep 192.0.2.53"),
        )?;
        stage.until(20, "kubectl -n app logs deploy/names -c countersign-sidecar --tail=-1 | grep -c ns/edge/sa/visitor || kubectl get --raw /api/v1/namespaces/app/pods/$(kubectl -n app get pod -l app=names -o jsonpath='{.items[0].metadata.name}'):14190/proxy/metrics | grep 'connections_opened_total{direction=\"inbound\"} [1-9]'")?;
        Ok(format!("answered: {}", answer.trim()))
    },
};

pub(super) const PODS: Step = Step {
    name: "pods_are_called_by_their_own_names_and_addresses",
    title: "A pod of a StatefulSet is called by its own name, and by its address, by mutual TLS",
    show: |stage| {
        let name = "redis-0.redis-pods.app.svc.cluster.local";
        let pong = stage.until(60, &format!("{VISITOR} redis-cli -h {name} ping | grep PONG"))?;
        ensure!(pong.contains("PONG"), "{pong}");
        stage.run(&format!("{VISITOR} redis-cli -h $(kubectl -n app get pod redis-0 -o jsonpath='{{.status.podIP}}') ping | grep PONG"))?;
        stage.until(20, "kubectl -n app logs redis-0 -c countersign-sidecar --tail=-1 | grep '\"peer\":\"spiffe://cluster.local/ns/edge/sa/visitor\"' | tail -1")?;
        Ok("Redis' sidecar names ns/edge/sa/visitor".to_owned())
    },
};

pub(super) const TOLD: Step = Step {
    name: "the_application_is_told_who_calls",
    title: "nginx is told who calls, by a header that nobody else can set: a workload, and a laptop with a certificate",
    show: |stage| {
        stage.run("printf 'apiVersion: countersign.dev/v1\nkind: AccessPolicy\nmetadata: {name: told, namespace: app}\nspec:\n  podSelector: {matchLabels: {app: front}}\n  allow: [{}, {commonNames: [laptop-8]}]\n  ports: [{port: 8080, clientIdentity: ForwardedClientCert}]\n' | kubectl apply -f -")?;
        let forged =
            "-H 'X-Forwarded-Client-Cert: By=me;URI=spiffe://cluster.local/ns/bank/sa/vault'";
        let who = "http://front.app.svc.cluster.local/who";
        let told = stage.until(30, &format!("{VISITOR} curl -sS --max-time 10 {forged} {who} | grep URI=spiffe://cluster.local/ns/edge/sa/visitor"))?;
        ensure!(!told.contains("bank"), "a forged header came through: {told}");
        // A laptop, which has a certificate and no login.
        stage.run(&format!("rm -rf target/laptop-8 && {CLI} request -n outside laptop-8-$(date +%s) --issuer ClusterIssuer/countersign-devices --common-name laptop-8 --usage client-auth --duration 1h --out target/laptop-8"))?;
        // It checks servers by the CA of workloads.
        stage.run("kubectl get clusterissuer countersign -o jsonpath='{.status.caChain}' > target/laptop-8/ca.crt")?;
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            stage.run(&format!("kubectl -n outside exec workstation -- sh -c \"echo $(base64 -w0 target/laptop-8/{file}) | base64 -d > /tmp/laptop-8.{file}\""))?;
        }
        let laptop = "kubectl -n outside exec workstation -- curl -sS --max-time 10 --cacert /tmp/laptop-8.ca.crt --cert /tmp/laptop-8.tls.crt --key /tmp/laptop-8.tls.key";
        let told = stage.run(&format!("{laptop} --connect-to front.app.svc.cluster.local:443:front.app.svc.cluster.local:80 https://front.app.svc.cluster.local/who"))?;
        ensure!(told.contains("CN=laptop-8"), "not told: {told}");
        stage.run("kubectl -n app delete accesspolicy told")?;
        Ok(told.trim().to_owned())
    },
};

pub(super) const JOB: Step = Step {
    name: "a_job_in_the_mesh_completes",
    title: "A Job in the mesh completes, its sidecar with it",
    show: |stage| {
        stage.run("kubectl -n edge delete job count --ignore-not-found --wait")?;
        stage.run("kubectl apply -f tests/manifests/job.yaml")?;
        stage.run("kubectl -n edge wait --for=condition=Complete job/count --timeout=90s")?;
        Ok("complete".to_owned())
    },
};

pub(super) const EDGES: Step = Step {
    name: "who_talks_to_whom_is_told",
    title: "kubectl countersign edges tells who talks to whom, over which identity",
    show: |stage| {
        stage.run(&format!("{VISITOR} redis-cli -h front.app.svc.cluster.local ping"))?;
        let edges =
            stage.until(20, &format!("{CLI} edges -A | grep -E 'edge/visitor +app/front'"))?;
        stage.until(20, &format!("{CLI} edges -A | grep -E 'app/front +app/redis'"))?;
        let picture = stage.run(&format!("{CLI} edges -A -o svg | tail -1"))?;
        ensure!(picture.contains("</svg>"), "no picture: {picture}");
        let who = stage.run(&format!("{CLI} -n app who redis-0"))?;
        ensure!(who.contains("spiffe://cluster.local/ns/app/sa/redis"), "{who}");
        Ok(edges.trim().to_owned())
    },
};

pub(super) const AWAY: Step = Step {
    name: "the_operator_may_be_away_for_a_minute",
    title: "The operator is stopped for a minute: what was called before goes on, without an error",
    show: |stage| {
        let front = "front.app.svc.cluster.local";
        // Each pod of nginx has called Redis: what a pod never called, it cannot ask for meanwhile.
        let called = "for P in $(kubectl -n app get pod -l app=front -o name); do kubectl -n app logs $P -c countersign-sidecar --tail=-1 | grep -q \"Service app/redis\" || exit 1; done";
        stage
            .until(60, &format!("{VISITOR} redis-cli -h {front} ping | grep PONG && ({called})"))?;
        stage.run(
            "kubectl -n countersign-system scale deployment/countersign-controller deployment/countersign-operator --replicas=0",
        )?;
        let away = "kubectl -n countersign-system wait --for=delete pod -l app.kubernetes.io/part-of=countersign --timeout=60s";
        stage.run(away)?;
        // Each call is a connection of its own.
        let calls = format!(
            "E=0; N=0; T=$(($(date +%s) + 60)); while [ $(date +%s) -lt $T ]; do N=$((N + 1)); redis-cli -h {front} ping | grep -q PONG || E=$((E + 1)); curl -sf --max-time 5 -o /dev/null http://{front}/ || E=$((E + 1)); done; echo $N rounds, $E errors; test $E = 0"
        );
        let said = stage.run(&format!("{VISITOR} sh -c '{calls}'"));
        stage.run(
            "kubectl -n countersign-system scale deployment/countersign-controller deployment/countersign-operator --replicas=2",
        )?;
        stage.run("kubectl -n countersign-system rollout status deployment/countersign-controller --timeout=90s && kubectl -n countersign-system rollout status deployment/countersign-operator --timeout=90s")?;
        Ok(said?.trim().to_owned())
    },
};

pub(super) const RESTART: Step = Step {
    name: "a_rolling_restart_of_everything_loses_no_request",
    title: "Everything is restarted, one after the other, under load: no request is lost",
    show: |stage| {
        let front = "http://front.app.svc.cluster.local/";
        let loading = format!(
            "rm -f /tmp/stop; E=0; N=0; while [ ! -e /tmp/stop ]; do N=$((N + 1)); curl -sf --max-time 10 -o /dev/null {front} || E=$((E + 1)); done; echo $N requests, $E lost > /tmp/told"
        );
        stage.run(&format!("{VISITOR} sh -c '({loading}) >/dev/null 2>&1 & echo load'"))?;
        for (namespace, name) in [
            ("countersign-system", "deployment/countersign-controller"),
            ("countersign-system", "deployment/countersign-operator"),
            ("app", "deployment/front"),
            ("app", "statefulset/redis"),
        ] {
            stage.run(&format!("kubectl -n {namespace} rollout restart {name} && kubectl -n {namespace} rollout status {name} --timeout=120s"))?;
        }
        // Those that were replaced have ended, too.
        stage.until(60, "test $(kubectl -n app get pod -l app=front --no-headers | wc -l) = 2")?;
        let told = stage.until(30, &format!("{VISITOR} sh -c 'touch /tmp/stop; cat /tmp/told'"))?;
        ensure!(told.contains(" 0 lost"), "requests were lost: {told}");
        Ok(told.trim().to_owned())
    },
};
