//! Attackers on a real cluster of two nodes, with the chart installed and services in the mesh.
//!
//! The tenant is a user with the role `edit` in namespace `rival`; the stranger is the pod
//! `outside/workstation`, which has no credentials.

use countersign_tests::scenario::Stage;

const TENANT: &str = "kubectl --as=intruder -n rival";
const STRANGER: &str = "kubectl -n outside exec workstation --";

/// A stage on which the tenant has its namespace and its role, and nothing else.
fn stage() -> Stage {
    if let Err(error) = super::prepared() {
        panic!("the preparation failed: {error}");
    }
    let stage = Stage::new(false);
    holds(
        stage.run("kubectl create namespace rival --dry-run=client -o yaml | kubectl apply -f -"),
    );
    holds(stage.run("kubectl -n rival create rolebinding intruder --clusterrole=edit --user=intruder --dry-run=client -o yaml | kubectl apply -f -"));
    holds(stage.until(30, &format!("{TENANT} auth can-i create services | grep -x yes")));
    stage
}

fn holds<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}

fn contains(output: &str, parts: &[&str]) {
    for part in parts {
        assert!(output.contains(part), "{part:?} is missing in: {output}");
    }
}

/// Calls `shop/web` from the mesh by the name of its Service.
const CALL: &str = "kubectl -n desk exec deploy/caller -c shell -- curl -sS --max-time 10 http://web.shop.svc.cluster.local:8080/";

#[test]
fn service_of_a_tenant_does_not_take_the_cluster_ip_of_another() {
    let stage = stage();
    holds(stage.until(60, &format!("{CALL} | grep 'secret of the shop'")));
    let address = holds(stage.run("kubectl -n shop get service web -o jsonpath={.spec.clusterIP}"));
    let sink = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: sink, namespace: rival}}\nspec: {{selector: {{app: sink}}, externalIPs: [\"{}\"], ports: [{{port: 8080}}]}}\n",
        address.trim()
    );
    let refused = holds(stage.fails(&format!("printf '{sink}' | {TENANT} apply -f -")));
    contains(&refused, &["externalIPs"]);
    let page = holds(stage.run(CALL));
    contains(&page, &["the secret of the shop"]);
}

#[test]
fn common_name_of_a_device_is_not_signed_for_a_tenant() {
    let stage = stage();
    for issuer in ["countersign", "countersign-devices"] {
        let name = format!("laptop-by-{issuer}");
        let certificate = format!(
            "apiVersion: countersign.dev/v1\nkind: Certificate\nmetadata: {{name: {name}, namespace: rival}}\nspec: {{secretName: {name}, commonName: laptop-7, usages: [digital signature, client auth], privateKey: {{algorithm: ECDSA, size: 256}}, issuerRef: {{name: {issuer}, kind: ClusterIssuer}}}}\n"
        );
        holds(stage.run(&format!("printf '{certificate}' | {TENANT} apply -f -")));
        let condition = format!(
            "{TENANT} get certificates.countersign.dev {name} -o json | jq -re '.status.conditions[] | select(.type == \"Issuing\" or .type == \"Ready\") | .message' | grep -e laptop-7 -e rival"
        );
        holds(stage.until(60, &condition));
        holds(
            stage
                .fails(&format!("{TENANT} get secret {name} -o json | jq -e '.data[\"tls.crt\"]'")),
        );
        holds(stage.run(&format!("{TENANT} delete certificates.countersign.dev {name}")));
    }
}

#[test]
fn ephemeral_container_does_not_mount_the_key_of_its_pod() {
    let stage = stage();
    let pod = holds(
        stage.run("kubectl -n shop get pod -l app=web -o jsonpath={.items[0].metadata.name}"),
    );
    let path = format!("/api/v1/namespaces/shop/pods/{}/ephemeralcontainers", pod.trim());
    let containers = [
        (
            "mounts",
            "\"volumeMounts\": [{\"name\": \"countersign-credentials\", \"mountPath\": \"/stolen\"}]",
        ),
        ("same-user", "\"securityContext\": {\"runAsUser\": 14100}"),
    ];
    for (name, more) in containers {
        let container = format!(
            "{{\"name\": \"{name}\", \"image\": \"localhost/countersign/debian-tools:2\", \"imagePullPolicy\": \"IfNotPresent\", \"command\": [\"true\"], {more}}}"
        );
        let replaced = format!(
            "kubectl get --raw {path} | jq '.spec.ephemeralContainers += [{container}]' | kubectl replace --raw {path} -f -"
        );
        contains(&holds(stage.fails(&replaced)), &["countersign"]);
    }
}

#[test]
fn flood_of_oversized_reviews_restarts_no_operator() {
    let stage = stage();
    let restarts = "kubectl -n countersign-system get pods -o jsonpath='{range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount} {end}'";
    let before = holds(stage.run(restarts));
    // 400,000 containers of two bytes each; five requests at once, four times.
    let review = "{ printf '{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{\"uid\":\"x\",\"kind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":\"Pod\"},\"resource\":{\"group\":\"\",\"version\":\"v1\",\"resource\":\"pods\"},\"name\":\"x\",\"namespace\":\"rival\",\"operation\":\"CREATE\",\"userInfo\":{},\"object\":{\"metadata\":{},\"spec\":{\"containers\":['; yes '{},' | head -n 400000 | tr -d '\\n'; printf '{}]}}}}'; } > /tmp/review.json";
    let send = "for round in 1 2 3 4; do for one in 1 2 3 4 5; do curl -sk -m 30 -o /dev/null -w '%{http_code} ' -H 'content-type: application/json' --data-binary @/tmp/review.json https://countersign-webhook.countersign-system.svc.cluster.local/inject & done; wait; done";
    let script = format!("{review}; {send}").replace('\'', "'\\''");
    holds(stage.run(&format!("{STRANGER} sh -c '{script}'")));
    holds(stage.run("kubectl -n shop delete pod late --ignore-not-found --wait && kubectl -n shop run late --image=localhost/countersign/debian-tools:2 --image-pull-policy=IfNotPresent --restart=Never --overrides='{\"spec\":{\"terminationGracePeriodSeconds\":1}}' --command -- tail -f /dev/null"));
    let injected =
        holds(stage.run("kubectl -n shop get pod late -o jsonpath={.spec.initContainers[*].name}"));
    contains(&injected, &["countersign-sidecar"]);
    holds(stage.run("kubectl -n shop delete pod late --wait=false"));
    assert_eq!(before, holds(stage.run(restarts)), "a pod of the operator was restarted");
}

#[test]
fn process_that_listens_to_pods_may_not_read_secrets() {
    let stage = stage();
    let front =
        "kubectl --as=system:serviceaccount:countersign-system:countersign-operator auth can-i";
    for right in [
        "get secrets -A",
        "list secrets -A",
        "get secrets -n countersign-system",
        "patch mutatingwebhookconfigurations",
        "patch validatingwebhookconfigurations",
        "create certificates.countersign.dev -n shop",
    ] {
        holds(stage.fails(&format!("{front} {right}")));
    }
}
