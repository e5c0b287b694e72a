use clap::Parser;
use serde_json::json;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: InjectArgs,
}

/// What is answered about a pod of namespace `shop`, as the API server reads it.
fn answered(pod: &Value, dry_run: bool) -> (Value, Option<Notice>) {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "name": "",
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {},
            "dryRun": dry_run,
            "object": pod,
        },
    });
    let review = serde_json::from_value(review).unwrap();
    let answer = answer(review, &Line::parse_from(["test"]).args, "0123456789abcdef");
    (serde_json::to_value(answer.review).unwrap()["response"].clone(), answer.notice)
}

fn on_the_hosts_network(metadata: Value) -> Value {
    json!({ "metadata": metadata, "spec": { "hostNetwork": true, "containers": [] } })
}

#[test]
fn a_skipped_pod_is_let_in_and_its_owner_is_told() {
    let owner = json!([{
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u-2",
    }]);
    let pod = on_the_hosts_network(json!({ "generateName": "web-1-", "ownerReferences": owner }));
    let (response, notice) = answered(&pod, false);
    assert_eq!(response["allowed"], true);
    assert!(response.get("patch").is_none_or(Value::is_null), "{response}");
    let notice = notice.unwrap();
    assert_eq!(notice.reason, "InjectionSkipped");
    assert!(notice.note.contains("web-1-") && notice.note.contains("network"), "{}", notice.note);
    assert_eq!(notice.about.kind.as_deref(), Some("ReplicaSet"));
    assert_eq!(notice.about.uid.as_deref(), Some("u-2"));
    assert_eq!(notice.about.namespace.as_deref(), Some("shop"));
}

#[test]
fn an_event_of_a_pod_without_owner_and_name_has_a_name_that_the_api_server_takes() {
    let (_, notice) = answered(&on_the_hosts_network(json!({ "generateName": "job-" })), false);
    assert_eq!(notice.unwrap().about.name.as_deref(), Some("job"));
    let (_, notice) = answered(&on_the_hosts_network(json!({ "name": "job" })), false);
    assert_eq!(notice.unwrap().about.name.as_deref(), Some("job"));
}

#[test]
fn a_dry_run_tells_nobody() {
    let (response, notice) = answered(&on_the_hosts_network(json!({ "name": "web" })), true);
    assert_eq!(response["allowed"], true);
    assert!(notice.is_none());
}

#[test]
fn a_mistaken_annotation_is_denied_in_words_that_name_it() {
    let pod = json!({
        "metadata": { "name": "web", "annotations": { "countersign.dev/upstreams": "9001" } },
        "spec": { "containers": [] },
    });
    let (response, notice) = answered(&pod, false);
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("countersign.dev/upstreams") && message.contains("9001"), "{message}");
    assert_eq!(notice.unwrap().reason, "InjectionRefused");
    assert!(answered(&pod, true).1.is_none());
}

#[test]
fn a_pod_that_is_injected_gets_a_patch_under_the_requests_own_uid() {
    let pod = json!({ "metadata": { "name": "web" }, "spec": { "containers": [] } });
    let (response, notice) = answered(&pod, false);
    assert_eq!(response["uid"], "u-1");
    assert_eq!(response["patchType"], "JSONPatch");
    assert!(notice.is_none());
}
