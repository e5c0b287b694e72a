//! Pods that come with containers of our names: from our own first look, or from their author.

use clap::Parser;

use super::*;
use crate::inject::inject;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: InjectArgs,
}

fn args() -> InjectArgs {
    Line::parse_from(["test", "--sidecar-image", "sidecar:1"]).args
}

fn decided(pod: &Value) -> Injection {
    inject(&serde_json::from_value(pod.clone()).unwrap(), &args(), TOKEN)
}

/// The pod as it is admitted.
fn admitted(before: &Value) -> Value {
    let operations = match decided(before) {
        Injection::Patch(operations) => operations,
        Injection::Skip(_) => return before.clone(),
        Injection::Refuse(why) => panic!("{why}"),
    };
    let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations)).unwrap();
    let mut after = before.clone();
    json_patch::patch(&mut after, &patch).unwrap();
    after
}

fn injected() -> Value {
    admitted(&json!({
        "metadata": { "name": "web" }, "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
    }))
}

/// A pod with containers of our names that its author wrote.
fn forged(containers: &Value) -> Value {
    json!({
        "metadata": { "name": "web", "annotations": { "countersign.dev/status": "injected" },
            "labels": { "countersign.dev/injected": "true" } },
        "spec": { "initContainers": containers, "containers": [{ "name": "app", "image": "app:1" }] },
    })
}

fn commands(pod: &Value) -> Vec<&Value> {
    let all = pod["spec"]["initContainers"].as_array().unwrap().iter();
    all.map(|container| &container["command"]).collect()
}

#[test]
fn a_sidecar_that_the_author_wrote_is_made_anew() {
    let cases = [
        json!([{ "name": "countersign-sidecar", "image": "busybox", "command": ["true"] }]),
        json!([{ "name": "own" }, { "name": "countersign-sidecar", "image": "busybox" }]),
        json!([{ "name": "countersign-sidecar", "args": ["true"] }, { "name": "countersign-redirect" }]),
    ];
    for containers in cases {
        let after = admitted(&forged(&containers));
        assert_eq!(commands(&after)[..2], commands(&injected())[..2], "{containers}");
        assert_eq!(after["spec"]["initContainers"][0]["name"], "countersign-redirect");
        assert_eq!(after["spec"]["initContainers"][1]["restartPolicy"], "Always");
        assert_eq!(after["spec"]["volumes"][0]["name"], "countersign-credentials");
        assert_eq!(decided(&after), Injection::Skip(Skip::AlreadyInjected), "{containers}");
    }
}

#[test]
fn words_variables_and_users_that_differ_are_put_right() {
    let changes: [(&str, Value); 6] = [
        ("/spec/initContainers/0/command/2", json!("--skip-inbound=80")),
        ("/spec/initContainers/0/args", json!(["--skip-inbound", "80"])),
        ("/spec/initContainers/1/securityContext/runAsUser", json!(1000)),
        ("/spec/initContainers/1/command/3", json!("/tmp/own")),
        ("/spec/initContainers/1/env/0", json!({ "name": "COUNTERSIGN_NAMESPACE", "value": "x" })),
        ("/spec/initContainers/1/env/0", json!({ "name": "COUNTERSIGN_POLICIES", "value": "x" })),
    ];
    for (path, value) in changes {
        let mut pod = injected();
        let patch = json!([{ "op": "add", "path": path, "value": value }]);
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        json_patch::patch(&mut pod, &patch).unwrap();
        assert_eq!(admitted(&pod), injected(), "{path}: {value}");
    }
}

#[test]
fn what_other_webhooks_add_and_the_image_of_a_mirror_stay() {
    let mut pod = injected();
    let sidecar = &mut pod["spec"]["initContainers"][1];
    sidecar["image"] = json!("mirror.example/sidecar:1");
    sidecar["env"].as_array_mut().unwrap().push(json!({ "name": "REGION", "value": "x" }));
    assert_eq!(decided(&pod), Injection::Skip(Skip::AlreadyInjected));
    pod["spec"]["initContainers"][1]["command"] = json!(["true"]);
    let after = admitted(&pod);
    assert_eq!(after["spec"]["initContainers"][1]["image"], "mirror.example/sidecar:1");
    assert_eq!(commands(&after), commands(&injected()));
}

#[test]
fn containers_beside_a_sidecar_that_is_there_are_judged_too() {
    let cases = [
        (json!({ "volumeMounts": [{ "name": "countersign-credentials" }] }), "remove the mount"),
        (json!({ "securityContext": { "runAsUser": 14100 } }), "choose another"),
    ];
    for (change, expected) in cases {
        let mut pod = injected();
        let app = pod["spec"]["containers"][0].as_object_mut().unwrap();
        app.extend(change.as_object().unwrap().clone());
        let Injection::Refuse(why) = decided(&pod) else { panic!("{change}") };
        assert!(why.contains(expected), "{why}");
    }
    let mut pod = injected();
    pod["metadata"]["annotations"]["countersign.dev/mode"] = json!("nonsense");
    assert!(matches!(decided(&pod), Injection::Refuse(_)));
}
