//! From pods as users write them to pods as they run.

use clap::Parser;

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: InjectArgs,
}

fn args() -> InjectArgs {
    Line::parse_from(["test", "--sidecar-image", "sidecar:1"]).args
}

fn pod(value: Value) -> Pod {
    serde_json::from_value(value).unwrap()
}

fn plain() -> Value {
    json!({
        "metadata": { "name": "web" },
        "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
    })
}

/// The pod after a patch, as the API server would have it.
fn patched(before: &Value) -> Value {
    let Injection::Patch(operations) = inject(&pod(before.clone()), &args(), TOKEN) else {
        panic!("not injected: {before}");
    };
    let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations)).unwrap();
    let mut after = before.clone();
    json_patch::patch(&mut after, &patch).unwrap();
    after
}

fn names_of(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn the_sidecar_comes_before_the_pods_own_init_containers() {
    let mut before = plain();
    before["spec"]["initContainers"] = json!([{ "name": "migrate", "image": "app:1" }]);
    before["spec"]["volumes"] = json!([{ "name": "data", "emptyDir": {} }]);
    let after = patched(&before);
    assert_eq!(
        names_of(&after["spec"]["initContainers"]),
        ["countersign-redirect", "countersign-sidecar", "migrate"]
    );
    assert_eq!(names_of(&after["spec"]["volumes"]), ["data", "countersign-credentials"]);
    assert_eq!(after["spec"]["initContainers"][1]["restartPolicy"], "Always");
}

#[test]
fn a_pod_with_nothing_of_its_own_gets_all_of_it() {
    let after = patched(&plain());
    assert_eq!(after["metadata"]["labels"]["countersign.dev/injected"], "true");
    assert_eq!(after["metadata"]["annotations"]["countersign.dev/status"], "injected");
    let secret = &after["spec"]["volumes"][0]["projected"]["sources"][0]["secret"];
    assert_eq!(secret["name"], "countersign-default");
    assert_eq!(secret["optional"], Value::Null);
}

#[test]
fn the_key_is_mounted_into_the_sidecar_only() {
    let after = patched(&plain());
    assert_eq!(after["spec"]["containers"][0]["volumeMounts"], Value::Null);
    assert_eq!(after["spec"]["initContainers"][0]["volumeMounts"], Value::Null);
    let mounts = &after["spec"]["initContainers"][1]["volumeMounts"];
    assert_eq!(names_of(mounts), ["countersign-credentials"]);
}

/// Everything that the two containers may do, in full: a right more is a change of this test.
#[test]
fn only_the_redirect_may_change_the_network_and_neither_may_anything_else() {
    let mut before = plain();
    before["spec"]["serviceAccountName"] = json!("web");
    before["metadata"]["labels"] = json!({ "app": "web" });
    before["metadata"]["annotations"] =
        json!({ "note": "kept", "countersign.dev/skip-inbound-ports": "9090, 9091" });
    let after = patched(&before);
    let rights = |user: u32, capabilities: Value| {
        json!({
            "runAsUser": user,
            "runAsGroup": user,
            "runAsNonRoot": user != 0,
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": capabilities,
            "seccompProfile": { "type": "RuntimeDefault" },
        })
    };
    let [redirect, sidecar] = [0, 1].map(|place| &after["spec"]["initContainers"][place]);
    let net_admin = json!({ "drop": ["ALL"], "add": ["NET_ADMIN"] });
    assert_eq!(redirect["securityContext"], rights(0, net_admin));
    assert_eq!(sidecar["securityContext"], rights(14100, json!({ "drop": ["ALL"] })));
    let command = "/countersign-sidecar redirect --inbound 14143 --outbound 14140 --leave \
                   $(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT) --skip-inbound 9090,9091";
    assert_eq!(redirect["command"], json!(command.split(' ').collect::<Vec<_>>()));
    let command = "/countersign-sidecar pod --credentials /var/run/countersign/credentials \
                   --admin [::]:14190 --identity \
                   spiffe://cluster.local/ns/$(COUNTERSIGN_NAMESPACE)/sa/web \
                   --policies /var/run/countersign/credentials/policies.json \
                   --labels /var/run/countersign/credentials/labels --discovery \
                   countersign-discovery.countersign-system.svc.cluster.local:14142 \
                   --discovery-peer \
                   spiffe://cluster.local/ns/countersign-system/sa/countersign-operator \
                   --drain-timeout 25s --outbound 14140";
    assert_eq!(sidecar["command"], json!(command.split(' ').collect::<Vec<_>>()));
    // The pod's namespace may not be in the pod yet; the kubelet knows it.
    let namespace = json!({ "fieldRef": { "fieldPath": "metadata.namespace" } });
    let variable = json!({ "name": "COUNTERSIGN_NAMESPACE", "valueFrom": namespace });
    assert_eq!(sidecar["env"][0], variable);
    let item = |name: &str| json!({ "key": name, "path": name });
    let items = ["tls.crt", "tls.key", "ca.crt"].map(item);
    let secret = json!({ "name": "countersign-web", "items": items });
    let policies = json!({ "name": "countersign-policy", "items": [item("policies.json")] });
    let labels = json!({ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } });
    let sources = json!([
        { "secret": secret }, { "configMap": policies }, { "downwardAPI": { "items": [labels] } }
    ]);
    let projected = json!({ "defaultMode": 0o444, "sources": sources });
    assert_eq!(after["spec"]["volumes"][0]["projected"], projected);
    assert_eq!(after["metadata"]["labels"]["app"], "web");
    assert_eq!(after["metadata"]["annotations"]["note"], "kept");
}

#[test]
fn a_pod_is_injected_once() {
    let after = patched(&plain());
    assert_eq!(inject(&pod(after), &args(), TOKEN), Injection::Skip(Skip::AlreadyInjected));
}

#[test]
fn an_upstream_of_the_annotation_is_one_of_the_sidecar() {
    let mut before = plain();
    let upstreams = "9001=web.shop.svc.cluster.local:8080";
    before["metadata"]["annotations"] = json!({ "countersign.dev/upstreams": upstreams });
    let after = patched(&before);
    let command = after["spec"]["initContainers"][1]["command"].to_string();
    assert!(command.contains(&format!("{upstreams}=dns:web.shop.svc.cluster.local")), "{command}");
}

#[test]
fn a_pod_on_the_hosts_network_or_that_declines_is_left_alone() {
    let mut host = plain();
    host["spec"]["hostNetwork"] = json!(true);
    assert_eq!(inject(&pod(host), &args(), TOKEN), Injection::Skip(Skip::HostNetwork));
    let mut declines = plain();
    declines["metadata"]["labels"] = json!({ "countersign.dev/inject": "disabled" });
    assert_eq!(inject(&pod(declines), &args(), TOKEN), Injection::Skip(Skip::Declined));
}

#[test]
fn a_mistake_is_refused_and_named() {
    let annotated = |name: &str, value: &str| {
        let mut pod = plain();
        pod["metadata"]["annotations"] = json!({ name: value });
        pod
    };
    let listening = |port: u16| {
        let mut pod = plain();
        pod["spec"]["containers"][0]["ports"] = json!([{ "containerPort": port }]);
        pod
    };
    let mut listening_beside_an_upstream = listening(9001);
    listening_beside_an_upstream["metadata"]["annotations"] =
        json!({ "countersign.dev/upstreams": "9001=a.b:1" });
    let explicit = |inbound: &str| {
        let mut pod = plain();
        pod["metadata"]["annotations"] =
            json!({ "countersign.dev/mode": "explicit", "countersign.dev/inbound": inbound });
        pod
    };
    let mut listening_where_it_serves = explicit("8443=8080");
    listening_where_it_serves["spec"]["containers"][0]["ports"] =
        json!([{ "containerPort": 8443 }]);
    let mut serving_where_it_calls = explicit("8443=8080");
    serving_where_it_calls["metadata"]["annotations"]["countersign.dev/upstreams"] =
        json!("8443=a.b:1");
    let with = |part: &str, value: Value| {
        let mut pod = plain();
        pod["spec"][part] = value;
        pod
    };
    let mounting = json!([{
        "name": "app",
        "volumeMounts": [{ "name": "countersign-credentials", "mountPath": "/keys" }],
    }]);
    let cases = [
        (with("containers", mounting.clone()), "remove the mount"),
        (with("initContainers", mounting), "remove the mount"),
        (with("volumes", json!([{ "name": "countersign-credentials" }])), "rename it"),
        (with("initContainers", json!([{ "name": "countersign-redirect" }])), "rename it"),
        (annotated("countersign.dev/upstreams", "14190=a.b:1"), "14190"),
        (annotated("countersign.dev/upstreams", "9001"), "9001"),
        (annotated("countersign.dev/upstreams", "14143=a.b:1"), "14143"),
        (annotated("countersign.dev/mode", "explict"), "redirect or explicit"),
        (annotated("countersign.dev/inbound", "8443=8080"), "countersign.dev/mode"),
        (explicit("8443"), "LISTEN=TARGET"),
        (explicit("14190=8080"), "14190"),
        (explicit("8443=14190"), "14190"),
        (listening_where_it_serves, "served by the sidecar"),
        (serving_where_it_calls, "served by the sidecar"),
        (listening(14190), "14190"),
        (listening_beside_an_upstream, "that of an upstream"),
    ];
    for (before, named) in cases {
        let Injection::Refuse(why) = inject(&pod(before.clone()), &args(), TOKEN) else {
            panic!("let in: {before}");
        };
        assert!(why.contains(named), "{why}");
    }
}

#[test]
fn nobody_else_runs_as_the_sidecars_user() {
    let sidecars = json!({ "runAsUser": 14100 });
    let mut pods = plain();
    pods["spec"]["securityContext"] = sidecars.clone();
    let mut containers = plain();
    containers["spec"]["initContainers"] =
        json!([{ "name": "early", "securityContext": sidecars }]);
    for (before, who) in [(pods.clone(), "app"), (containers, "early")] {
        let Injection::Refuse(why) = inject(&pod(before), &args(), TOKEN) else {
            panic!("{who} is let in")
        };
        assert!(why.contains(&format!("container {who} runs as user 14100")), "{why}");
    }
    // A container may be somebody else than its pod.
    let mut before = pods;
    before["spec"]["containers"][0]["securityContext"] = json!({ "runAsUser": 1000 });
    assert!(matches!(inject(&pod(before), &args(), TOKEN), Injection::Patch(_)));
}

/// All that `restricted` asks of a pod, or of a container (Pod Security Standards), which ours must
/// have from nobody else.
fn breaches(container: &Value) -> Vec<&'static str> {
    let security = &container["securityContext"];
    let added = security["capabilities"]["add"].as_array().cloned().unwrap_or_default();
    let ports = container["ports"].as_array().cloned().unwrap_or_default();
    let questions = ["startupProbe", "readinessProbe", "livenessProbe"].map(|it| &container[it]);
    let names_host = |question: &Value| !question["httpGet"]["host"].is_null();
    let all = [
        ("privileged", security["privileged"] == true),
        ("privilege escalation", security["allowPrivilegeEscalation"] != false),
        ("capabilities kept", security["capabilities"]["drop"] != json!(["ALL"])),
        ("capabilities added", added.iter().any(|name| name != "NET_BIND_SERVICE")),
        ("root", security["runAsNonRoot"] != true || security["runAsUser"] == 0),
        ("seccomp", security["seccompProfile"]["type"] != "RuntimeDefault"),
        ("proc mount", !security["procMount"].is_null()),
        ("SELinux", !security["seLinuxOptions"].is_null()),
        ("AppArmor", !security["appArmorProfile"].is_null()),
        ("Windows", !security["windowsOptions"].is_null()),
        ("host ports", ports.iter().any(|port| !port["hostPort"].is_null())),
        ("probes of other hosts", questions.into_iter().any(names_host)),
        ("handlers of other hosts", !container["lifecycle"].is_null()),
    ];
    all.into_iter().filter(|(_, is_breach)| *is_breach).map(|(name, _)| name).collect()
}

#[test]
fn all_but_the_redirect_is_restricted_and_the_redirect_says_what_it_needs() {
    let after = patched(&plain());
    let [redirect, sidecar] = [0, 1].map(|place| &after["spec"]["initContainers"][place]);
    assert_eq!(breaches(sidecar), Vec::<&str>::new());
    assert_eq!(breaches(redirect), ["capabilities added", "root"]);
    let needs = after["metadata"]["annotations"]["countersign.dev/redirect-needs"].as_str();
    assert!(needs.is_some_and(|needs| needs.contains("NET_ADMIN") && needs.contains("explicit")));
    // Of volumes, only these: projected ones are allowed.
    assert!(
        after["spec"]["volumes"].as_array().unwrap().iter().all(|it| !it["projected"].is_null())
    );
    for field in ["hostNetwork", "hostPID", "hostIPC", "securityContext", "containers"] {
        assert_eq!(after["spec"][field], plain()["spec"][field], "{field} is the user's");
    }
}

#[test]
fn mode_explicit_needs_no_right_and_serves_what_it_is_told() {
    let mut before = plain();
    before["metadata"]["annotations"] = json!({
        "countersign.dev/mode": "explicit", "countersign.dev/inbound": "8443=8080,8444=8081",
    });
    let after = patched(&before);
    assert_eq!(names_of(&after["spec"]["initContainers"]), ["countersign-sidecar"]);
    let sidecar = &after["spec"]["initContainers"][0];
    assert_eq!(breaches(sidecar), Vec::<&str>::new());
    let words = sidecar["command"].as_array().unwrap().iter().filter_map(Value::as_str);
    let command = words.collect::<Vec<_>>().join(" ");
    assert!(command.ends_with("--inbound 0 --serve 8443=8080 --serve 8444=8081"), "{command}");
    assert_eq!(after["metadata"]["annotations"]["countersign.dev/redirect-needs"], Value::Null);
}

#[test]
fn mistakes_start_the_pod_and_are_carried_to_whoever_tells_of_them() {
    let mut before = plain();
    before["metadata"]["annotations"] = json!({
        "countersign.dev/skip-inbound-ports": "http",
        "countersign.dev/injection-notes": "[\"a user's\"]",
        "countersign.dev/sidecar-version": "a user's",
    });
    let after = patched(&before);
    let annotations = &after["metadata"]["annotations"];
    let notes: Vec<String> =
        serde_json::from_str(annotations["countersign.dev/injection-notes"].as_str().unwrap())
            .unwrap();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("skip-inbound-ports") && notes[0].contains("http"), "{notes:?}");
    assert_eq!(annotations["countersign.dev/sidecar-version"], "1");
    let redirect = after["spec"]["initContainers"][0]["command"].to_string();
    assert!(!redirect.contains("--skip-inbound"), "{redirect}");
    let none = patched(&plain());
    assert_eq!(none["metadata"]["annotations"]["countersign.dev/injection-notes"], "[]");
}

#[test]
fn what_a_pod_asks_for_reaches_its_containers() {
    let mut before = plain();
    before["spec"]["terminationGracePeriodSeconds"] = json!(120);
    before["metadata"]["annotations"] = json!({
        "countersign.dev/skip-outbound-ports": "5432",
        "countersign.dev/sidecar-log": "debug",
        "countersign.dev/sidecar-log-format": "human",
        "countersign.dev/sidecar-cpu-limit": "500m",
        "countersign.dev/sidecar-memory-request": "256Mi",
    });
    let after = patched(&before);
    let [redirect, sidecar] = [0, 1].map(|place| &after["spec"]["initContainers"][place]);
    assert!(redirect["command"].to_string().contains(r#""--skip-outbound","5432""#));
    assert!(sidecar["command"].to_string().contains(r#""--drain-timeout","115s""#));
    let variable = |name: &str| {
        let all = sidecar["env"].as_array().unwrap().iter();
        all.filter(|it| it["name"] == name).map(|it| it["value"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(variable("COUNTERSIGN_LOG"), ["debug"]);
    assert_eq!(variable("COUNTERSIGN_LOG_FORMAT"), ["human"]);
    let resources = json!({
        "requests": { "cpu": "10m", "memory": "256Mi" },
        "limits": { "cpu": "500m", "memory": "256Mi" },
    });
    assert_eq!([&sidecar["resources"], &redirect["resources"]], [&resources, &resources]);
}

/// Quotas on limits, limit ranges and QoS classes count every container.
#[test]
fn both_containers_of_ours_have_the_resources_that_a_pod_asks_for() {
    let mut before = plain();
    before["metadata"]["annotations"] = json!({
        "countersign.dev/sidecar-cpu-request": "50m",
        "countersign.dev/sidecar-cpu-limit": "50m",
        "countersign.dev/sidecar-memory-request": "64Mi",
        "countersign.dev/sidecar-memory-limit": "64Mi",
    });
    let guaranteed = json!({ "cpu": "50m", "memory": "64Mi" });
    let after = patched(&before);
    let usual = patched(&plain());
    for place in [0, 1] {
        let resources = &after["spec"]["initContainers"][place]["resources"];
        assert_eq!(*resources, json!({ "requests": guaranteed, "limits": guaranteed }));
        let usual = &usual["spec"]["initContainers"][place]["resources"];
        assert_eq!(usual["limits"], json!({ "memory": "128Mi" }));
    }
}

#[test]
fn time_limits_of_annotations_and_of_the_chart_reach_the_sidecar() {
    let mut before = plain();
    before["metadata"]["annotations"] = json!({
        "countersign.dev/stall-timeout": "1h30m",
        "countersign.dev/dial-timeout": "1.5s",
    });
    let args =
        Line::parse_from(["test", "--sidecar-idle-timeout=2h", "--sidecar-dial-timeout=9s"]).args;
    let Injection::Patch(operations) = inject(&pod(before), &args, TOKEN) else {
        panic!("refused")
    };
    let command = Value::Array(operations).to_string();
    for expected in [
        r#""--stall-timeout","5400s""#,
        r#""--dial-timeout","1500ms""#,
        r#""--idle-timeout","7200s""#,
    ] {
        assert!(command.contains(expected), "{expected} in {command}");
    }
    assert!(!command.contains("--half-closed-timeout") && !command.contains("--peer-expiry-grace"));
}

#[test]
fn the_redirect_leaves_the_api_servers_own_address_alone_whatever_the_namespace_has() {
    let leave = "--api-server-addresses=10.96.0.1:443,[fd00::1]:443";
    let args = Line::parse_from(["test", leave]).args;
    let Injection::Patch(operations) = inject(&pod(plain()), &args, TOKEN) else {
        panic!("refused")
    };
    let command = Value::Array(operations).to_string();
    assert!(
        command.contains(r#""--leave","10.96.0.1:443","--leave","[fd00::1]:443""#),
        "{command}"
    );
    assert!(!command.contains("KUBERNETES_SERVICE_HOST"), "{command}");
}

#[test]
fn init_containers_that_another_webhook_puts_before_ours_are_put_behind_them_again() {
    let early = json!({ "name": "early" });
    for mode in ["redirect", "explicit"] {
        let mut before = plain();
        before["metadata"]["annotations"] = json!({ "countersign.dev/mode": mode });
        before["spec"]["initContainers"] = json!([{ "name": "own" }]);
        let once = patched(&before);
        let count = names_of(&once["spec"]["initContainers"]).len();
        for place in 0..count {
            let mut changed = once.clone();
            changed["spec"]["initContainers"].as_array_mut().unwrap().insert(place, early.clone());
            let twice = match inject(&pod(changed.clone()), &args(), TOKEN) {
                Injection::Patch(_) => patched(&changed),
                _ => changed,
            };
            let names = names_of(&twice["spec"]["initContainers"]);
            assert_eq!(names[..count - 1], names_of(&once["spec"]["initContainers"])[..count - 1]);
            assert_eq!(
                inject(&pod(twice.clone()), &args(), TOKEN),
                Injection::Skip(Skip::AlreadyInjected)
            );
        }
    }
}

#[test]
fn ports_that_the_sidecar_does_not_carry_are_told_of() {
    let mut before = plain();
    before["spec"]["containers"][0]["ports"] = json!([
        { "containerPort": 80 }, { "containerPort": 53, "protocol": "UDP" },
        { "containerPort": 443, "protocol": "TCP" }, { "containerPort": 36412, "protocol": "SCTP" },
    ]);
    let after = patched(&before);
    let notes =
        after["metadata"]["annotations"]["countersign.dev/injection-notes"].as_str().unwrap();
    assert!(notes.contains("port 53/UDP, 36412/SCTP is not covered"), "{notes}");
    assert!(!notes.contains("443"), "{notes}");
}

#[test]
fn probes_of_containers_that_another_webhook_adds_are_turned_too() {
    let mut before = plain();
    before["spec"]["containers"][0]["livenessProbe"] = json!({ "tcpSocket": { "port": 8080 } });
    let mut once = patched(&before);
    once["spec"]["containers"].as_array_mut().unwrap().push(json!({
        "name": "late", "readinessProbe": { "httpGet": { "port": 9090, "path": "/" } },
    }));
    let twice = patched(&once);
    let turned = &twice["spec"]["containers"][1]["readinessProbe"]["httpGet"];
    assert_eq!(turned["path"], "/probe/late/readiness");
    let probes = |pod: &Value| {
        let all = pod["spec"]["initContainers"][1]["env"].as_array().unwrap().clone();
        let mut found = all.into_iter().filter(|it| it["name"] == "COUNTERSIGN_PROBES");
        let value = found.next().unwrap()["value"].as_str().unwrap().to_owned();
        assert!(found.next().is_none(), "the variable stands there twice");
        serde_json::from_str::<ProbeDocument>(&value).unwrap()
    };
    assert_eq!((probes(&once).probes.len(), probes(&twice).probes.len()), (1, 2));
    assert_eq!(probes(&once).token, probes(&twice).token);
    let inits = &twice["spec"]["initContainers"];
    assert_eq!(names_of(inits), ["countersign-redirect", "countersign-sidecar"]);
    assert_eq!(inject(&pod(twice), &args(), TOKEN), Injection::Skip(Skip::AlreadyInjected));
}

/// Kubernetes counts a pod of a Job as done once its containers are, whatever native sidecars do.
#[test]
fn a_jobs_pod_ends_with_its_own_containers() {
    let mut before = plain();
    before["spec"]["restartPolicy"] = json!("Never");
    let after = patched(&before);
    assert_eq!(names_of(&after["spec"]["containers"]), ["app"]);
    let [redirect, sidecar] = [0, 1].map(|place| &after["spec"]["initContainers"][place]);
    assert_eq!(
        (&redirect["restartPolicy"], &sidecar["restartPolicy"]),
        (&Value::Null, &json!("Always"))
    );
    assert_eq!(sidecar["livenessProbe"], Value::Null, "it would be restarted while the pod ends");
}

#[test]
fn the_version_of_an_image_is_its_tag_or_ours() {
    let cases = [
        ("countersign/countersign:0.2.0", "0.2.0"),
        ("localhost:5000/countersign:0.2.0@sha256:abc", "0.2.0"),
        ("localhost:5000/countersign", env!("CARGO_PKG_VERSION")),
        ("countersign@sha256:abc", env!("CARGO_PKG_VERSION")),
    ];
    for (image, expected) in cases {
        assert_eq!(version(image), expected, "{image}");
    }
}
