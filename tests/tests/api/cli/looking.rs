//! What only looks: status, inspect, check, version, completion.

use countersign_crds::{Certificate, Issuer};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::{command, ended, has, kubeconfig_of, program, run};
use crate::approval;
use crate::rights::{Right, until_may};
use crate::space::{Space, condition, facts, leaf, make_in, text};

pub(crate) async fn a_status_says_how_a_certificate_is_and_what_it_waits_for(space: Space) {
    space.authority().await;
    let certificate = space.certificate("web", json!({ "uris": ["spiffe://a/b"] })).await;
    space.event("web", "says Issuing", |reason| reason == "Issuing").await;
    let leaf_of = facts(&space.secret("web").await);
    let told = run(&space, &["status", "certificate", "web"]).well();
    let title = format!("Certificate {}/web: ready\n", space.namespace);
    let serial = leaf_of.serial_hex();
    has(
        &told,
        &[&title, "is renewed", "Issuer ca", "KeyPairVerified", &serial, "spiffe://a/b", "Issuing"],
    );
    let json = run(&space, &["status", "cert", "web", "-o", "json"]).json();
    let status = certificate.status.unwrap();
    assert_eq!(json["outlook"]["state"], "ready");
    assert_eq!(json["notAfter"], json!(status.not_after));
    assert_eq!(json["renewalTime"], json!(status.renewal_time));
    assert_eq!(json["secret"]["certificate"]["serial"], serial.as_str());
    assert_eq!(json["secret"]["warnings"], json!([]));
    let spec = leaf("lost", json!({ "issuerRef": { "name": "nobody" } }));
    space.make::<Certificate>("lost", json!({ "spec": spec })).await;
    let is_seen = |it: &Certificate| condition(it, "Issuing").is_some();
    space.certificate_when("lost", "is looked at", is_seen).await;
    let told = run(&space, &["status", "certificate", "lost"]).well();
    has(&told, &["NOT ready", "waits for Issuer nobody, which does not exist", "create it"]);
    has(&told, &["Secret lost\n  it does not exist"]);
}

pub(crate) async fn what_one_may_not_read_is_told_beside_what_one_may(space: Space) {
    approval::install(&space).await;
    space.authority().await;
    space.certificate("web", json!({})).await;
    let user = format!("viewer-{}", space.namespace);
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": "countersign-view" },
        "subjects": [{ "apiGroup": group, "kind": "User", "name": user }],
    });
    space.make::<RoleBinding>("viewer", binding).await;
    let (group, namespace) = ("countersign.dev", space.namespace.as_str());
    let right = Right { verb: "get", group, resource: "issuers", namespace, name: "" };
    until_may(&space, &user, right).await;
    let file = kubeconfig_of(&space, &user).display().to_string();
    let told = run(&space, &["status", "certificate", "web", "--kubeconfig", &file]).well();
    let forbidden = format!("reading Secret {namespace}/web: you may not");
    has(&told, &[": ready\n", "Issuer ca", &forbidden, "listing the events"]);
    let renewed = run(&space, &["renew", "web", "--kubeconfig", &file]);
    assert_eq!(renewed.code, Some(1));
    has(&renewed.said, &["renewing Certificate", "you may not", "cannot patch resource"]);
    let checked = run(&space, &["check", "--kubeconfig", &file, "-o", "json"]);
    assert_eq!(checked.code, Some(1));
    has(&checked.said, &["unread", "could not be looked at"]);
    std::fs::remove_dir_all(crate::issuance::folder(&space)).unwrap();
}

pub(crate) async fn a_secret_is_drawn_as_a_tree_and_what_is_wrong_with_it_is_named(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let secret = space.secret("web").await;
    let told = run(&space, &["inspect", "secret", "web"]).well();
    let places = ["root (root)", "└─ CN=", "intermediate (intermediate)", "   └─ web.test (leaf)"];
    let found: Vec<_> = places.iter().map(|part| told.find(part)).collect();
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{found:?}: {told}");
    has(&told, &["matches the certificate", "verifies up to ca.crt", "web.test"]);
    let key = String::from_utf8(text(&secret, "tls.key").to_vec()).unwrap();
    let json = run(&space, &["inspect", "secret", "web", "-o", "json"]);
    for line in key.lines() {
        assert!(!told.contains(line) && !json.said.contains(line));
    }
    let json = json.json();
    assert_eq!((&json["key"], &json["chainState"]), (&json!("matches"), &json!("verified")));
    assert_eq!(json["chain"].as_array().unwrap().len(), 3);
    // A Secret of nobody's, with the key of another, and no root.
    let other = space.secret("root").await;
    let data = json!({ "tls.crt": ByteString(text(&secret, "tls.crt").to_vec()),
        "tls.key": ByteString(text(&other, "tls.key").to_vec()) });
    space.make::<Secret>("mixed", json!({ "data": data })).await;
    let told = run(&space, &["inspect", "secret", "mixed"]).well();
    has(&told, &["does NOT match", "is not the key of any certificate", "ca.crt is missing"]);
}

pub(crate) async fn a_check_knows_the_definitions_and_finds_what_is_wrong(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let nothing = json!({ "spec": { "ca": { "secretName": "nothing" } } });
    space.make::<Issuer>("broken", nothing).await;
    let spec = leaf("lost", json!({ "issuerRef": { "name": "broken" } }));
    space.make::<Certificate>("lost", json!({ "spec": spec })).await;
    let is_seen = |it: &Certificate| condition(it, "Issuing").is_some();
    space.certificate_when("lost", "is looked at", is_seen).await;
    let is_seen = |it: &Issuer| it.status.is_some();
    space.when("broken", "is looked at", is_seen).await;
    let checked = run(&space, &["check", "--wait", "1500ms", "-o", "json"]);
    assert_eq!((checked.code, checked.complaint.as_str()), (Some(1), ""));
    let json: Value = serde_json::from_str(&checked.said).unwrap();
    assert_eq!(json["healthy"], false);
    let part = |name: &str| {
        let parts = json["parts"].as_array().unwrap();
        parts.iter().find(|part| part["name"] == name).unwrap().clone()
    };
    // What the API server gives back is what this program knows.
    assert_eq!(part("definitions")["findings"], json!([]));
    let lost = format!("Certificate {}/lost", space.namespace);
    let of = |finding: &Value| finding["object"].as_str().unwrap().to_owned();
    let findings = part("certificates")["findings"].as_array().unwrap().clone();
    assert_eq!(findings.iter().map(of).collect::<Vec<_>>(), [lost]);
    has(findings[0]["message"].as_str().unwrap(), &["is not ready", "broken"]);
    let broken = format!("Issuer {}/broken", space.namespace);
    let findings = part("issuers")["findings"].as_array().unwrap().clone();
    assert!(findings.iter().map(of).any(|object| object == broken), "{findings:?}");
    let told = run(&space, &["check"]);
    assert_eq!(told.code, Some(1));
    has(&told.said, &["✓ definitions: 5 of 5", "✗ certificates", &broken, "finding"]);
}

/// What the chart installs, by hand, as far as it is looked at.
async fn pretend_to_be_installed(space: &Space, name: &str) {
    let labels = json!({ "app.kubernetes.io/name": "countersign",
        "app.kubernetes.io/version": "9.8.7" });
    let pod = json!({ "metadata": { "labels": { "app": "x" } },
        "spec": { "containers": [{ "name": "a", "image": "a" }] } });
    let deployment = json!({ "metadata": { "labels": labels }, "spec": {
        "selector": { "matchLabels": { "app": "x" } }, "template": pod } });
    space.make::<Deployment>("countersign-operator", deployment).await;
    let hook = json!({
        "name": "a.example.org", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": { "service": { "name": "hook", "namespace": space.namespace } },
        "objectSelector": { "matchLabels": { "no": "pod" } },
    });
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(space.client.clone());
    let object = json!({ "metadata": { "labels": labels }, "webhooks": [hook] });
    make_in(&configurations, name, object).await;
}

pub(crate) async fn a_check_sees_operator_and_webhook(space: Space) {
    space.authority().await;
    let root = space.when::<Secret>("root", "is there", |_| true).await;
    let name = format!("cli-{}", space.namespace);
    pretend_to_be_installed(&space, &name).await;
    let codes = || {
        let checked = run(&space, &["check", "-o", "json"]);
        let json: Value = serde_json::from_str(&checked.said).unwrap();
        let parts = json["parts"].as_array().unwrap().clone();
        let findings = parts.iter().filter(|part| part["name"] != "issuers");
        let findings = findings.flat_map(|part| part["findings"].as_array().unwrap().clone());
        let ours = findings.filter(|it| {
            let object = it["object"].as_str().unwrap();
            object.contains(&name) || object.contains(&format!("{}/", space.namespace))
        });
        ours.map(|it| it["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    space.ready("intermediate").await;
    assert_eq!(codes(), ["operatorUnavailable", "caBundleMissing", "webhookUnanswered"]);
    let status = json!({ "status": { "replicas": 1, "readyReplicas": 1, "availableReplicas": 1 } });
    let deployments: Api<Deployment> = space.api();
    let (merge, ours) = (Patch::Merge(status), PatchParams::default());
    deployments.patch_status("countersign-operator", &ours, &merge).await.unwrap();
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(space.client.clone());
    let bundle = ByteString(text(&root, "tls.crt").to_vec());
    let place = "/webhooks/0/clientConfig/caBundle";
    let add = json!([{ "op": "add", "path": place, "value": bundle }]);
    let filled: Patch<()> = Patch::Json(serde_json::from_value(add).unwrap());
    configurations.patch(&name, &ours, &filled).await.unwrap();
    assert_eq!(codes(), ["webhookUnanswered"]);
    let slice = json!({ "metadata": { "labels": { "kubernetes.io/service-name": "hook" } },
        "addressType": "IPv4", "ports": [],
        "endpoints": [{ "addresses": ["192.0.2.1"], "conditions": { "ready": true } }] });
    space.make::<EndpointSlice>("hook", slice).await;
    assert_eq!(codes(), [""; 0]);
    let versions = run(&space, &["version", "-o", "json"]).json();
    assert_eq!(versions["operator"], "9.8.7");
    has(versions["kubernetes"].as_str().unwrap(), &["v1."]);
    configurations.delete(&name, &DeleteParams::default()).await.unwrap();
}

pub(crate) async fn kubectl_finds_it_and_completes_its_command_line(space: Space) {
    space.make::<Issuer>("ca", json!({ "spec": { "selfSigned": {} } })).await;
    for name in ["web", "wiki"] {
        space.make::<Certificate>(name, json!({ "spec": leaf(name, json!({})) })).await;
    }
    let path = |command: &std::process::Command| {
        let mut variables = command.get_envs();
        let path = variables.find(|(name, _)| *name == "PATH").and_then(|(_, path)| path);
        path.expect("a PATH").to_string_lossy().into_owned()
    };
    let mut kubectl = space.world.command("kubectl");
    let with = format!("{}:{}", program().parent().unwrap().display(), path(&kubectl));
    kubectl.args(["countersign", "version", "--client"]).env("PATH", with);
    has(&ended(kubectl).well(), &["kubectl-countersign:", env!("CARGO_PKG_VERSION")]);
    let complete = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let mut asking = space.world.command(&program().display().to_string());
        asking.arg("__complete").args(words);
        ended(asking).well()
    };
    let namespace = &space.namespace;
    let names = complete(&format!("status certificate -n {namespace} w"));
    assert_eq!(names, "web\nwiki\n:4\n");
    has(&complete(&format!("request -n {namespace} --issuer ")), &["ca\n"]);
    assert_eq!(complete("ins"), "inspect\n:4\n");
    for shell in ["bash", "zsh", "fish"] {
        has(&run(&space, &["completion", shell]).well(), &["kubectl-countersign", "renew"]);
    }
}

pub(crate) async fn what_is_wrong_is_said_in_one_sentence(space: Space) {
    let sentence = |line: &[&str]| {
        let ended = ended(command(&space, line));
        assert_eq!(ended.complaint.trim_end().lines().count(), 1, "{ended:?}");
        (ended.code, ended.complaint)
    };
    let cases: [(&[&str], i32, &str); 7] = [
        (&["statsu"], 2, "statsu"),
        (&["renew"], 2, "no Certificate is chosen"),
        (&["renew", "web", "--all"], 2, "--all"),
        (&["request", "--issuer", "ca", "--out", "/nowhere"], 2, "nobody is named"),
        (&["status", "certificate", "web"], 1, "there is no Certificate web in namespace"),
        (&["inspect", "secret", "web"], 1, "there is no Secret web in namespace"),
        (&["check", "--context", "nowhere"], 1, "nowhere"),
    ];
    for (line, code, part) in cases {
        let (found, said) = sentence(line);
        assert_eq!(found, Some(code), "{line:?}: {said}");
        has(&said, &["kubectl-countersign: ", part]);
    }
    // A cluster that does not answer.
    let folder = crate::issuance::folder(&space);
    let file = folder.join("kubeconfig");
    let config = "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: a, user: {token: b}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n";
    std::fs::write(&file, config).unwrap();
    let file = file.display().to_string();
    let (code, said) = sentence(&["status", "certificate", "web", "--kubeconfig", &file]);
    assert_eq!(code, Some(1));
    has(&said, &["reading Certificate", "cannot be asked", "--kubeconfig"]);
    std::fs::remove_dir_all(&folder).unwrap();
}
