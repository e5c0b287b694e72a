//! A compromised process of the operator: what its ServiceAccount may do, as the API server says.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_crds::Certificate;
use countersign_operator::clock::Clock;
use countersign_operator::context::{Settings, Webhook};
use countersign_operator::inject;
use countersign_operator::metrics::Metrics;
use countersign_operator::run::Controllers;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, ServiceAccount};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use libtest_mimic::Trial;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::rights;
use crate::approval::{FRONT, OPERATOR, has, install, refused};
use crate::chart::{objects, of_kind, selects};
use crate::rights::{Right, may, until_may};
use crate::space::{Space, make_in, text, when_in};
use crate::world::{HOME, World};

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        rights::{
            front_cannot_read_any_secret,
            front_cannot_change_webhook_configurations,
            controller_has_no_port_open_to_pods,
            every_right_stands_in_the_docs_with_its_reason,
            front_makes_no_config_map_but_the_compiled_policies,
            operator_changes_no_pod_but_its_annotations,
            controller_makes_no_certificate_but_identities,
            controller_redirects_no_webhook,
            pods_of_the_operator_meet_pod_security_restricted,
            sidecars_of_earlier_versions_know_discovery,
            webhook_ca_is_trusted_before_its_certificate_is_published,
        }
    }
}

/// Every feature that gives the operator a right.
const FEATURES: &[&str] = &["injection.replace=true", "caInjection.enabled=true"];

/// Applies the chart's rights, and waits until the front has its own.
async fn installed(space: &Space) {
    install(space).await;
    let right = Right {
        verb: "patch",
        group: "countersign.dev",
        resource: "accesspolicies/status",
        namespace: "",
        name: "",
    };
    until_may(space, FRONT, right).await;
}

/// What the front must not do: each verb on each resource, everywhere and by every name.
async fn front_may_not(space: &Space, verbs: &[&str], group: &str, resource: &str, names: &[&str]) {
    for namespace in ["", HOME, "kube-system", &space.namespace] {
        for name in std::iter::once(&"").chain(names) {
            for verb in verbs {
                let right = Right { verb, group, resource, namespace, name };
                assert!(!may(&space.client, FRONT, right).await, "{right:?}");
            }
        }
    }
}

const WRITES: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];

pub(crate) async fn front_cannot_read_any_secret(space: Space) {
    installed(&space).await;
    let own = ["countersign-webhook", "countersign-countersign-operator", "countersign-root"];
    let verbs = [&["get", "list", "watch"], WRITES].concat();
    front_may_not(&space, &verbs, "", "secrets", &own).await;
    // Nor by what runs in another pod, or in the name of another account.
    front_may_not(&space, &["create"], "", "serviceaccounts/token", &["default"]).await;
    front_may_not(&space, &["create", "get"], "", "pods/exec", &[]).await;
    front_may_not(&space, &["create", "update", "patch"], "", "pods", &[]).await;
    front_may_not(&space, &["impersonate"], "", "serviceaccounts", &["default"]).await;
    // The test can fail: the controller reads them.
    let right = Right { verb: "get", group: "", resource: "secrets", namespace: "", name: "" };
    until_may(&space, OPERATOR, right).await;
}

pub(crate) async fn front_cannot_change_webhook_configurations(space: Space) {
    installed(&space).await;
    let admission = "admissionregistration.k8s.io";
    let kinds = [
        (admission, "mutatingwebhookconfigurations"),
        (admission, "validatingwebhookconfigurations"),
        (admission, "validatingadmissionpolicies"),
        (admission, "validatingadmissionpolicybindings"),
        (admission, "mutatingadmissionpolicies"),
        ("apiregistration.k8s.io", "apiservices"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ("countersign.dev", "certificates"),
        ("countersign.dev", "certificaterequests"),
        ("countersign.dev", "certificaterequests/status"),
        ("countersign.dev", "clusterissuers"),
    ];
    for (group, resource) in kinds {
        front_may_not(&space, WRITES, group, resource, &["countersign"]).await;
    }
}

/// The pods of one role, as the chart makes them.
fn pods<'a>(objects: &'a [Value], deployment: &str) -> &'a Value {
    let all = of_kind(objects, "Deployment");
    let found = all.into_iter().find(|it| it["metadata"]["name"] == deployment);
    &found.expect("a Deployment")["spec"]["template"]
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) async fn controller_has_no_port_open_to_pods(space: Space) {
    let objects = objects(&space, FEATURES);
    let controller = pods(&objects, "countersign-controller");
    let container = &controller["spec"]["containers"][0];
    assert!(list(&container["args"]).contains(&json!("--role=controller")), "{container}");
    let ports: Vec<_> = list(&container["ports"]).iter().map(|port| &port["name"]).collect();
    assert_eq!(ports, ["metrics"]);
    let services = of_kind(&objects, "Service").into_iter();
    let services = services.filter(|service| selects(&service["spec"]["selector"], controller));
    let services: Vec<_> = services.map(|service| &service["metadata"]["name"]).collect();
    assert_eq!(services, ["countersign-metrics"]);
    let policies = of_kind(&objects, "NetworkPolicy").into_iter();
    let policies = policies
        .filter(|policy| selects(&policy["spec"]["podSelector"]["matchLabels"], controller));
    let policies: Vec<_> = policies.map(|policy| &policy["spec"]).collect();
    assert_eq!(policies.len(), 1);
    assert_eq!(policies[0]["policyTypes"], json!(["Ingress"]));
    assert_eq!(policies[0]["ingress"], json!([]));
    let front = pods(&objects, "countersign-operator");
    assert!(!selects(&policies[0]["podSelector"]["matchLabels"], front), "the front is another");
}

/// One rule: account, scope, group, resources, names, verbs.
type Rule = (String, String, String, BTreeSet<String>, BTreeSet<String>, BTreeSet<String>);

fn words(text: &str) -> BTreeSet<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The rules of a table in Markdown, each with its reason.
fn documented() -> BTreeSet<Rule> {
    let path = countersign_tests::cluster::repository().join("docs/rbac.md");
    let text = std::fs::read_to_string(path).expect("docs/rbac.md");
    let mut rules = BTreeSet::new();
    for line in text.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let ["", account, scope, group, resources, names, verbs, why, _, ""] = cells[..] else {
            continue;
        };
        if !["controller", "front"].contains(&account) {
            continue;
        }
        assert!(!why.is_empty(), "no reason: {line}");
        let [account, scope, group] = [account, scope, group].map(str::to_owned);
        rules.insert((account, scope, group, words(resources), words(names), words(verbs)));
    }
    rules
}

/// The rules of the chart that are bound to one of the operator's accounts.
fn given(objects: &[Value]) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (bindings, roles, scope) in
        [("ClusterRoleBinding", "ClusterRole", "cluster"), ("RoleBinding", "Role", "namespace")]
    {
        for binding in of_kind(objects, bindings) {
            let account = match binding["subjects"][0]["name"].as_str() {
                Some("countersign-controller") => "controller",
                Some("countersign-operator") => "front",
                other => panic!("{other:?} has a role"),
            };
            let role = of_kind(objects, roles).into_iter();
            let mut role = role.filter(|it| it["metadata"]["name"] == binding["roleRef"]["name"]);
            let role = role.next().expect("the role of a binding");
            for rule in list(&role["rules"]) {
                let of = |field: &str| {
                    let all = list(&rule[field]).iter();
                    all.map(|word| word.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
                };
                let group = of("apiGroups").into_iter().collect::<Vec<_>>().join(",");
                let (account, scope) = (account.to_owned(), scope.to_owned());
                rules.push((
                    account,
                    scope,
                    group,
                    of("resources"),
                    of("resourceNames"),
                    of("verbs"),
                ));
            }
        }
    }
    rules
}

pub(crate) async fn every_right_stands_in_the_docs_with_its_reason(space: Space) {
    let (given, documented) = (given(&objects(&space, FEATURES)), documented());
    for rule in &given {
        assert!(documented.contains(rule), "docs/rbac.md lacks {rule:?}");
    }
    for rule in &documented {
        assert!(given.contains(rule), "the chart does not give {rule:?}");
    }
}

async fn patched(pods: &Api<Pod>, patch: Value) -> Result<(), String> {
    let written = pods.patch_status("web", &PatchParams::default(), &Patch::Merge(&patch)).await;
    written.map(|_| ()).map_err(|error| error.to_string())
}

/// A pod that nothing runs.
async fn idle_pod(space: &Space) {
    space.make::<ServiceAccount>("web", json!({})).await;
    let spec =
        json!({ "serviceAccountName": "web", "containers": [{ "name": "a", "image": "a:1" }] });
    space.make::<Pod>("web", json!({ "spec": spec })).await;
}

pub(crate) async fn operator_changes_no_pod_but_its_annotations(space: Space) {
    installed(&space).await;
    idle_pod(&space).await;
    for user in [OPERATOR, FRONT] {
        let pods: Api<Pod> = Api::namespaced(space.world.client_of(user), &space.namespace);
        let address =
            json!({ "status": { "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }] } });
        let said = refused("an address", async |_| patched(&pods, address.clone()).await).await;
        has(&said, &["annotations only"]);
        let attempts = [
            json!({ "metadata": { "labels": { "countersign.dev/injected": "true" } } }),
            json!({ "metadata": { "annotations": { "example.org/other": "1" } } }),
            json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } }),
        ];
        for attempt in attempts {
            assert!(patched(&pods, attempt.clone()).await.is_err(), "{user}: {attempt}");
        }
        let ours =
            json!({ "metadata": { "annotations": { "countersign.dev/policy-revision": user } } });
        patched(&pods, ours).await.unwrap();
    }
}

pub(crate) async fn front_makes_no_config_map_but_the_compiled_policies(space: Space) {
    installed(&space).await;
    let api: Api<ConfigMap> = Api::namespaced(space.world.client_of(FRONT), &space.namespace);
    let create = async |metadata: Value| {
        let object = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        let created = api.create(&PostParams::default(), &object).await;
        created.map(|_| ()).map_err(|error| error.to_string())
    };
    let refusal = refused("another name", async |time| {
        create(json!({ "name": format!("coredns-{time}") })).await
    })
    .await;
    has(&refusal, &["metadata.name", "countersign-policy only"]);
    create(json!({ "generateName": "countersign-policy" })).await.unwrap_err();
    create(json!({ "name": "countersign-policy" })).await.unwrap();
}

/// An identity as the controller applies it, with some of its fields as they are given.
fn identity(space: &Space, changed: &Value) -> Value {
    let uri = format!("spiffe://cluster.local/ns/{}/sa/web", space.namespace);
    let mut spec = json!({
        "secretName": "countersign-web", "uris": [uri], "dnsNames": ["web.svc"],
        "usages": ["digital signature", "server auth", "client auth"],
        "issuerRef": { "kind": "ClusterIssuer", "name": "countersign", "group": "countersign.dev" },
    });
    for (field, value) in changed.as_object().unwrap() {
        spec[field] = value.clone();
    }
    json!({
        "apiVersion": "countersign.dev/v1", "kind": "Certificate",
        "metadata": { "name": "countersign-web", "labels": { "countersign.dev/identity": "true" },
            "annotations": { "countersign.dev/service-account": "web" } },
        "spec": spec,
    })
}

pub(crate) async fn controller_makes_no_certificate_but_identities(space: Space) {
    installed(&space).await;
    let client = space.world.client_of(OPERATOR);
    let api: Api<Certificate> = Api::namespaced(client, &space.namespace);
    let apply = async |changed: &Value| {
        // Nothing is made: only what admission says counts.
        let parameters = PatchParams { dry_run: true, ..PatchParams::apply("controller").force() };
        let object = Patch::Apply(identity(&space, changed));
        let applied = api.patch("countersign-web", &parameters, &object).await;
        applied.map(|_| ()).map_err(|error| error.to_string())
    };
    let said = refused("a CA", async |_| apply(&json!({ "isCA": true })).await).await;
    has(&said, &["the operator makes no CA"]);
    let elsewhere = "spiffe://cluster.local/ns/kube-system/sa/web";
    let attempts = [
        json!({ "uris": [elsewhere] }),
        json!({ "uris": [format!("spiffe://cluster.local/ns/{}/sa/web", space.namespace), elsewhere] }),
        json!({ "issuerRef": { "kind": "ClusterIssuer", "name": "another" } }),
        json!({ "issuerRef": { "name": "countersign" } }),
        json!({ "commonName": "till-1" }),
        json!({ "ipAddresses": ["10.0.0.1"] }),
    ];
    for attempt in attempts {
        assert!(apply(&attempt).await.is_err(), "{attempt}");
    }
    apply(&json!({})).await.unwrap();
}

/// A webhook configuration that concerns no pod.
async fn hooks(space: &Space) -> String {
    let name = format!("hooks-{}", space.namespace);
    let nowhere = json!({ "matchLabels": { "no": "pod" } });
    let hook = json!({ "webhooks": [{ "name": "a.example.org", "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore", "objectSelector": nowhere,
        "clientConfig": { "service": { "name": "a", "namespace": space.namespace } },
        "rules": [{ "apiGroups": ["example.org"], "apiVersions": ["v1"], "operations": ["CREATE"],
            "resources": ["things"] }] }] });
    let all: Api<MutatingWebhookConfiguration> = Api::all(space.client.clone());
    make_in(&all, &name, hook).await;
    name
}

async fn redirect(client: &Client, name: &str, patch: Value) -> Result<(), String> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let operations = Patch::<()>::Json(serde_json::from_value(patch).unwrap());
    let written = api.patch(name, &PatchParams::default(), &operations).await;
    written.map(|_| ()).map_err(|error| error.to_string())
}

pub(crate) async fn controller_redirects_no_webhook(space: Space) {
    installed(&space).await;
    let name = hooks(&space).await;
    let client = space.world.client_of(OPERATOR);
    let at = |path: &str, value: Value| json!([{ "op": "add", "path": format!("/webhooks/0/{path}"), "value": value }]);
    let service = || at("clientConfig/service/name", json!("evil"));
    let said = refused("a redirection", async |_| redirect(&client, &name, service()).await).await;
    has(&said, &["caBundle only"]);
    let attempts = [
        at("rules/0/resources/0", json!("*")),
        at("failurePolicy", json!("Fail")),
        at("objectSelector", json!({})),
        json!([{ "op": "remove", "path": "/webhooks/0" }]),
        json!([{ "op": "add", "path": "/metadata/annotations", "value": { "a": "b" } }]),
    ];
    for attempt in attempts {
        assert!(redirect(&client, &name, attempt.clone()).await.is_err(), "{attempt}");
    }
    redirect(&client, &name, at("clientConfig/caBundle", json!("Cg=="))).await.unwrap();
}

pub(crate) async fn pods_of_the_operator_meet_pod_security_restricted(space: Space) {
    let namespaces: Api<Namespace> = Api::all(space.client.clone());
    let label =
        json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    let parameters = PatchParams::default();
    namespaces.patch(&space.namespace, &parameters, &Patch::Merge(label)).await.unwrap();
    let try_pod = async |name: &str, mut spec: Value| {
        spec["serviceAccountName"] = name.into();
        let pod = json!({ "metadata": { "name": name }, "spec": spec });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        space.api::<Pod>().create(&parameters, &pod).await.map_err(|error| error.to_string())
    };
    let objects = objects(&space, FEATURES);
    for deployment in of_kind(&objects, "Deployment") {
        let name = deployment["metadata"]["name"].as_str().unwrap();
        space.make::<ServiceAccount>(name, json!({})).await;
        let spec = &deployment["spec"]["template"]["spec"];
        try_pod(name, spec.clone()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut escalates = spec.clone();
        escalates["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
        has(&try_pod(name, escalates).await.unwrap_err(), &["restricted"]);
    }
}

/// The name by which sidecars know discovery is in their pods' specs, and stays there through an upgrade, as
/// does the selector of the Deployment, which cannot change.
pub(crate) async fn sidecars_of_earlier_versions_know_discovery(space: Space) {
    let objects = objects(&space, &[]);
    let front = of_kind(&objects, "Deployment").into_iter();
    let mut front = front.filter(|it| it["metadata"]["name"] == "countersign-operator");
    let spec = &front.next().expect("the front")["spec"];
    let labels = json!({ "app.kubernetes.io/name": "countersign", "app.kubernetes.io/instance": "countersign" });
    assert_eq!(spec["selector"]["matchLabels"], labels);
    let pod = &spec["template"]["spec"];
    let account = pod["serviceAccountName"].as_str().unwrap();
    let peer = format!("--sidecar-discovery-peer=spiffe://cluster.local/ns/{HOME}/sa/{account}");
    assert_eq!(account, "countersign-operator");
    assert!(list(&pod["containers"][0]["args"]).contains(&json!(peer)), "{peer}");
    for service in ["countersign-discovery", "countersign-webhook"] {
        let all = of_kind(&objects, "Service").into_iter();
        let mut found = all.filter(|it| it["metadata"]["name"] == service);
        assert_eq!(found.next().unwrap()["spec"]["selector"], labels, "{service}");
    }
}

/// Whatever mounts the Secret serves it at once: the API server must trust its CA by then. Versions of all
/// objects count on.
pub(crate) async fn webhook_ca_is_trusted_before_its_certificate_is_published(space: Space) {
    let namespace = space.namespace.clone();
    let settings = Settings { cluster_resource_namespace: namespace, ..space.world.settings() };
    let metrics = Metrics::register(&mut Registry::default());
    let controllers = Controllers::new(space.client.clone(), Clock::system(), metrics, settings);
    let configuration = hooks(&space).await;
    let webhook =
        Webhook { service: "countersign-webhook".to_owned(), configuration: configuration.clone() };
    let stop = CancellationToken::new();
    let keeping = inject::keep(controllers.context(), webhook, stop.clone());
    let keeping = tokio::spawn(keeping);
    let is_there = |secret: &Secret| secret.data.is_some();
    let secret = space.when::<Secret>("countersign-webhook", "is there", is_there).await;
    let all: Api<MutatingWebhookConfiguration> = Api::all(space.client.clone());
    let trusts = |found: &MutatingWebhookConfiguration| {
        let mut hooks = found.webhooks.iter().flatten();
        hooks.all(|hook| {
            let bundle = hook.client_config.ca_bundle.as_ref();
            bundle.is_some_and(|bundle| bundle.0 == text(&secret, "ca.crt"))
        })
    };
    let found = when_in(&all, &configuration, "trusts it", trusts).await;
    let version = |version: Option<String>| version.unwrap().parse::<u64>().unwrap();
    let [trusted, published] =
        [found.metadata.resource_version, secret.metadata.resource_version.clone()].map(version);
    assert!(trusted < published, "published at {published}, trusted at {trusted}");
    stop.cancel();
    keeping.await.expect("it ends");
}
