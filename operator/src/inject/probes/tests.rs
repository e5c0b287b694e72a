//! Probes as users write them, and what is made of them.

use clap::Parser;

use super::*;
use crate::inject::annotations::wishes;
use crate::inject::args::InjectArgs;
use crate::inject::pod::Pod;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: InjectArgs,
}

/// A pod with one container, `app`, whose port 8080 is called `web`.
fn pod(annotations: &Value, of_app: &Value) -> Value {
    let mut app = json!({ "name": "app", "ports": [{ "name": "web", "containerPort": 8080 }] });
    app.as_object_mut().unwrap().extend(of_app.as_object().unwrap().clone());
    json!({ "metadata": { "annotations": annotations }, "spec": { "containers": [app] } })
}

fn rewritten(pod: &Value) -> Rewritten {
    let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
    let spec = pod.spec.as_ref().unwrap();
    let wishes = wishes(&pod, spec, &Line::parse_from(["test"]).args).unwrap();
    let known = ProbeDocument { token: TOKEN.to_owned(), ..ProbeDocument::default() };
    rewrite(spec, &wishes, known)
}

fn document(rewritten: &Rewritten) -> ProbeDocument {
    let text = rewritten.document.as_deref().expect("something was turned");
    let document: ProbeDocument = serde_json::from_str(text).unwrap();
    document.check().unwrap();
    document
}

fn after(before: &Value) -> Value {
    let operations = Value::Array(rewritten(before).operations);
    let mut after = before.clone();
    let patch: json_patch::Patch = serde_json::from_value(operations).unwrap();
    json_patch::patch(&mut after, &patch).unwrap();
    after
}

fn with(of_app: Value) -> Value {
    pod(&json!({}), &of_app)
}

#[test]
fn a_probe_of_each_kind_is_turned_and_keeps_its_times() {
    let times = json!({ "periodSeconds": 7, "failureThreshold": 9, "timeoutSeconds": 3 });
    let cases = [
        (
            json!({ "httpGet": { "path": "/healthz", "port": "web", "scheme": "HTTPS",
                "httpHeaders": [{ "name": "Host", "value": "shop" }] } }),
            json!({ "http": { "port": 8080, "path": "/healthz", "https": true,
                "headers": [{ "name": "Host", "value": "shop" }] } }),
        ),
        (json!({ "tcpSocket": { "port": 8080 } }), json!({ "tcp": { "port": 8080 } })),
        (json!({ "tcpSocket": { "port": "5432" } }), json!({ "tcp": { "port": 5432 } })),
        (
            json!({ "grpc": { "port": 9000, "service": "db" } }),
            json!({ "grpc": { "port": 9000, "service": "db" } }),
        ),
    ];
    for (mut probe, expected) in cases {
        probe.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
        let before = with(json!({ "livenessProbe": probe }));
        let mut turned = times.clone();
        turned["httpGet"] = json!({
            "path": "/probe/app/liveness", "port": 14190, "scheme": "HTTP",
            "httpHeaders": [{ "name": "Countersign-Probe", "value": TOKEN }],
        });
        assert_eq!(after(&before)["spec"]["containers"][0]["livenessProbe"], turned);
        let made = &document(&rewritten(&before)).probes["/probe/app/liveness"];
        assert_eq!(serde_json::to_value(&made.check).unwrap(), expected);
        assert_eq!((made.timeout_seconds, made.loopback, made.any_status), (3, false, false));
    }
}

#[test]
fn every_probe_and_handler_of_every_container_has_a_path_of_its_own() {
    let tcp = json!({ "tcpSocket": { "port": 8080 } });
    let get = json!({ "httpGet": { "path": "/quit", "port": 8080 } });
    let all = json!({
        "livenessProbe": tcp, "readinessProbe": tcp, "startupProbe": tcp,
        "lifecycle": { "postStart": get, "preStop": get },
    });
    let mut before = with(all);
    before["spec"]["terminationGracePeriodSeconds"] = json!(45);
    // A native sidecar of the user's.
    before["spec"]["initContainers"] =
        json!([{ "name": "log", "restartPolicy": "Always", "readinessProbe": tcp }]);
    let document = document(&rewritten(&before));
    let paths: Vec<_> = document.probes.keys().map(String::as_str).collect();
    let expected = [
        "/lifecycle/app/postStart",
        "/lifecycle/app/preStop",
        "/probe/app/liveness",
        "/probe/app/readiness",
        "/probe/app/startup",
        "/probe/log/readiness",
    ];
    assert_eq!(paths, expected);
    let stop = &document.probes["/lifecycle/app/preStop"];
    assert_eq!((stop.timeout_seconds, stop.any_status), (45, true));
    assert_eq!(document.probes["/lifecycle/app/postStart"].timeout_seconds, LONGEST_HANDLER);
    let after = after(&before);
    let path = &after["spec"]["containers"][0]["lifecycle"]["preStop"]["httpGet"]["path"];
    assert_eq!(path, "/lifecycle/app/preStop");
    let of_sidecar = &after["spec"]["initContainers"][0]["readinessProbe"];
    assert_eq!(of_sidecar["tcpSocket"], Value::Null);
}

#[test]
fn what_the_sidecar_is_not_in_the_way_of_is_left_as_it_is() {
    let skipping = json!({ "countersign.dev/skip-inbound-ports": "9090" });
    let leaving = json!({ "countersign.dev/probes": "leave" });
    let explicit = json!({ "countersign.dev/mode": "explicit" });
    let tcp = json!({ "tcpSocket": { "port": 8080 } });
    let none = json!({});
    let cases = [
        (&none, json!({ "livenessProbe": { "exec": { "command": ["true"] } } })),
        (&none, json!({ "lifecycle": { "preStop": { "sleep": { "seconds": 5 } } } })),
        (&none, json!({ "lifecycle": { "preStop": { "exec": { "command": ["true"] } } } })),
        (&none, json!({ "livenessProbe": { "httpGet": { "host": "db", "port": 80 } } })),
        (&none, json!({ "livenessProbe": { "tcpSocket": { "host": "127.0.0.1", "port": 80 } } })),
        (&none, json!({ "livenessProbe": { "httpGet": { "port": 14190, "path": "/livez" } } })),
        (&skipping, json!({ "livenessProbe": { "tcpSocket": { "port": 9090 } } })),
        (&leaving, json!({ "livenessProbe": tcp })),
        (&explicit, json!({ "livenessProbe": tcp })),
    ];
    for (annotations, of_app) in cases {
        let rewritten = rewritten(&pod(annotations, &of_app));
        assert!(rewritten.operations.is_empty() && rewritten.document.is_none(), "{of_app}");
        assert!(rewritten.notes.is_empty(), "{:?}", rewritten.notes);
    }
}

#[test]
fn in_mode_explicit_what_is_served_is_asked_on_loopback() {
    let annotations =
        json!({ "countersign.dev/mode": "explicit", "countersign.dev/inbound": "8443=8080" });
    let before = pod(
        &annotations,
        &json!({
            "livenessProbe": { "tcpSocket": { "port": "web" } },
            "readinessProbe": { "tcpSocket": { "port": 9090 } },
        }),
    );
    let document = document(&rewritten(&before));
    assert_eq!(document.probes.len(), 1);
    assert!(document.probes["/probe/app/liveness"].loopback);
}

#[test]
fn a_port_that_the_container_does_not_have_is_told_and_its_probe_stays() {
    let unknown = with(json!({
        "livenessProbe": { "httpGet": { "port": "htp" } },
        "readinessProbe": { "tcpSocket": { "port": 0 } },
        "startupProbe": { "tcpSocket": { "port": 8080 } },
    }));
    let rewritten = rewritten(&unknown);
    assert_eq!(document(&rewritten).probes.len(), 1, "the others are turned");
    let [first, second] = &rewritten.notes[..] else { panic!("{:?}", rewritten.notes) };
    for word in ["app", "livenessProbe", "\"htp\""] {
        assert!(first.contains(word), "{first}");
    }
    assert!(second.contains("readinessProbe"), "{second}");
}

/// Kubernetes puts variables in the place of their names in the values of others.
#[test]
fn nothing_in_a_probe_is_taken_for_a_variable() {
    let path = "/$(COUNTERSIGN_NAMESPACE)/$$";
    let before = with(json!({ "livenessProbe": { "httpGet": { "port": 8080, "path": path } } }));
    let rewritten = rewritten(&before);
    assert!(!rewritten.document.as_ref().unwrap().contains('$'));
    let document = document(&rewritten);
    let Check::Http(check) = &document.probes["/probe/app/liveness"].check else { panic!() };
    assert_eq!(check.path, path);
}

#[test]
fn more_than_a_variable_holds_is_told_and_left() {
    let headers: Vec<_> = (0..70)
        .map(|number| json!({ "name": format!("X-{number}"), "value": "x".repeat(1000) }))
        .collect();
    let get = json!({ "port": 8080, "path": "/", "httpHeaders": headers });
    let rewritten = rewritten(&with(json!({ "livenessProbe": { "httpGet": get } })));
    assert!(rewritten.operations.is_empty() && rewritten.document.is_none());
    assert_eq!(rewritten.notes.len(), 1);
}
