//! What Helm makes of the chart.

use std::collections::BTreeSet;
use std::process::Stdio;

use clap::Parser;
use countersign_operator::args::Args;
use countersign_operator::policy::{DefaultAccess, DefaultUnmeshed};
use serde_json::{Value, json};

use crate::access;
use crate::metrics::calls;
use crate::space::Space;
use crate::world::HOME;

/// Some templates of the chart, as Helm renders them for this cluster.
pub(crate) fn rendered(space: &Space, templates: &[&str], values: &[&str]) -> String {
    let shown = templates.iter().map(|name| format!("--show-only=templates/{name}.yaml"));
    let arguments = shown.chain(values.iter().map(|value| format!("--set={value}")));
    template(space, &arguments.collect::<Vec<_>>()).unwrap_or_else(|error| panic!("{error}"))
}

/// What Helm makes of the chart with these arguments, or says against them.
fn template(space: &Space, arguments: &[String]) -> Result<String, String> {
    let chart = countersign_tests::cluster::repository().join("charts/countersign");
    let mut helm = space.world.command("helm");
    helm.args(["template", "countersign"]).arg(chart).args(["--namespace", HOME]);
    helm.args(["--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"]);
    let rendered = helm.args(arguments).output().expect("helm runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    if rendered.status.success() { Ok(text(rendered.stdout)) } else { Err(text(rendered.stderr)) }
}

/// Every object of the whole chart.
pub(crate) fn objects(space: &Space, values: &[&str]) -> Vec<Value> {
    let arguments: Vec<_> = values.iter().map(|value| format!("--set-json={value}")).collect();
    let text = template(space, &arguments).unwrap_or_else(|error| panic!("{error}"));
    let documents = text.split("\n---\n").map(|document| document.trim_start_matches("---\n"));
    // What is switched off leaves comments.
    let is_object = |document: &&str| document.lines().any(|line| line.starts_with("kind: "));
    let read = |document: &str| serde_saphyr::from_str::<Value>(document).expect("YAML");
    documents.filter(is_object).map(read).collect()
}

pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The operator's command line, as it reads it itself.
fn args(objects: &[Value]) -> Args {
    let deployment = of_kind(objects, "Deployment")[0];
    let flags = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array();
    let flags = flags.expect("a list").iter().map(|flag| flag.as_str().expect("a flag"));
    Args::try_parse_from(std::iter::once("countersign-operator").chain(flags))
        .expect("flags that the operator has")
}

/// Applies what Helm rendered.
pub(crate) fn apply(space: &Space, manifests: &str) {
    apply_with(space, manifests, &[]);
}

fn apply_with(space: &Space, manifests: &str, arguments: &[&str]) {
    let mut kubectl = space.world.command("kubectl");
    kubectl.args(["apply", "--server-side", "-f", "-"]).args(arguments);
    kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut applying = kubectl.spawn().expect("kubectl runs");
    let mut input = applying.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, manifests.as_bytes()).unwrap();
    drop(input);
    let applied = applying.wait_with_output().unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
}

/// Fields that the API server does not know are an error, too.
pub(crate) async fn the_api_server_takes_all_that_the_chart_makes(space: Space) {
    let arguments =
        ["--set-json=replicas=2", r#"--set-json=defaultIssuer="ClusterIssuer/countersign""#];
    let manifests = template(&space, &arguments.map(str::to_owned)).unwrap();
    apply_with(&space, &manifests, &["--dry-run=server", "--validate=strict", "--force-conflicts"]);
}

pub(crate) async fn what_is_switched_off_has_neither_flag_nor_right(space: Space) {
    let cases: [(&[&str], [bool; 3]); 4] = [
        (&[], [false, true, true]),
        (&["caInjection.enabled=true"], [true, true, true]),
        (&["kubernetesSigner.enabled=false"], [false, false, true]),
        (&["autoApproval.enabled=false"], [false, true, false]),
    ];
    for (values, expected) in cases {
        let objects = objects(&space, values);
        let args = args(&objects);
        let flags = [args.ca_injection, args.kubernetes_signer, args.auto_approval];
        assert_eq!(flags, expected, "{values:?}");
        for kind in ["ClusterRole", "ClusterRoleBinding"] {
            let names = of_kind(&objects, kind).into_iter().map(|role| &role["metadata"]["name"]);
            let names: Vec<_> = names.collect();
            let has = |role: &str| {
                names.iter().any(|name| **name == format!("countersign-controller-{role}"))
            };
            let rights = ["ca-injection", "kubernetes-signer", "approval"].map(has);
            assert_eq!(rights, expected, "{kind} {values:?}");
        }
    }
}

pub(crate) async fn the_ca_of_the_webhooks_clients_reaches_the_front_only(space: Space) {
    let secret = r#"webhook={"clientCA":{"secret":"s","key":"tls.crt"},"clientNames":["a","b"]}"#;
    let config_map = r#"webhook.clientCA.configMap="c""#;
    let cases: [(&[&str], &[&str], Value); 3] = [
        (&[], &[], json!(null)),
        (
            &[secret],
            &[
                "--webhook-client-ca=/var/run/countersign/webhook-clients/ca.crt",
                "--webhook-client-names=a,b",
            ],
            json!({ "name": "webhook-clients", "secret": { "secretName": "s", "items": [{ "key": "tls.crt", "path": "ca.crt" }] } }),
        ),
        (
            &[config_map],
            &["--webhook-client-ca=/var/run/countersign/webhook-clients/ca.crt"],
            json!({ "name": "webhook-clients", "configMap": { "name": "c", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } }),
        ),
    ];
    for (values, flags, volume) in cases {
        let objects = objects(&space, values);
        for deployment in of_kind(&objects, "Deployment") {
            let is_front = deployment["metadata"]["name"] == "countersign-operator";
            let pod = &deployment["spec"]["template"]["spec"];
            let args = pod["containers"][0]["args"].as_array().unwrap().iter();
            let args = args.map(|flag| flag.as_str().unwrap());
            let found: Vec<_> = args.filter(|flag| flag.contains("webhook-client")).collect();
            assert_eq!(found, if is_front { flags } else { &[] }, "{values:?}");
            let volumes = pod["volumes"].as_array().into_iter().flatten();
            let found = volumes.into_iter().find(|it| it["name"] == "webhook-clients").cloned();
            let expected = (is_front && !volume.is_null()).then(|| volume.clone());
            assert_eq!(found, expected, "{values:?}");
        }
    }
    let both = r#"--set-json=webhook.clientCA={"secret":"s","configMap":"c"}"#;
    let refused = template(&space, &[both.to_owned()]).unwrap_err();
    assert!(refused.contains("clientCA"), "{refused}");
}

pub(crate) async fn the_default_issuer_reaches_the_operator(space: Space) {
    let cases = [
        ("", None),
        ("ca", Some("Issuer ca")),
        ("ClusterIssuer/countersign", Some("ClusterIssuer countersign")),
        ("StepIssuer.certmanager.step.sm/ca", Some("StepIssuer ca")),
    ];
    for (value, expected) in cases {
        let objects = objects(&space, &[&format!("defaultIssuer={value:?}")]);
        let found = args(&objects).default_issuer.map(|issuer| issuer.to_string());
        assert_eq!(found.as_deref(), expected, "{value}");
    }
}

pub(crate) async fn the_time_limits_of_sidecars_reach_the_operator(space: Space) {
    let unset = args(&objects(&space, &[])).inject;
    assert_eq!((unset.sidecar_idle_timeout, unset.sidecar_stall_timeout), (None, None));
    let values = [
        r#"sidecar.timeouts={"idle":"2h","halfClosed":"3h","stall":"4h","dial":"5s","peerExpiryGrace":"6m"}"#,
    ];
    let set = args(&objects(&space, &values)).inject;
    let limits = [
        set.sidecar_idle_timeout,
        set.sidecar_half_closed_timeout,
        set.sidecar_stall_timeout,
        set.sidecar_dial_timeout,
        set.sidecar_peer_expiry_grace,
    ];
    let limits = limits.map(|limit| limit.expect("it is set").to_string());
    assert_eq!(
        limits,
        ["2h", "3h", "4h", "5s", "6m"]
            .map(|text| { text.parse::<kube::core::Duration>().unwrap().to_string() })
    );
}

pub(crate) async fn the_issuer_of_devices_reaches_the_operator_and_signs_no_spiffe_id(
    space: Space,
) {
    let cases: [(&[&str], Option<&str>, bool); 3] = [
        (&[], Some("countersign-devices"), true),
        (&[r#"deviceAuthority={"enabled":false,"issuer":"ours"}"#], Some("ours"), false),
        (&[r#"deviceAuthority.issuer="""#], None, false),
    ];
    for (values, issuer, is_made) in cases {
        let objects = objects(&space, values);
        assert_eq!(args(&objects).device_issuer.as_deref(), issuer, "{values:?}");
        let made = of_kind(&objects, "ClusterIssuer");
        let made = made.iter().find(|it| it["metadata"]["name"] == "countersign-devices");
        assert_eq!(made.is_some(), is_made, "{values:?}");
        let Some(policy) = made.map(|it| &it["spec"]["ca"]["policy"]) else { continue };
        let labels = &policy["namespaces"]["matchLabels"];
        assert_eq!(labels["countersign.dev/devices"], "enabled", "{policy}");
        let rules = policy["allow"].as_array().expect("rules");
        assert!(rules.iter().all(|rule| rule.get("uris").is_none()), "{policy}");
    }
}

pub(crate) async fn intermediates_sign_leaves_only_and_roots_stay_as_they_are(space: Space) {
    let cases: [(&[&str], Value); 3] = [
        (&[], json!([0, 0])),
        (&["defaultAuthority.intermediateMaxPathLength=1"], json!([1, 0])),
        (&["deviceAuthority.intermediateMaxPathLength=null"], json!([0, null])),
    ];
    for (values, expected) in cases {
        let objects = objects(&space, values);
        let made = of_kind(&objects, "Certificate");
        let length = |name: &str| {
            let found = made.iter().find(|it| it["metadata"]["name"] == name).expect(name);
            found["spec"]["maxPathLength"].clone()
        };
        let found = ["countersign-intermediate", "countersign-devices-intermediate"].map(length);
        assert_eq!(json!(found), expected, "{values:?}");
        for root in ["countersign-root", "countersign-devices-root"] {
            assert_eq!(length(root), Value::Null, "{root}: an upgrade would replace it");
        }
    }
}

pub(crate) async fn the_largest_rsa_key_reaches_the_operator(space: Space) {
    for (values, bits) in [(&[][..], 4096), (&["certificates.maxRsaBits=8192"][..], 8192)] {
        assert_eq!(args(&objects(&space, values)).max_rsa_bits, bits, "{values:?}");
    }
}

pub(crate) async fn the_default_of_access_reaches_the_operator(space: Space) {
    let cases: [(&[&str], _, _); 3] = [
        (&[], DefaultAccess::Mesh, DefaultUnmeshed::Allow),
        (&[r#"accessPolicy.default="none""#], DefaultAccess::None, DefaultUnmeshed::Allow),
        (&[r#"accessPolicy.unmeshed="deny""#], DefaultAccess::Mesh, DefaultUnmeshed::Deny),
    ];
    for (values, access, unmeshed) in cases {
        let args = args(&objects(&space, values));
        assert_eq!((args.default_access, args.unmeshed), (access, unmeshed), "{values:?}");
    }
}

/// Whether a selector selects the pods of a template.
pub(crate) fn selects(selector: &Value, pods: &Value) -> bool {
    let labels = &pods["metadata"]["labels"];
    selector.as_object().unwrap().iter().all(|(label, value)| labels[label] == *value)
}

/// By what the pods of a template are spread.
fn apart(pods: &Value) -> Vec<&Value> {
    let spread = pods["spec"]["topologySpreadConstraints"].as_array();
    let spread = spread.into_iter().flatten().map(|spread| &spread["topologyKey"]);
    let apart = &pods["spec"]["affinity"]["podAntiAffinity"];
    let apart = apart["preferredDuringSchedulingIgnoredDuringExecution"].as_array();
    let apart = apart.into_iter().flatten().map(|term| &term["podAffinityTerm"]["topologyKey"]);
    spread.chain(apart).collect()
}

pub(crate) async fn external_ranges_reach_the_operator_and_the_policy(space: Space) {
    let ranges = r#"discovery.externalCIDRs=["203.0.113.0/24","2001:db8::/64"]"#;
    let cases: [(&[&str], &[&str], usize); 3] = [
        (&[], &[], 1),
        (&[ranges], &["203.0.113.0/24", "2001:db8::/64"], 1),
        (&["discovery.refuseExternalIPs=false"], &[], 0),
    ];
    for (values, expected, policies) in cases {
        let objects = objects(&space, values);
        let found = args(&objects).external_cidrs;
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{values:?}");
        let is_ours = |policy: &&&Value| policy["metadata"]["name"] == "countersign-addresses";
        let ours = of_kind(&objects, "ValidatingAdmissionPolicy");
        assert_eq!(ours.iter().filter(is_ours).count(), policies, "{values:?}");
    }
}

pub(crate) async fn two_replicas_are_spread_and_one_alone_holds_up_no_drain(space: Space) {
    let own = r#"topologySpreadConstraints=[{"topologyKey":"rack"}]"#;
    // A constraint whose label some nodes lack would make the scheduler forget the other one there.
    let both = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"];
    let affinity = r#"affinity={"nodeAffinity":{}}"#;
    let cases: [(&[&str], usize, &[&str]); 5] = [
        (&[], 0, &[]),
        (&["replicas=2"], 2, &both),
        (&["replicas=2", "podDisruptionBudget.enabled=false"], 0, &both),
        (&["replicas=2", affinity], 2, &both[..1]),
        (&["replicas=3", own], 2, &["rack"]),
    ];
    for (values, budgets, keys) in cases {
        let objects = objects(&space, values);
        let found = of_kind(&objects, "PodDisruptionBudget");
        assert_eq!(found.len(), budgets, "{values:?}");
        for deployment in of_kind(&objects, "Deployment") {
            let (name, pods) = (&deployment["metadata"]["name"], &deployment["spec"]["template"]);
            for budget in found.iter().filter(|budget| budget["metadata"]["name"] == *name) {
                assert!(selects(&budget["spec"]["selector"]["matchLabels"], pods), "{name}");
            }
            let serves = name == "countersign-operator";
            let seconds =
                &pods["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"];
            assert_eq!(*seconds == 3, serves, "{name} ends too soon");
            assert_eq!(apart(pods), keys, "{name} {values:?}");
        }
        let text = serde_json::to_string(&objects).unwrap();
        assert!(!text.contains("\"matchLabelKeys\":null"));
    }
}

pub(crate) async fn metrics_are_found_by_whoever_is_to_read_them(space: Space) {
    let cases: [(&[&str], usize, &str); 4] = [
        (&[], 1, ""),
        (&["metrics.service.enabled=false"], 0, ""),
        (
            &["metrics.service.enabled=false", r#"metrics.monitor.kind="PodMonitor""#],
            0,
            "PodMonitor",
        ),
        (
            &["metrics.service.enabled=false", r#"metrics.monitor.kind="ServiceMonitor""#],
            1,
            "ServiceMonitor",
        ),
    ];
    for (values, services, monitor) in cases {
        let more = [values, &[r#"metrics.monitor.labels={"release":"prometheus"}"#]].concat();
        let objects = objects(&space, &more);
        let services_found: Vec<_> = of_kind(&objects, "Service")
            .into_iter()
            .filter(|service| service["metadata"]["name"] == "countersign-metrics")
            .collect();
        assert_eq!(services_found.len(), services, "{values:?}");
        let kinds = ["PodMonitor", "ServiceMonitor"];
        let found: Vec<_> = kinds.into_iter().flat_map(|kind| of_kind(&objects, kind)).collect();
        let found_kinds: Vec<_> =
            found.iter().map(|monitor| monitor["kind"].as_str().unwrap()).collect();
        let expected: Vec<_> = Some(monitor).filter(|kind| !kind.is_empty()).into_iter().collect();
        assert_eq!(found_kinds, expected, "{values:?}");
        let pods = of_kind(&objects, "Deployment").into_iter().map(|it| &it["spec"]["template"]);
        let pods: Vec<_> = pods.collect();
        for service in &services_found {
            assert!(pods.iter().all(|pods| selects(&service["spec"]["selector"], pods)));
        }
        for found in found {
            assert_eq!(found["metadata"]["labels"]["release"], "prometheus");
            let selector = &found["spec"]["selector"]["matchLabels"];
            let selected = match monitor {
                "PodMonitor" => &pods,
                _ => &services_found,
            };
            assert!(selected.iter().all(|it| selects(selector, it)), "{monitor}");
        }
    }
}

pub(crate) async fn a_value_that_the_chart_does_not_know_is_refused_with_its_name(space: Space) {
    let cases = [
        ("replica=2", "replica"),
        ("replicas=0", "replicas"),
        ("autoApproval=true", "autoApproval"),
        (r#"reissueSpread="soon""#, "reissueSpread"),
        (r#"defaultIssuer="ClusterIssuer/""#, "defaultIssuer"),
        (r#"metrics.monitor.kind="Both""#, "kind"),
        (r#"metrics.monitor.interval="soon""#, "interval"),
        ("defaultAuthority.intermediateMaxPathLength=-1", "intermediateMaxPathLength"),
        ("certificates.maxRsaBits=16384", "maxRsaBits"),
        ("metrics.port=1", "port"),
        (r#"networkPolicy.apiServerCIDRs=["all"]"#, "apiServerCIDRs"),
        ("networkPolicy.egress=true", "egress"),
        (r#"accessPolicy.default="all""#, "default"),
        ("accessPolicy.unmeshed=true", "unmeshed"),
        ("accessPolicy.allow=[]", "allow"),
        ("podDisruptionBudget.minAvailable=1", "minAvailable"),
        (r#"discovery.externalCIDRs=["everywhere"]"#, "externalCIDRs"),
        (r#"topologySpreadConstraints={"a":"b"}"#, "topologySpreadConstraints"),
    ];
    for (value, named) in cases {
        let refused = template(&space, &[format!("--set-json={value}")]);
        let told = refused.expect_err(value);
        assert!(told.contains(named), "{value}: {told}");
    }
}

pub(crate) async fn no_right_is_given_twice_in_a_role(space: Space) {
    let objects = objects(&space, &[]);
    for role in [of_kind(&objects, "ClusterRole"), of_kind(&objects, "Role")].concat() {
        let mut given = BTreeSet::new();
        for rule in role["rules"].as_array().unwrap() {
            // Rights to some names only stand beside wider ones that are others.
            if rule.get("resourceNames").is_some() {
                continue;
            }
            let words = |field: &str| {
                let words = rule[field].as_array().unwrap().iter();
                words.map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
            };
            for resource in words("resources") {
                for verb in words("verbs") {
                    let right = (words("apiGroups"), resource.clone(), verb);
                    let name = &role["metadata"]["name"];
                    assert!(given.insert(right.clone()), "{name}: {right:?} stands twice");
                }
            }
        }
    }
}

/// A server-side apply is a patch, and makes what is not there.
pub(crate) async fn whatever_the_operator_asks_the_chart_gives_it_the_right_to(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    access::follow(&space).await;
    let objects = objects(&space, &["injection.replace=true", "caInjection.enabled=true"]);
    let roles = [of_kind(&objects, "ClusterRole"), of_kind(&objects, "Role")].concat();
    let is_operators = |role: &&Value| {
        let name = role["metadata"]["name"].as_str().unwrap_or_default();
        ["countersign-operator", "countersign-controller"].iter().any(|it| name.starts_with(it))
    };
    let rules = roles.into_iter().filter(is_operators);
    let rules: Vec<_> = rules.flat_map(|role| role["rules"].as_array().unwrap()).collect();
    let may = |verb: &str, resource: &str| {
        let names = |rule: &Value, field: &str, word: &str| {
            rule[field].as_array().unwrap().iter().any(|one| one == word)
        };
        let gives =
            |rule: &&Value| names(rule, "resources", resource) && names(rule, "verbs", verb);
        rules.iter().any(gives)
    };
    let asked = calls(&space.world.metrics());
    for (verb, resource) in
        [("apply", "secrets"), ("apply", "configmaps"), ("patch", "pods/status")]
    {
        assert!(asked.contains(&(verb.to_owned(), resource.to_owned())), "{asked:?}");
    }
    for (verb, resource) in asked {
        // API discovery: ClusterRole system:discovery, which every account has.
        if resource == "apis" {
            continue;
        }
        let verbs: &[&str] = if verb == "apply" { &["patch", "create"] } else { &[&verb] };
        assert!(verbs.iter().all(|verb| may(verb, &resource)), "{verb} {resource}");
    }
}

pub(crate) async fn helm_finds_no_fault_with_the_chart(space: Space) {
    let chart = countersign_tests::cluster::repository().join("charts/countersign");
    let mut helm = space.world.command("helm");
    let linted = helm.args(["lint", "--strict"]).arg(chart).output().expect("helm runs");
    assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stdout));
}
