//! Pods that lack the sidecar, mistakes that were made on pods, and what Pod Security says of those
//! that have it.

use clap::Parser;
use countersign_operator::args::Args;
use countersign_operator::inject::{self, Injection, inject};
use k8s_openapi::api::core::v1::{Event, Namespace, Pod, ServiceAccount};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::chart::rendered;
use crate::metrics::{sum, told};
use crate::space::Space;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Changes the metadata of the test's namespace, and makes the account that its pods run as.
async fn prepare(space: &Space, metadata: Value) {
    annotate(space, metadata).await;
    space.make::<ServiceAccount>("default", json!({})).await;
}

async fn annotate(space: &Space, metadata: Value) {
    let api: Api<Namespace> = Api::all(space.client.clone());
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    api.patch(&space.namespace, &PatchParams::default(), &patch).await.expect("it is changed");
}

fn enabled() -> Value {
    json!({ "labels": { "countersign.dev/inject": "enabled" } })
}

/// A pod that nobody injected, of a ReplicaSet.
fn pod(metadata: &Value) -> Value {
    let owner = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web",
        "uid": "5a9e4c2e-0000-4000-8000-000000000001", "controller": true });
    let mut pod = json!({
        "metadata": { "ownerReferences": [owner] },
        "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
    });
    pod["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    pod
}

/// What the webhook makes of a pod.
fn injected(pod: &Value) -> Pod {
    let args = Args::try_parse_from(["countersign-operator"]).unwrap().inject;
    let asked: inject::Pod = serde_json::from_value(pod.clone()).unwrap();
    let Injection::Patch(operations) = inject(&asked, &args, TOKEN) else {
        panic!("not injected: {pod}")
    };
    let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations)).unwrap();
    let mut after = pod.clone();
    json_patch::patch(&mut after, &patch).unwrap();
    serde_json::from_value(after).unwrap()
}

async fn reasons(space: &Space, name: &str) -> Vec<String> {
    let fields = ListParams::default().fields(&format!("involvedObject.name={name}"));
    let events = space.api::<Event>().list(&fields).await.expect("Events");
    events.items.into_iter().filter_map(|event| event.reason).collect()
}

pub(crate) async fn a_pod_that_was_missed_is_told_of_counted_and_replaced_where_its_namespace_asks(
    space: Space,
) {
    prepare(&space, json!({})).await;
    let mut on_host = pod(&json!({}));
    on_host["spec"]["hostNetwork"] = json!(true);
    space.make::<Pod>("a-node", on_host).await;
    let declines = json!({ "labels": { "countersign.dev/inject": "disabled" } });
    space.make::<Pod>("b-declines", pod(&declines)).await;
    space.make::<Pod>("web", pod(&json!({}))).await;
    // Its pods were there before.
    annotate(&space, enabled()).await;
    space.event("web", "that it lacks the sidecar", |reason| reason == "NotInjected").await;
    let labels = [("namespace", space.namespace.as_str())];
    let count = |text: &str| sum(text, "countersign_uninjected_pods", &labels);
    told(&space, "one pod", |text| count(text) == Some(1.0)).await;
    space.make::<Pod>("web-2", pod(&json!({}))).await;
    told(&space, "two pods", |text| count(text) == Some(2.0)).await;
    let replace = json!({ "annotations": { "countersign.dev/replace-uninjected": "true" } });
    annotate(&space, replace).await;
    told(&space, "that both are gone", |text| count(text).is_none()).await;
    space.event("web", "that it was replaced", |reason| reason == "Replaced").await;
    space.event("a-node", "that it was skipped", |reason| reason == "InjectionSkipped").await;
    for (exempt, expected) in [("a-node", vec!["InjectionSkipped"]), ("b-declines", vec![])] {
        assert!(space.api::<Pod>().get_opt(exempt).await.unwrap().is_some(), "{exempt}");
        assert_eq!(reasons(&space, exempt).await, expected, "{exempt}");
    }
    assert!(space.api::<Pod>().get_opt("web").await.unwrap().is_none());
}

pub(crate) async fn a_label_alone_hides_no_pod(space: Space) {
    prepare(&space, enabled()).await;
    let claims = json!({ "labels": { "countersign.dev/injected": "true" } });
    space.make::<Pod>("claims", pod(&claims)).await;
    space.event("claims", "that it lacks the sidecar", |reason| reason == "NotInjected").await;
    let asks = json!({ "labels": {
        "countersign.dev/inject": "enabled", "countersign.dev/injected": "yes" } });
    space.make::<Pod>("asks", pod(&asks)).await;
    space.event("asks", "that it lacks the sidecar", |reason| reason == "NotInjected").await;
}

pub(crate) async fn a_mistake_is_told_on_the_pod_that_it_was_made_on(space: Space) {
    prepare(&space, enabled()).await;
    let mistaken = json!({ "name": "web",
        "annotations": { "countersign.dev/drain-timeout": "soon" } });
    let injected = injected(&pod(&mistaken));
    let made = space.api::<Pod>().create(&PostParams::default(), &injected).await.unwrap();
    space.event("web", "about the mistake", |reason| reason == "InjectionMistake").await;
    let fields = ListParams::default().fields("involvedObject.name=web");
    let events = space.api::<Event>().list(&fields).await.unwrap();
    let event = events.iter().find(|it| it.reason.as_deref() == Some("InjectionMistake")).unwrap();
    assert_eq!(event.involved_object.uid, made.metadata.uid);
    let message = event.message.clone().unwrap();
    assert!(message.contains("drain-timeout") && message.contains("soon"), "{message}");
    let version =
        |text: &str| sum(text, "countersign_sidecars", &[("version", env!("CARGO_PKG_VERSION"))]);
    told(&space, "its version", |text| version(text).is_some_and(|count| count >= 1.0)).await;
    assert!(!reasons(&space, "web").await.contains(&"NotInjected".to_owned()));
}

pub(crate) async fn a_restricted_namespace_takes_a_pod_in_mode_explicit_only(space: Space) {
    let restricted = json!({ "labels": { "pod-security.kubernetes.io/enforce": "restricted" } });
    prepare(&space, restricted).await;
    let asked = |name: &str, annotations: Value| {
        let mut pod = pod(&json!({ "name": name, "annotations": annotations }));
        pod["spec"]["containers"][0]["securityContext"] = json!({
            "allowPrivilegeEscalation": false, "runAsNonRoot": true,
            "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
        });
        pod["spec"]["containers"][0]["livenessProbe"] = json!({ "tcpSocket": { "port": 8080 } });
        injected(&pod)
    };
    let create = async |pod: Pod| space.api::<Pod>().create(&PostParams::default(), &pod).await;
    let explicit = json!({
        "countersign.dev/mode": "explicit", "countersign.dev/inbound": "8443=8080",
    });
    let made = create(asked("explicit", explicit)).await.expect("it is admitted");
    let probe = made.spec.unwrap().containers[0].liveness_probe.clone().unwrap();
    assert_eq!(probe.http_get.unwrap().path.as_deref(), Some("/probe/app/liveness"));
    let refused = create(asked("redirect", json!({}))).await.expect_err("it needs a right");
    let why = refused.to_string();
    assert!(why.contains("NET_ADMIN") && why.contains("countersign-redirect"), "{why}");
    assert!(!why.contains("countersign-sidecar"), "{why}");
}

pub(crate) async fn only_where_the_chart_says_so_may_the_operator_evict(space: Space) {
    let of = |values: &[&str]| rendered(&space, &["rbac-features", "deployment"], values);
    let (usual, asked) = (of(&[]), of(&["injection.replace=true"]));
    for (text, allowed) in [(usual, false), (asked, true)] {
        assert_eq!(text.contains("pods/eviction"), allowed, "{text}");
        assert!(text.contains(&format!("--replace-uninjected={allowed}")), "{text}");
    }
}

pub(crate) async fn nothing_is_injected_where_the_chart_says_so(space: Space) {
    let values = ["injection.excludedNamespaces={mail,dns}"];
    let text = rendered(&space, &["webhook", "deployment"], &values);
    let excluded = "[kube-system, kube-public, kube-node-lease, countersign-system, mail, dns]";
    assert_eq!(text.matches(excluded).count(), 2, "{text}");
    assert!(text.contains("--excluded-namespaces=mail,dns"), "{text}");
}
