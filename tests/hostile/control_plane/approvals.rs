//! An approver of some issuers, and a tenant who asks for kinds that do not exist.

use std::sync::Arc;
use std::time::Duration;

use countersign_crds::CertificateRequest;
use countersign_operator::clock::Clock;
use countersign_operator::context::Settings;
use countersign_operator::issuer_kinds;
use countersign_operator::metrics::Metrics;
use countersign_operator::run::Controllers;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use libtest_mimic::Trial;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::approvals;
use crate::approval::{OPERATOR, approves, condition, has, installed, of, refused, say, user};
use crate::chart::{objects, of_kind};
use crate::issuer_kinds::{CONFIG_MAP, definition, published};
use crate::requests::{openssl_csr, request};
use crate::rights::{Right, may, until_may};
use crate::space::{Space, make_in, when_in};
use crate::world::{HOME, World};

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        approvals::{
            external_issuer_is_approved_by_its_real_plural_and_scope,
            kind_that_no_longer_exists_is_refused_again,
            only_the_controller_publishes_issuer_kinds,
            nothing_published_approves_no_external_issuer_and_all_of_ours,
        }
    }
}

/// Longer than until a kind is published, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn approved() -> Value {
    json!([condition("Approved", "True", "Test")])
}

/// A CertificateRequest to issuer `press` of a kind.
async fn asked(space: &Space, name: &str, kind: &str, group: &str) {
    let mut object = request(openssl_csr(space, "laptop.test"));
    object["spec"]["issuerRef"] = json!({ "name": "press", "kind": kind, "group": group });
    space.make::<CertificateRequest>(name, object).await;
}

async fn defined(space: &Space, definition: Value) -> String {
    let api: Api<CustomResourceDefinition> = Api::all(space.client.clone());
    let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
    make_in(&api, &name, definition).await;
    name
}

async fn undefined(space: &Space, name: &str) {
    let api: Api<CustomResourceDefinition> = Api::all(space.client.clone());
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

/// Waits until an approval is admitted.
async fn admitted(api: &Api<CertificateRequest>, name: &str) {
    let trying = async {
        while say(api, name, approved()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let done = tokio::time::timeout(PATIENCE, trying).await;
    done.unwrap_or_else(|_| panic!("{name} is never approved"));
}

pub(crate) async fn external_issuer_is_approved_by_its_real_plural_and_scope(space: Space) {
    installed(&space).await;
    let (group, namespace) = (format!("{}.example.org", space.namespace), &space.namespace);
    let signer = format!("presses.{group}/press");
    let exact = user(&space, "exact", approves(&[&signer])).await;
    let guesses = [
        format!("pressissuers.{group}/{namespace}.press"),
        format!("pressissuers.{group}/*"),
        format!("pressissuers.{group}/press"),
        format!("presses.{group}/{namespace}.press"),
    ];
    let guesses = guesses.each_ref().map(String::as_str);
    let guesser = user(&space, "guesser", approves(&guesses)).await;
    let [exact, guesser] = [exact, guesser].map(|user| of(&space, space.world.client_of(&user)));
    asked(&space, "web", "PressIssuer", &group).await;
    // No right helps while the kind does not exist: the last one has every right.
    for api in [&exact, &guesser, &space.api()] {
        let said = say(api, "web", approved()).await.unwrap_err();
        has(&said, &["no kind PressIssuer", &group, "CustomResourceDefinition", "retry"]);
    }
    let presses = definition(&group, "PressIssuer", "presses", "Cluster", &["v1", "v1beta1"]);
    let presses = defined(&space, presses).await;
    admitted(&exact, "web").await;
    asked(&space, "guessed", "PressIssuer", &group).await;
    let said = say(&guesser, "guessed", approved()).await.unwrap_err();
    has(&said, &["verb approve", &format!("{signer} "), &format!("presses.{group}/*")]);
    // Neither other capitals, nor the beginning of the group, nor a plural name the same kind.
    let dotted = format!("PressIssuer.{namespace}");
    let others = [
        ("capitals", "Pressissuer", group.as_str()),
        ("dotted", dotted.as_str(), "example.org"),
        ("plural", "presses", &group),
        ("status", "PressIssuer/status", &group),
    ];
    for (name, kind, group) in others {
        asked(&space, name, kind, group).await;
        let said = say(&space.api(), name, approved()).await.unwrap_err();
        has(&said, &[&format!("no kind {kind} of group {group}")]);
    }
    undefined(&space, &presses).await;
}

pub(crate) async fn kind_that_no_longer_exists_is_refused_again(space: Space) {
    installed(&space).await;
    let group = format!("{}.example.org", space.namespace);
    let presses = definition(&group, "Press", "presses", "Namespaced", &["v1"]);
    let presses = defined(&space, presses).await;
    published(&space, &format!("Press.{group}"), "presses/Namespaced").await;
    let signer = format!("presses.{group}/{}.press", space.namespace);
    let exact = user(&space, "exact", approves(&[&signer])).await;
    let exact = of(&space, space.world.client_of(&exact));
    asked(&space, "before", "Press", &group).await;
    admitted(&exact, "before").await;
    undefined(&space, &presses).await;
    let said = refused("a kind that is gone", async |time| {
        let name = format!("after-{time}");
        asked(&space, &name, "Press", &group).await;
        say(&exact, &name, approved()).await
    })
    .await;
    has(&said, &["no kind Press of group", &group]);
}

async fn change(api: &Api<ConfigMap>, patch: Value) -> Result<(), String> {
    let changed = api.patch(CONFIG_MAP, &PatchParams::default(), &Patch::Merge(&patch)).await;
    changed.map(|_| ()).map_err(|error| error.to_string())
}

pub(crate) async fn only_the_controller_publishes_issuer_kinds(space: Space) {
    installed(&space).await;
    let maps = json!({ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"] });
    let ours =
        json!({ "apiGroups": ["countersign.dev"], "resources": ["issuers"], "verbs": ["create"] });
    let tenant = user(&space, "tenant", json!([maps, ours])).await;
    let right =
        Right { verb: "patch", group: "", resource: "configmaps", namespace: HOME, name: "" };
    until_may(&space, &tenant, right).await;
    let api: Api<ConfigMap> = Api::namespaced(space.world.client_of(&tenant), HOME);
    let bogus = json!({ "data": { "Bogus.example.org": "issuers/Cluster" } });
    let said = refused("an invented kind", async |_| change(&api, bogus.clone()).await).await;
    has(&said, &[&tenant, "verb publish", "signers.countersign.dev"]);
    let cases = [json!({ "data": null }), json!({ "immutable": true })];
    for patch in cases {
        has(&change(&api, patch).await.unwrap_err(), &["verb publish"]);
    }
    let map = json!({ "metadata": { "name": CONFIG_MAP }, "data": bogus["data"] });
    let map: ConfigMap = serde_json::from_value(map).unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let created = api.create(&dry, &map).await.unwrap_err().to_string();
    has(&created, &["verb publish"]);
    // The account of the controller writes this one, and no other in its namespace.
    let right = Right {
        verb: "publish",
        group: "countersign.dev",
        resource: "signers",
        namespace: "",
        name: "",
    };
    until_may(&space, OPERATOR, right).await;
    let right =
        Right { verb: "patch", group: "", resource: "configmaps", namespace: HOME, name: "" };
    until_may(&space, OPERATOR, Right { name: CONFIG_MAP, ..right }).await;
    assert!(!may(&space.client, OPERATOR, right).await, "it may patch no other");
    // What an administrator adds is taken away.
    let admin: Api<ConfigMap> = Api::namespaced(space.client.clone(), HOME);
    change(&admin, bogus).await.unwrap();
    let is_clean = |map: &ConfigMap| {
        map.data.as_ref().is_some_and(|data| !data.contains_key("Bogus.example.org"))
    };
    when_in(&admin, CONFIG_MAP, "is corrected", is_clean).await;
}

/// The chart's policy for external issuers once more, for this namespace alone, with its parameter in it.
async fn policy_of_this_namespace(space: &Space) {
    let objects = objects(space, &[]);
    let name = format!("{}-external-approval", space.namespace);
    let named = |kind: &str| {
        let is_it = |it: &&&Value| it["metadata"]["name"] == "countersign-external-approval";
        let all = of_kind(&objects, kind);
        (*all.iter().find(is_it).expect("it is in the chart")).clone()
    };
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(space.client.clone());
    make_in(&policies, &name, named("ValidatingAdmissionPolicy")).await;
    let mut binding = named("ValidatingAdmissionPolicyBinding");
    binding["spec"]["policyName"] = name.as_str().into();
    binding["spec"]["paramRef"]["namespace"] = space.namespace.as_str().into();
    let labels = json!({ "kubernetes.io/metadata.name": space.namespace });
    binding["spec"]["matchResources"] = json!({ "namespaceSelector": { "matchLabels": labels } });
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(space.client.clone());
    make_in(&bindings, &name, binding).await;
}

/// The controller's publisher, for this namespace.
fn publishing(space: &Space) -> CancellationToken {
    let namespace = space.namespace.clone();
    let settings = Settings { cluster_resource_namespace: namespace, ..space.world.settings() };
    let metrics = Metrics::register(&mut Registry::default());
    let controllers = Controllers::new(space.client.clone(), Clock::system(), metrics, settings);
    let stop = CancellationToken::new();
    tokio::spawn(issuer_kinds::run(controllers.context(), stop.clone()));
    stop
}

async fn is_issued_by_ours(space: &Space, name: &str) {
    space.make::<CertificateRequest>(name, request(openssl_csr(space, "laptop.test"))).await;
    let is_signed = |request: &CertificateRequest| {
        request.status.as_ref().is_some_and(|status| status.certificate.is_some())
    };
    space.when(name, "is approved and signed", is_signed).await;
}

/// What is said against approvals until it is something else.
async fn refused_without(api: &Api<CertificateRequest>, name: &str, before: &str) -> String {
    let trying = async {
        loop {
            let said = say(api, name, approved()).await.unwrap_err();
            if !said.contains(before) {
                return said;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.expect("the ConfigMap is read")
}

pub(crate) async fn nothing_published_approves_no_external_issuer_and_all_of_ours(space: Space) {
    installed(&space).await;
    space.authority().await;
    space.ready("intermediate").await;
    policy_of_this_namespace(&space).await;
    let requests: Api<CertificateRequest> = space.api();
    let missing = refused("an approval without the ConfigMap", async |time| {
        let name = format!("missing-{time}");
        asked(&space, &name, "StepIssuer", "example.org").await;
        say(&requests, &name, approved()).await
    })
    .await;
    has(&missing, &["no params found"]);
    // As the chart installs it.
    space.make::<ConfigMap>(CONFIG_MAP, json!({})).await;
    asked(&space, "web", "StepIssuer", "example.org").await;
    let empty = refused_without(&requests, "web", "no params found").await;
    has(&empty, &[CONFIG_MAP, "still empty", "retry"]);
    is_issued_by_ours(&space, "ours").await;
    // An external issuer reports what it does.
    let ready = condition("Ready", "False", "Pending");
    say(&requests, "web", json!([ready])).await.unwrap();
    let stop = publishing(&space);
    admitted(&requests, "web").await;
    // Deleted, it comes back by itself.
    let maps = space.api::<ConfigMap>();
    let before = maps.get(CONFIG_MAP).await.unwrap().metadata.uid;
    maps.delete(CONFIG_MAP, &DeleteParams::default()).await.unwrap();
    let is_back = |map: &ConfigMap| map.metadata.uid != before && map.data.is_some();
    space.when(CONFIG_MAP, "comes back", is_back).await;
    is_issued_by_ours(&space, "ours-again").await;
    asked(&space, "again", "StepIssuer", "example.org").await;
    admitted(&requests, "again").await;
    stop.cancel();
}
