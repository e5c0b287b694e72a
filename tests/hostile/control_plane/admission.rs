//! What a tenant does to pods that run, to get past the webhook, and what is told of it. Strangers on the
//! network are played in the operator's own tests (inject/server/tests.rs, admin/tests.rs), where the
//! API server adds nothing.

use std::sync::Arc;

use clap::Parser;
use countersign_operator::args::Args;
use countersign_operator::inject::{self, Injection, inject};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{
    Event, LimitRange, Namespace, Pod, ResourceQuota, Service, ServiceAccount,
};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::admission;
use crate::approval::{has, refused};
use crate::chart::{apply, rendered};
use crate::cli;
use crate::space::{Space, event_in, make_in};
use crate::world::World;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        admission::{
            ephemeral_container_cannot_mount_the_key,
            image_of_the_sidecar_cannot_be_replaced,
            exemptions_are_refused_where_no_administrator_allowed_them,
            sidecar_of_another_image_is_refused_where_exemptions_are,
            labels_without_effect_and_skipped_pods_are_told_by_the_audit,
            audit_writes_no_event_about_a_pod_that_does_not_exist,
            quotas_and_limit_ranges_admit_a_pod_that_names_its_resources,
            mutual_port_that_the_api_server_calls_is_found,
        }
    }
}

/// A pod as the webhook makes it.
fn injected(metadata: Value, container: &Value) -> Value {
    let mut app = json!({ "name": "app", "image": "app:1" });
    app.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    let before = json!({ "metadata": metadata, "spec": { "containers": [app] } });
    let args = ["countersign-operator", "--sidecar-image=sidecar:1"];
    let args = Args::try_parse_from(args).unwrap().inject;
    let asked: inject::Pod = serde_json::from_value(before.clone()).unwrap();
    let Injection::Patch(operations) = inject(&asked, &args, "0123456789abcdef") else {
        panic!("not injected: {before}")
    };
    let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations)).unwrap();
    let mut after = before;
    json_patch::patch(&mut after, &patch).unwrap();
    after
}

async fn create(space: &Space, pod: Value) -> Result<Pod, String> {
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let created = space.api::<Pod>().create(&PostParams::default(), &pod).await;
    created.map_err(|error| error.to_string())
}

async fn account(space: &Space) {
    space.make::<ServiceAccount>("default", json!({})).await;
}

fn with_name(mut metadata: Value, name: &str) -> Value {
    metadata["name"] = json!(name);
    metadata
}

/// Applies the chart's policies about injection.
fn install(space: &Space) {
    apply(space, &rendered(space, &["policy-injection"], &[]));
}

async fn debug(space: &Space, container: &Value) -> Result<(), String> {
    let patch = json!({ "spec": { "ephemeralContainers": [container] } });
    let (parameters, patch) = (PatchParams::default(), Patch::Strategic(patch));
    let changed = space.api::<Pod>().patch_ephemeral_containers("web", &parameters, &patch).await;
    changed.map(|_| ()).map_err(|error| error.to_string())
}

pub(crate) async fn ephemeral_container_cannot_mount_the_key(space: Space) {
    install(&space);
    account(&space).await;
    create(&space, injected(json!({ "name": "web" }), &json!({}))).await.expect("a pod");
    let mounts = json!([{ "name": "countersign-credentials", "mountPath": "/keys" }]);
    // A label of the pod changes nothing.
    space
        .change::<Pod>(
            "web",
            json!({ "metadata": { "labels": { "countersign.dev/inject": "disabled" } } }),
        )
        .await;
    let why = refused("the mount", async |time| {
        let name = format!("thief-{time}");
        debug(&space, &json!({ "name": name, "image": "a", "volumeMounts": mounts })).await
    });
    has(&why.await, &["thief-", "countersign-credentials", "remove the mount"]);
    let cases = [
        (
            json!({ "name": "user", "securityContext": { "runAsUser": 14100 } }),
            "runs as user 14100",
        ),
        (
            json!({ "name": "beside", "targetContainerName": "countersign-sidecar" }),
            "target another",
        ),
    ];
    for (mut container, named) in cases {
        container["image"] = json!("a");
        has(&debug(&space, &container).await.expect_err("it is refused"), &[named]);
    }
    let honest = json!({ "name": "honest", "image": "a", "targetContainerName": "app",
        "securityContext": { "runAsUser": 1000 } });
    debug(&space, &honest).await.expect("what does no harm is let in");
}

pub(crate) async fn image_of_the_sidecar_cannot_be_replaced(space: Space) {
    install(&space);
    account(&space).await;
    create(&space, injected(json!({ "name": "web" }), &json!({}))).await.expect("a pod");
    let change = async |sort: &str, name: &str, image: String| {
        let patch = json!({ "spec": { sort: [{ "name": name, "image": image }] } });
        let patch = Patch::Strategic(patch);
        let changed = space.api::<Pod>().patch("web", &PatchParams::default(), &patch).await;
        changed.map(|_| ()).map_err(|error| error.to_string())
    };
    let why = refused("another image", async |time| {
        change("initContainers", "countersign-sidecar", format!("thief:{time}")).await
    });
    has(&why.await, &["countersign-sidecar", "cannot change"]);
    change("containers", "app", "app:2".to_owned()).await.expect("the pod's own may change");
}

/// Applies the policy about exemptions for one namespace: tests of others exempt themselves.
async fn restrict(space: &Space) {
    account(space).await;
    let values = ["injection.restrictExemptions=true", "sidecar.image=sidecar:1"];
    let policy = rendered(space, &["policy-injection"], &values);
    let binding = "policyName: countersign-exemptions\n  validationActions: [Deny]";
    let restricted = "matchResources: {namespaceSelector: {matchLabels: {restricted: always}}}";
    let here = format!("{binding}\n  {restricted}");
    assert!(policy.contains(binding), "{policy}");
    apply(space, &policy.replace(binding, &here));
    label(space, &json!({ "restricted": "always" })).await;
}

async fn label(space: &Space, labels: &Value) {
    let namespaces: Api<Namespace> = Api::all(space.client.clone());
    let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
    let changed = namespaces.patch(&space.namespace, &PatchParams::default(), &patch).await;
    changed.expect("the namespace is labelled");
}

pub(crate) async fn exemptions_are_refused_where_no_administrator_allowed_them(space: Space) {
    restrict(&space).await;
    let pod = |name: String, metadata: Value| {
        let mut metadata = metadata;
        metadata["name"] = json!(name);
        json!({ "metadata": metadata, "spec": { "containers": [{ "name": "app", "image": "app:1" }] } })
    };
    let annotated = |name: &str, value: &str| json!({ "annotations": { name: value } });
    let skip = annotated("countersign.dev/skip-outbound-ports", "443");
    let why = refused("the annotation", async |time| {
        create(&space, pod(format!("skip-{time}"), skip.clone())).await
    });
    has(
        &why.await,
        &["countersign.dev/skip-outbound-ports", "countersign.dev/exemptions: allowed"],
    );
    label(&space, &json!({ "countersign.dev/inject": "enabled" })).await;
    let declining = json!({ "labels": { "countersign.dev/inject": "disabled" } });
    let why = refused("the label", async |time| {
        create(&space, pod(format!("declines-{time}"), declining.clone())).await
    });
    has(&why.await, &["countersign.dev/inject: disabled"]);
    let explicit = annotated("countersign.dev/mode", "explicit");
    let usual = annotated("countersign.dev/mode", "redirect");
    create(&space, pod("explicit".to_owned(), explicit.clone())).await.expect_err("it is exempt");
    create(&space, injected(with_name(usual, "usual"), &json!({})))
        .await
        .expect("nothing is exempt");
    label(&space, &json!({ "countersign.dev/exemptions": "allowed" })).await;
    let allowing = async {
        while create(&space, pod("allowed".to_owned(), explicit.clone())).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let allowed = tokio::time::timeout(std::time::Duration::from_secs(60), allowing).await;
    allowed.expect("the namespace's label allows it");
}

pub(crate) async fn sidecar_of_another_image_is_refused_where_exemptions_are(space: Space) {
    restrict(&space).await;
    let metadata =
        |name: &str| json!({ "name": name, "labels": { "countersign.dev/inject": "enabled" } });
    let changed = |name: &str, path: &str, value: &Value| {
        let mut pod = injected(metadata(name), &json!({}));
        let patch = json!([{ "op": "add", "path": path, "value": value }]);
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        json_patch::patch(&mut pod, &patch).unwrap();
        pod
    };
    let image = "/spec/initContainers/1/image";
    let why = refused("an image of its own", async |time| {
        create(&space, changed(&format!("own-{time}"), image, &json!("busybox"))).await
    });
    has(&why.await, &["countersign-sidecar: busybox", "injection.sidecarImages"]);
    let secret = json!({ "secret": { "name": "own" } });
    let attempts = [
        ("/spec/initContainers/0/image", json!("busybox")),
        ("/spec/initContainers", json!([])),
        ("/spec/initContainers/0", json!({ "name": "early", "image": "a:1" })),
        ("/spec/volumes/0/projected/sources/1", secret),
        ("/spec/initContainers/1/volumeMounts/0/subPath", json!("other")),
        ("/spec/initContainers/1/volumeMounts/0/mountPath", json!("/elsewhere")),
        ("/spec/hostNetwork", json!(true)),
    ];
    for (path, value) in attempts {
        create(&space, changed("changed", path, &value)).await.expect_err(path);
    }
    create(&space, injected(metadata("usual"), &json!({}))).await.expect("as the webhook makes it");
}

pub(crate) async fn labels_without_effect_and_skipped_pods_are_told_by_the_audit(space: Space) {
    account(&space).await;
    let pod = json!({ "spec": { "containers": [{ "name": "app", "image": "app:1" }] } });
    let mut mistaken = pod.clone();
    mistaken["metadata"] = json!({ "labels": { "countersign.dev/inject": "true" } });
    space.make::<Pod>("mistaken", mistaken).await;
    let is_mistake = |reason: &str| reason == "InjectionMistake";
    space.event("mistaken", "about its label", is_mistake).await;
    let mut on_host = pod;
    on_host["metadata"] = json!({ "labels": { "countersign.dev/inject": "enabled" } });
    on_host["spec"]["hostNetwork"] = json!(true);
    space.make::<Pod>("on-host", on_host).await;
    space.event("on-host", "that it was skipped", |reason| reason == "InjectionSkipped").await;
    let namespaces: Api<Namespace> = Api::all(space.client.clone());
    let label =
        Patch::Merge(json!({ "metadata": { "labels": { "countersign.dev/inject": "yes" } } }));
    namespaces.patch(&space.namespace, &PatchParams::default(), &label).await.expect("a label");
    let events: Api<Event> = Api::namespaced(space.client.clone(), "default");
    event_in(&events, &space.namespace, "about its label", is_mistake).await;
}

pub(crate) async fn audit_writes_no_event_about_a_pod_that_does_not_exist(space: Space) {
    account(&space).await;
    // Before and after, so that the audit has looked at the invented pod when it reports the other one.
    space.world.suspect(&space.namespace, "invented");
    let container = json!([{ "name": "app", "image": "app:1" }]);
    let labels = json!({ "labels": { "countersign.dev/inject": "true" } });
    let mistaken = json!({ "metadata": labels, "spec": { "containers": container } });
    space.make::<Pod>("mistaken", mistaken.clone()).await;
    let is_mistake = |reason: &str| reason == "InjectionMistake";
    space.event("mistaken", "about its label", is_mistake).await;
    space.world.suspect(&space.namespace, "invented");
    space.make::<Pod>("another", mistaken).await;
    space.event("another", "about its label", is_mistake).await;
    let about_it = ListParams::default().fields("involvedObject.name=invented");
    let events = space.api::<Event>().list(&about_it).await.expect("Events");
    assert!(events.items.is_empty(), "{events:?}");
}

pub(crate) async fn quotas_and_limit_ranges_admit_a_pod_that_names_its_resources(space: Space) {
    account(&space).await;
    let hard = json!({ "limits.cpu": "1", "limits.memory": "1Gi" });
    space.make::<ResourceQuota>("all", json!({ "spec": { "hard": hard } })).await;
    let least = json!([{ "type": "Container", "min": { "cpu": "50m", "memory": "32Mi" } }]);
    space.make::<LimitRange>("least", json!({ "spec": { "limits": least } })).await;
    let annotations = json!({
        "countersign.dev/sidecar-cpu-request": "50m", "countersign.dev/sidecar-cpu-limit": "50m",
        "countersign.dev/sidecar-memory-request": "32Mi", "countersign.dev/sidecar-memory-limit": "32Mi",
    });
    let own = json!({ "cpu": "100m", "memory": "64Mi" });
    let container = json!({ "resources": { "requests": own, "limits": own } });
    // The quota knows what is used once it was counted, which no controller does here.
    let status =
        json!({ "status": { "hard": hard, "used": { "limits.cpu": "0", "limits.memory": "0" } } });
    let quotas = space.api::<ResourceQuota>();
    quotas
        .patch_status("all", &PatchParams::default(), &Patch::Merge(status))
        .await
        .expect("a quota");
    let pod = injected(json!({ "name": "web", "annotations": annotations }), &container);
    let made = create(&space, pod).await.expect("the quota and the range admit it");
    let class = made.status.and_then(|status| status.qos_class);
    assert_eq!(class.as_deref(), Some("Guaranteed"));
}

pub(crate) async fn mutual_port_that_the_api_server_calls_is_found(space: Space) {
    account(&space).await;
    let labels = json!({ "app": "hook" });
    let container = json!({ "ports": [{ "name": "https", "containerPort": 9443 }] });
    let pod = injected(json!({ "name": "hook", "labels": labels }), &container);
    create(&space, pod).await.expect("a pod");
    let ports = json!([{ "port": 443, "targetPort": "https" }]);
    space.make::<Service>("hook", json!({ "spec": { "selector": labels, "ports": ports } })).await;
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(space.client.clone());
    let name = format!("hook-{}", space.namespace);
    let hook = json!({
        "name": "a.example.org", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": { "service": { "name": "hook", "namespace": space.namespace } },
        "objectSelector": { "matchLabels": { "no": "pod" } },
    });
    make_in(&configurations, &name, json!({ "webhooks": [hook] })).await;
    let checked = cli::run(&space, &["check", "-o", "json"]);
    let report: Value = serde_json::from_str(&checked.said).expect("JSON");
    let parts = report["parts"].as_array().unwrap().iter();
    let findings = parts.flat_map(|part| part["findings"].as_array().unwrap());
    let found: Vec<_> = findings.filter(|finding| finding["code"] == "mutualPort").collect();
    let [finding] = &found[..] else { panic!("{report:#}") };
    assert!(finding["object"].as_str().unwrap().contains(&name), "{finding}");
    assert!(
        finding["advice"].as_str().unwrap().contains("skip-inbound-ports: \"9443\""),
        "{finding}"
    );
    configurations.delete(&name, &DeleteParams::default()).await.expect("it goes");
}
