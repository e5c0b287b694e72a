//! The installation, and a call between two pods.

use anyhow::ensure;

use super::{Stage, Step};

pub(super) const INSTALL: Step = Step {
    name: "the_chart_installs",
    title: "Countersign is installed: CRDs by kubectl, the rest by Helm",
    show: |stage| {
        stage.run("kubectl apply -f crds/")?;
        stage.run("kubectl create namespace countersign-system --dry-run=client -o yaml | kubectl apply -f - && kubectl label namespace countersign-system pod-security.kubernetes.io/enforce=restricted --overwrite")?;
        stage.run("helm upgrade --install countersign charts/countersign --namespace countersign-system --set image.repository=localhost/countersign/countersign --set image.pullPolicy=IfNotPresent --set replicas=2 --wait --timeout 120s")?;
        stage.run("kubectl wait --for=condition=Ready clusterissuer/countersign --timeout=60s")?;
        stage.run("kubectl -n countersign-system get pods,certificates,issuers")?;
        Ok("two replicas of each Deployment running, under Pod Security restricted; root, intermediate and ClusterIssuer ready"
            .to_owned())
    },
};

pub(super) const DEPLOY: Step = Step {
    name: "two_services_get_the_sidecar",
    title: "Two services in labelled namespaces get an identity and the sidecar",
    show: |stage| {
        stage.run("kubectl apply -f tests/manifests/services.yaml")?;
        for deployment in [
            "shop deployment/web",
            "shop deployment/mallory",
            "desk deployment/caller",
            "outside deployment/impostor",
            "outside deployment/redis",
        ] {
            stage.run(&format!(
                "kubectl -n {deployment_namespace} rollout status {name} --timeout=120s",
                deployment_namespace = deployment.split(' ').next().unwrap_or_default(),
                name = deployment.split(' ').nth(1).unwrap_or_default()
            ))?;
        }
        stage
            .run("kubectl -n outside wait --for=condition=Ready pod/workstation --timeout=120s")?;
        let containers = stage.run("kubectl -n shop get pod -l app=web -o jsonpath='{.items[0].spec.initContainers[*].name}'")?;
        ensure!(containers.contains("countersign-sidecar"), "no sidecar: {containers}");
        let names = "kubectl -n shop get secret countersign-web -o json | jq -r '.data[\"tls.crt\"]' | base64 -d | openssl x509 -noout -ext subjectAltName";
        let names = stage.until(30, &format!("{names} | grep web.shop.svc.cluster.local"))?;
        ensure!(names.contains("spiffe://cluster.local/ns/shop/sa/web"), "no identity: {names}");
        Ok("spiffe://cluster.local/ns/shop/sa/web issued and mounted".to_owned())
    },
};

/// The caller's own request, through its sidecar.
const REQUEST: &str =
    "kubectl -n desk exec deploy/caller -c shell -- curl -sS --max-time 10 http://127.0.0.1:9001/";

pub(super) const CALL: Step = Step {
    name: "a_call_from_pod_to_pod_goes_over_mutual_tls",
    title: "curl in one pod calls nginx in the other over mutual TLS",
    show: |stage| {
        let page = stage.until(60, &format!("{REQUEST} | grep shop"))?;
        ensure!(page.contains("the secret of the shop"), "another page: {page}");
        let log = stage.until(20, "kubectl -n shop logs deploy/web -c countersign-sidecar | grep ns/desk/sa/caller | tail -1")?;
        ensure!(
            log.contains("spiffe://cluster.local/ns/desk/sa/caller"),
            "caller not named: {log}"
        );
        Ok("the server's sidecar names its caller: spiffe://cluster.local/ns/desk/sa/caller"
            .to_owned())
    },
};

pub(super) const NO_PLAINTEXT: Step = Step {
    name: "no_plaintext_crosses_between_the_pods",
    title: "A packet capture in the caller's network shows no plaintext, only TLS",
    show: |stage| {
        stage.until(60, &format!("{REQUEST} | grep shop"))?;
        let pod = "kubectl -n desk exec deploy/caller -c shell --";
        stage.run(&format!("{pod} sh -c 'rm -f /tmp/capture; (tcpdump -Z root -U -i any -w /tmp/capture not host 127.0.0.1 >/dev/null 2>/tmp/tcpdump & echo $! >/tmp/tcpdump.pid); timeout 10 sh -c \"until grep -q listening /tmp/tcpdump; do sleep 0.1; done\"'"))?;
        stage.run(&format!("{REQUEST} | grep shop"))?;
        let count = |what: &str| format!("grep -c \"{what}\" /tmp/capture");
        // TLS records of type 23, application data, in packets of the connection to the server.
        let records = "tcpdump -Z root -r /tmp/capture \"tcp port 8080 and tcp[((tcp[12] & 0xf0) >> 2)] = 23\" 2>/dev/null | wc -l";
        let seen = stage.until(15, &format!("{pod} sh -c 'R=$({records}); echo TLS records $R; echo answers in plaintext $({answer}); echo requests in plaintext $({request}); test $R -ge 3'", answer = count("secret of the shop"), request = count("GET / HTTP")))?;
        stage.run(&format!("{pod} sh -c 'kill $(cat /tmp/tcpdump.pid)'"))?;
        ensure!(
            seen.contains("answers in plaintext 0") && seen.contains("requests in plaintext 0"),
            "plaintext: {seen}"
        );
        let records = seen.lines().next().unwrap_or_default();
        Ok(format!("{records}; neither request nor answer can be read in the capture"))
    },
};

pub(super) const KEY_OUT_OF_REACH: Step = Step {
    name: "the_app_cannot_read_the_key",
    title: "The application's container sees neither key nor volume",
    show: |stage| {
        let mounts = stage.run("kubectl -n shop get pod -l app=web -o jsonpath='{.items[0].spec.containers[*].volumeMounts[*].name}'")?;
        ensure!(!mounts.contains("countersign"), "the app mounts it: {mounts}");
        stage.fails("kubectl -n shop exec deploy/web -c nginx -- ls /var/run/countersign")?;
        Ok("the credentials are mounted into the sidecar only".to_owned())
    },
};

pub(super) const HOST_NETWORK: Step = Step {
    name: "a_pod_on_the_hosts_network_is_left_alone_and_its_owner_is_told",
    title: "A pod on the host's network is let in without a sidecar, and an Event says why",
    show: |stage| {
        stage.run("kubectl -n shop delete pod hosted --ignore-not-found --wait")?;
        stage.run("kubectl -n shop run hosted --image=localhost/countersign/debian-tools:2 --image-pull-policy=IfNotPresent --restart=Never --overrides='{\"spec\":{\"hostNetwork\":true,\"terminationGracePeriodSeconds\":1}}' --command -- tail -f /dev/null")?;
        let containers = stage.run("kubectl -n shop get pod hosted -o jsonpath='{.spec.initContainers[*].name}{.spec.containers[*].name}'")?;
        ensure!(containers.trim() == "hosted", "something was injected: {containers}");
        let event = stage.until(20, "kubectl -n shop get events --field-selector involvedObject.name=hosted,reason=InjectionSkipped -o jsonpath='{.items[0].message}' | grep network")?;
        stage.run("kubectl -n shop delete pod hosted --wait=false")?;
        Ok(event.trim().to_owned())
    },
};

pub(super) const UPGRADE: Step = Step {
    name: "the_chart_upgrades",
    title: "helm upgrade keeps every identity as it is",
    show: |stage| {
        let serial = "kubectl -n shop get secret countersign-web -o json | jq -r '.data[\"tls.crt\"]' | base64 -d | openssl x509 -noout -serial";
        let before = stage.run(serial)?;
        stage.run("helm upgrade countersign charts/countersign --namespace countersign-system --reuse-values --set logLevel=debug --wait --timeout 120s")?;
        stage.run("kubectl -n countersign-system rollout status deployment/countersign-controller --timeout=60s && kubectl -n countersign-system rollout status deployment/countersign-operator --timeout=60s")?;
        // Once the new operator answers for one Secret, it has looked at every other one.
        stage.run("kubectl apply -f tests/manifests/issuance.yaml >/dev/null; kubectl -n paperwork wait --for=condition=Ready certificate/letter --timeout=60s; kubectl -n paperwork delete secret letter")?;
        stage.until(60, "kubectl -n paperwork get secret letter")?;
        let after = stage.run(serial)?;
        ensure!(before == after, "re-issued by an upgrade: {before} {after}");
        Ok("upgraded; nothing was issued again".to_owned())
    },
};

pub(super) const UNINSTALL: Step = Step {
    name: "uninstalling_leaves_the_secrets_of_users",
    title: "helm uninstall leaves users' Secrets in place",
    show: |stage| {
        stage.run("kubectl apply -f tests/manifests/issuance.yaml >/dev/null; kubectl -n paperwork wait --for=condition=Ready certificate/letter --timeout=60s")?;
        stage.run("helm uninstall countersign --namespace countersign-system --wait")?;
        stage.run("kubectl -n paperwork get secret letter root intermediate")?;
        stage.run("kubectl -n shop get secret countersign-web")?;
        Ok("gone, and every Secret still there".to_owned())
    },
};

/// What the two programs cost: lines of a table.
///
/// # Errors
/// When a figure cannot be read.
pub fn measure(stage: &Stage) -> anyhow::Result<Vec<(String, String)>> {
    let rss = |namespace: &str, pod: &str, port: u16| {
        stage.run(&format!("kubectl get --raw /api/v1/namespaces/{namespace}/pods/$({pod}):{port}/proxy/metrics | awk '/^process_resident_memory_bytes / {{ printf \"%.1f MB\", $2/1e6 }}'"))
    };
    // One client, a kept connection, one request after the other: p50 and p99.
    let latency = |shell: &str, host: &str| {
        let measured = format!(
            "{shell} redis-benchmark -h {host} -t ping_inline -c 1 -n 3000 --csv | tail -1 | tr -d '\"' | awk -F, '{{ print $5 \" / \" $7 \" ms\" }}'"
        );
        stage.run(&measured).map(|figures| figures.trim().to_owned())
    };
    let outside = "kubectl -n outside exec workstation --";
    let without = latency(outside, "redis.outside.svc.cluster.local")?;
    let with = latency(super::application::VISITOR, "redis.app.svc.cluster.local")?;
    let ready = stage.run("kubectl -n shop logs deploy/web -c countersign-sidecar | grep -o -E '\"?ready_ms\"?[=:] ?[0-9]+' | grep -o -E '[0-9]+' | head -1")?;
    Ok(vec![
        (
            "controller that leads, memory".to_owned(),
            rss("countersign-system", super::replicas::CONTROLLER, 8080)?,
        ),
        (
            "front that leads, memory".to_owned(),
            rss("countersign-system", super::replicas::LEADER, 8080)?,
        ),
        (
            "sidecar, memory".to_owned(),
            rss(
                "shop",
                "kubectl -n shop get pod -l app=web -o jsonpath='{.items[0].metadata.name}'",
                14190,
            )?,
        ),
        ("sidecar, from start to ready".to_owned(), format!("{} ms", ready.trim())),
        ("a call to Redis without, p50 / p99".to_owned(), without),
        ("the same between two sidecars".to_owned(), with),
    ])
}
