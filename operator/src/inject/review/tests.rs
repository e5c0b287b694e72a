use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: InjectArgs,
}

fn review(pod: &Value) -> Vec<u8> {
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
            "object": pod,
            "oldObject": null,
        },
    });
    review.to_string().into_bytes()
}

/// What is answered about a pod of namespace `shop`, as the API server reads it.
fn answered(pod: &Value) -> Value {
    let review = read(&review(pod)).unwrap();
    let answer = answer(&review, &Line::parse_from(["test"]).args, "0123456789abcdef");
    assert_eq!(
        (&answer["apiVersion"], &answer["kind"]),
        (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
    );
    answer["response"].clone()
}

#[test]
fn a_skipped_pod_is_let_in_as_it_is() {
    let pod = json!({ "metadata": { "generateName": "web-1-" }, "spec": { "hostNetwork": true, "containers": [] } });
    assert_eq!(answered(&pod), json!({ "uid": "u-1", "allowed": true }));
}

#[test]
fn a_mistaken_annotation_is_denied_in_words_that_name_it() {
    let pod = json!({
        "metadata": { "name": "web", "annotations": { "countersign.dev/upstreams": "9001" } },
        "spec": { "containers": [] },
    });
    let response = answered(&pod);
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("countersign.dev/upstreams") && message.contains("9001"), "{message}");
}

#[test]
fn a_pod_that_is_injected_gets_a_patch_under_the_requests_own_uid() {
    let response =
        answered(&json!({ "metadata": { "name": "web" }, "spec": { "containers": [] } }));
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("u-1"), &json!(true)));
    assert_eq!(response["patchType"], "JSONPatch");
    let patch: ByteString = serde_json::from_value(response["patch"].clone()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch.0).unwrap();
    assert!(!patch.0.is_empty());
}

#[test]
fn a_review_with_too_many_containers_or_no_request_is_refused() {
    let many = json!({ "metadata": {}, "spec": { "containers": vec![json!({}); 400_000] } });
    let many = review(&many);
    assert!(many.len() < crate::inject::server::LARGEST_REVIEW, "the body itself is small enough");
    let cases = [
        (many, "at most 64 containers"),
        (b"{}".to_vec(), "request"),
        (br#"{"request":{}}"#.to_vec(), "uid"),
        (json!({ "request": { "uid": "x".repeat(129) } }).to_string().into_bytes(), "uid"),
        // What is not known is passed over without recursion.
        ([&br#"{"x":"#[..]; 100_000].concat(), "EOF"),
    ];
    for (body, named) in cases {
        let error = read(&body).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn a_review_of_no_object_is_allowed() {
    let review = read(br#"{"request":{"uid":"u-1","object":null}}"#).unwrap();
    let answer = answer(&review, &Line::parse_from(["test"]).args, "x");
    assert_eq!(answer["response"], json!({ "uid": "u-1", "allowed": true }));
}
