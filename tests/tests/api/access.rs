//! AccessPolicies: what becomes of them, who may write it, and what their status says.

use countersign_contract::access::NamespaceDocument;
use countersign_contract::discovery::{Denial, Report};
use countersign_contract::names::{
    INJECTED_LABEL, POLICIES_FILE, POLICY_CONFIG_MAP, POLICY_REVISION_ANNOTATION,
};
use countersign_crds::{AccessPolicy, Condition, ConditionStatus};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::history::versions_since;
use crate::policies::blocks;
use crate::space::Space;

/// What the sidecars of the namespace read.
pub(crate) fn document(map: &ConfigMap) -> Option<NamespaceDocument> {
    serde_json::from_str(map.data.as_ref()?.get(POLICIES_FILE)?).ok()
}

/// Waits for a document about which something holds.
pub(crate) async fn document_when(
    space: &Space,
    what: &str,
    holds: impl Fn(&NamespaceDocument) -> bool,
) -> NamespaceDocument {
    let is_it = |map: &ConfigMap| document(map).as_ref().is_some_and(&holds);
    document(&space.when(POLICY_CONFIG_MAP, what, is_it).await).unwrap()
}

/// The names of the policies in it.
pub(crate) fn names(document: &NamespaceDocument) -> Vec<&str> {
    document.policies.iter().map(|policy| policy.name.as_str()).collect()
}

pub(crate) async fn policy(space: &Space, name: &str, spec: Value) -> AccessPolicy {
    space.make(name, json!({ "spec": spec })).await
}

/// A pod as injection would leave it; nobody runs it.
async fn pod(space: &Space, name: &str) -> Pod {
    space.make::<ServiceAccount>("default", json!({})).await;
    let labels = json!({ "app": name, INJECTED_LABEL: "true" });
    let spec = json!({
        "automountServiceAccountToken": false,
        "containers": [{ "name": "app", "image": "example.org/app" }],
    });
    space.make(name, json!({ "metadata": { "labels": labels }, "spec": spec })).await
}

fn touched(pod: &Pod) -> Option<&str> {
    pod.annotations().get(POLICY_REVISION_ANNOTATION).map(String::as_str)
}

fn ready(policy: &AccessPolicy) -> Option<&Condition> {
    policy.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == "Ready")
}

/// Waits until Ready has a reason, as the policy now stands.
async fn until(space: &Space, name: &str, reason: &str) -> AccessPolicy {
    let has = |policy: &AccessPolicy| {
        ready(policy).is_some_and(|ready| {
            ready.reason.as_deref() == Some(reason)
                && ready.observed_generation == policy.metadata.generation
        })
    };
    space.when(name, &format!("is {reason}"), has).await
}

pub(crate) async fn policies_become_one_document_that_follows_them(space: Space) {
    policy(&space, "web", json!({ "allow": [{ "namespaces": ["desk"] }] })).await;
    let one = document_when(&space, "holds web", |it| names(it) == ["web"]).await;
    let everybody = json!([{ "trustDomains": ["cluster.local"] }]);
    assert_eq!(serde_json::to_value(&one.default_allow).unwrap(), everybody);
    policy(&space, "api", json!({ "ports": [{ "port": 80, "mode": "off" }] })).await;
    let two = document_when(&space, "holds both", |it| names(it) == ["api", "web"]).await;
    assert_ne!(one.revision, two.revision);
    let change = json!({ "spec": { "allow": [] } });
    space.change::<AccessPolicy>("web", change).await;
    document_when(&space, "follows", |it| it.policies[1].allow.is_empty()).await;
    for name in ["web", "api"] {
        space.api::<AccessPolicy>().delete(name, &DeleteParams::default()).await.unwrap();
    }
    document_when(&space, "is empty", |it| it.policies.is_empty()).await;
}

pub(crate) async fn a_document_is_put_right_whoever_changed_or_deleted_it(space: Space) {
    policy(&space, "web", json!({})).await;
    let right = document_when(&space, "is there", |it| names(it) == ["web"]).await;
    let maps = space.api::<ConfigMap>();
    let open = json!({ "data": { POLICIES_FILE: r#"{"revision":"open","defaultAllow":[]}"# } });
    let damages = [
        Some(open),
        Some(json!({ "data": { POLICIES_FILE: "garbage" } })),
        Some(json!({ "data": null })),
        Some(json!({ "metadata": { "labels": null } })),
        None,
    ];
    for damage in damages {
        let before = maps.get(POLICY_CONFIG_MAP).await.unwrap().resource_version();
        match &damage {
            Some(damage) => {
                drop(space.change::<ConfigMap>(POLICY_CONFIG_MAP, damage.clone()).await)
            }
            None => drop(maps.delete(POLICY_CONFIG_MAP, &DeleteParams::default()).await.unwrap()),
        }
        let is_right = |map: &ConfigMap| {
            document(map).as_ref() == Some(&right)
                && !map.labels().is_empty()
                && map.resource_version() != before
        };
        space.when(POLICY_CONFIG_MAP, &format!("came back after {damage:?}"), is_right).await;
    }
}

pub(crate) async fn pods_mount_it_before_the_first_of_them_starts(space: Space) {
    let others = Space::new(&space.world, "one that asks for nothing").await;
    let label = json!({ "metadata": { "labels": { "countersign.dev/inject": "enabled" } } });
    let namespaces: Api<Namespace> = Api::all(space.client.clone());
    let patch = Patch::Merge(label);
    namespaces.patch(&space.namespace, &PatchParams::default(), &patch).await.unwrap();
    document_when(&space, "is there", |it| it.policies.is_empty()).await;
    assert!(others.api::<ConfigMap>().get_opt(POLICY_CONFIG_MAP).await.unwrap().is_none());
    pod(&others, "web").await;
    document_when(&others, "is there", |it| it.policies.is_empty()).await;
}

/// Waits until a pod is told of the document that holds these policies.
async fn told(space: &Space, pod: &str, policies: &[&str]) -> String {
    let what = format!("holds {policies:?}");
    let revision = document_when(space, &what, |it| names(it) == policies).await.revision;
    let is_told = |pod: &Pod| touched(pod) == Some(&revision);
    space.when::<Pod>(pod, &format!("is told of {policies:?}"), is_told).await;
    revision
}

pub(crate) async fn pods_are_touched_when_the_policies_change_and_not_otherwise(space: Space) {
    let start = pod(&space, "web").await.resource_version().unwrap();
    let mut revisions = vec![told(&space, "web", &[]).await];
    policy(&space, "one", json!({})).await;
    revisions.push(told(&space, "web", &["one"]).await);
    let note = json!({ "metadata": { "labels": { "seen": "true" } } });
    space.change::<AccessPolicy>("one", note).await;
    policy(&space, "two", json!({ "allow": [{}] })).await;
    revisions.push(told(&space, "web", &["one", "two"]).await);
    let versions: Vec<Pod> = versions_since(&space, "web", &start).await;
    let mut found: Vec<_> = versions.iter().map(|pod| touched(pod).unwrap()).collect();
    // Its credentials come meanwhile, where somebody signs them: that is a version of the pod, too.
    found.dedup();
    assert_eq!(found, revisions, "one write each");
}

pub(crate) async fn a_pod_that_follows_something_older_is_told_again(space: Space) {
    pod(&space, "web").await;
    let revision = told(&space, "web", &[]).await;
    let report = Report { policy_revision: "older".to_owned(), denials: vec![] };
    let again = format!("{revision}.2");
    let is_told_again = |pod: &Pod| {
        space.world.report(&space.namespace, "web", &report);
        touched(pod) == Some(&again)
    };
    space.when::<Pod>("web", "is told again", is_told_again).await;
}

pub(crate) async fn a_status_says_which_pods_follow_and_whom_they_refuse(space: Space) {
    for name in ["web", "api"] {
        pod(&space, name).await;
    }
    let selector = json!({ "matchLabels": { "app": "web" } });
    policy(&space, "web", json!({ "podSelector": selector, "enforcement": "Audit" })).await;
    let selects = |policy: &AccessPolicy| {
        policy.status.as_ref().is_some_and(|status| status.selected_pods == 1)
    };
    let told = space.when("web", "selects one", selects).await;
    assert_eq!(told.status.unwrap().in_force_pods, 0);
    until(&space, "web", "Audited").await;
    let policy_revision =
        document_when(&space, "is there", |it| names(it) == ["web"]).await.revision;
    let peer = "spiffe://cluster.local/ns/desk/sa/till";
    let denial = Denial {
        peer: peer.to_owned(),
        port: 80,
        policies: vec!["web".to_owned()],
        count: 3,
        audited: true,
    };
    // It says so again and again, since another test may have the operator restarted.
    let say = |denials: Vec<Denial>| {
        let report = Report { policy_revision: policy_revision.clone(), denials };
        for pod in ["web", "api"] {
            space.world.report(&space.namespace, pod, &report);
        }
    };
    let is_told = |policy: &AccessPolicy| {
        say(vec![]);
        policy.status.as_ref().is_some_and(|status| status.in_force_pods == 1)
    };
    space.when("web", "is in force", is_told).await;
    let is_told = |policy: &AccessPolicy| {
        let told = policy.status.as_ref().is_some_and(|status| !status.recent_denials.is_empty());
        if !told {
            say(vec![denial.clone()]);
        }
        told
    };
    let status = space.when("web", "tells of a denial", is_told).await.status.unwrap();
    let told = &status.recent_denials[0];
    assert_eq!((told.peer.as_str(), told.port, told.audited), (peer, 80, true));
    assert!(told.count >= 3 && status.selected_pods == 1, "{status:?}");
    let mut kubectl = space.world.command("kubectl");
    let shown = kubectl.args(["get", "ap", "-n", &space.namespace]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let lines: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "ENFORCEMENT", "PODS", "IN", "FORCE", "READY", "AGE"]);
    assert_eq!(lines[1][..5], ["web", "Audit", "1", "1", "True"]);
}

pub(crate) async fn policies_that_contradict_each_other_are_told(space: Space) {
    pod(&space, "web").await;
    policy(&space, "lax", json!({ "ports": [{ "port": 80, "mode": "off" }] })).await;
    until(&space, "lax", "Enforced").await;
    policy(&space, "strict", json!({ "ports": [{ "port": 80, "mode": "mutual" }] })).await;
    let told = until(&space, "lax", "Conflict").await;
    let ready = ready(&told).unwrap();
    assert_eq!(ready.status, ConditionStatus::False);
    let said = "port 80 of pod web: mode is off here and mutual in policy strict; \
                the strictest holds, mutual";
    assert_eq!(ready.message.as_deref(), Some(said));
    until(&space, "strict", "Conflict").await;
    space.event("strict", "tells of the conflict", |reason| reason == "Conflict").await;
    space.api::<AccessPolicy>().delete("strict", &DeleteParams::default()).await.unwrap();
    until(&space, "lax", "Enforced").await;
}

/// More than half a megabyte.
fn long() -> Value {
    let identity = |number| format!("spiffe://cluster.local/{}{number}", "a".repeat(1900));
    let identities = |rule: usize| (0..64).map(|it| identity(rule * 64 + it)).collect::<Vec<_>>();
    let rules = (0..5).map(|rule| json!({ "identities": identities(rule) }));
    json!({ "allow": rules.collect::<Vec<_>>() })
}

pub(crate) async fn policies_that_do_not_fit_leave_in_force_what_was_there_before(space: Space) {
    policy(&space, "one", long()).await;
    let before = document_when(&space, "holds one", |it| names(it) == ["one"]).await;
    policy(&space, "two", long()).await;
    for name in ["one", "two"] {
        until(&space, name, "TooLarge").await;
        space.event(name, "tells that it does not fit", |reason| reason == "TooLarge").await;
    }
    let found = space.api::<ConfigMap>().get(POLICY_CONFIG_MAP).await.unwrap();
    assert_eq!(document(&found).unwrap(), before);
    space.api::<AccessPolicy>().delete("one", &DeleteParams::default()).await.unwrap();
    document_when(&space, "holds two", |it| names(it) == ["two"]).await;
    until(&space, "two", "Enforced").await;
}

pub(crate) async fn what_cannot_be_published_is_told(space: Space) {
    policy(&space, "web", json!({})).await;
    until(&space, "web", "Enforced").await;
    space.change::<ConfigMap>(POLICY_CONFIG_MAP, json!({ "immutable": true })).await;
    policy(&space, "web", json!({ "allow": [{}] })).await;
    let told = until(&space, "web", "NotPublished").await;
    let message = ready(&told).unwrap().message.clone().unwrap();
    assert!(message.contains(POLICY_CONFIG_MAP) && message.contains("immutable"), "{message}");
    space.event("web", "tells of it", |reason| reason == "NotPublished").await;
    let maps = space.api::<ConfigMap>();
    maps.delete(POLICY_CONFIG_MAP, &DeleteParams::default()).await.unwrap();
    until(&space, "web", "Enforced").await;
    document_when(&space, "follows", |it| it.policies[0].allow.len() == 1).await;
}

/// Specs, and the field that is wrong.
fn bad() -> Vec<(Value, &'static str)> {
    let rule = |field: &str, value: Value| json!({ "allow": [{}, { field: value }] });
    let port = |rest: Value| {
        let mut port = rest;
        port["port"] = port.get("port").cloned().unwrap_or_else(|| 80.into());
        json!({ "ports": [port] })
    };
    let expression = |operator: &str, values: Value| {
        let expression = json!({ "key": "app", "operator": operator, "values": values });
        json!({ "podSelector": { "matchExpressions": [expression] } })
    };
    vec![
        (json!({ "enforcement": "Perhaps" }), "spec.enforcement"),
        (rule("namespaces", json!([])), "spec.allow[1].namespaces"),
        (rule("namespaces", json!(["Shop"])), "spec.allow[1].namespaces[0]"),
        (rule("namespaces", json!(["a", "*"])), "spec.allow[1].namespaces[1]"),
        (rule("serviceAccounts", json!(["a/b"])), "spec.allow[1].serviceAccounts[0]"),
        (rule("trustDomains", json!(["Cluster.local"])), "spec.allow[1].trustDomains[0]"),
        (rule("trustDomains", json!(["*"])), "spec.allow[1].trustDomains[0]"),
        (rule("identities", json!(["web"])), "spec.allow[1].identities[0]"),
        (rule("identities", json!(["spiffe://*/ns/a/sa/b"])), "spec.allow[1].identities[0]"),
        (rule("identities", json!(["spiffe://a.org"])), "spec.allow[1].identities[0]"),
        (rule("dnsNames", json!(["a.*.org"])), "spec.allow[1].dnsNames[0]"),
        (rule("commonNames", json!([""])), "spec.allow[1].commonNames[0]"),
        (rule("namespace", json!("shop")), "spec.allow[1].namespace"),
        (port(json!({ "port": 0 })), "spec.ports[0].port"),
        (port(json!({ "port": 65_536 })), "spec.ports[0].port"),
        (json!({ "ports": [{ "port": 80 }, { "port": 80 }] }), "spec.ports[1]"),
        (json!({ "ports": [{ "mode": "off" }] }), "spec.ports[0].port"),
        (port(json!({ "mode": "Mutual" })), "spec.ports[0].mode"),
        (port(json!({ "mode": "server", "allow": [{}] })), "spec.ports[0].allow"),
        (port(json!({ "mode": "off", "allow": [] })), "spec.ports[0].allow"),
        (port(json!({ "mode": "off", "alpn": ["h2"] })), "spec.ports[0].mode"),
        (port(json!({ "alpn": [] })), "spec.ports[0].alpn"),
        (port(json!({ "alpn": ["h 2"] })), "spec.ports[0].alpn[0]"),
        (port(json!({ "minTLSVersion": "1.1" })), "spec.ports[0].minTLSVersion"),
        (port(json!({ "clientIdentity": "Header" })), "spec.ports[0].clientIdentity"),
        (
            port(json!({ "allow": [{ "namespaces": [""] }] })),
            "spec.ports[0].allow[0].namespaces[0]",
        ),
        (json!({ "egress": { "unmeshed": "deny" } }), "spec.egress.unmeshed"),
        (expression("Like", json!(["a"])), "spec.podSelector.matchExpressions[0].operator"),
        (expression("In", json!([])), "spec.podSelector.matchExpressions[0].values"),
        (json!({ "podselector": {} }), "spec.podselector"),
    ]
}

pub(crate) async fn a_policy_that_cannot_be_is_refused_with_its_field_named(space: Space) {
    for (spec, field) in bad() {
        let object = json!({
            "apiVersion": "countersign.dev/v1", "kind": "AccessPolicy",
            "metadata": { "name": "bad", "namespace": space.namespace }, "spec": spec,
        });
        let message = space.world.apply(&object.to_string()).expect_err(&object.to_string());
        assert!(message.contains(field), "{spec}: {message}");
    }
    policy(&space, "shortest", json!({})).await;
}

/// A policy and a pod that follows it, as far as it can without a node.
pub(crate) async fn follow(space: &Space) {
    pod(space, "web").await;
    policy(space, "web", json!({ "allow": [{}] })).await;
    let revision = document_when(space, "is there", |it| names(it) == ["web"]).await.revision;
    space.when::<Pod>("web", "is touched", |pod| touched(pod) == Some(&revision)).await;
    let selects =
        |policy: &AccessPolicy| policy.status.as_ref().is_some_and(|s| s.selected_pods == 1);
    space.when("web", "selects it", selects).await;
}

pub(crate) async fn a_restart_writes_nothing_of_policies(space: Space) {
    follow(&space).await;
    let versions = async || {
        let map = space.api::<ConfigMap>().get(POLICY_CONFIG_MAP).await.unwrap().resource_version();
        let policy = space.api::<AccessPolicy>().get("web").await.unwrap().resource_version();
        (map, policy, space.api::<Pod>().get("web").await.unwrap().resource_version())
    };
    let before = versions().await;
    space.world.restart_operator().await;
    // What is new comes after what was there when it started.
    let later = Space::new(&space.world, "what comes later").await;
    policy(&later, "web", json!({})).await;
    until(&later, "web", "Enforced").await;
    assert_eq!(before, versions().await);
}

pub(crate) async fn every_example_of_the_docs_of_access_holds(space: Space) {
    let examples = blocks(&space, "access-policy.md", "yaml");
    assert!(!examples.is_empty());
    for example in &examples {
        let applied = space.world.apply(example);
        assert!(applied.is_ok(), "{example}: {applied:?}");
    }
    let policies = space.api::<AccessPolicy>().list(&Default::default()).await.unwrap();
    assert_eq!(policies.items.len(), examples.len());
    let all = |it: &NamespaceDocument| it.policies.len() == examples.len();
    document_when(&space, "holds every example", all).await;
}
