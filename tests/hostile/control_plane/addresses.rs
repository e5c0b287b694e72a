//! Which address a tenant may claim, and what discovery costs at its worst.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_contract::discovery::{Answer, Denial, Kind, Report, Request};
use countersign_crds::AccessPolicy;
use countersign_tests::mesh::{Credentials, Stream};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::addresses;
use crate::access::{document_when, names, policy};
use crate::approval::{has, refused};
use crate::chart;
use crate::discovery::{
    account, credentials, endpoints, identity_of_the_operator, ip, pod, service, stream, within,
};
use crate::rights::{Right, until_may};
use crate::space::Space;
use crate::world::World;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        addresses::{
            service_with_external_ip_of_a_cluster_ip_claims_nothing,
            service_with_external_ip_of_a_pod_claims_nothing,
            external_ip_outside_of_configured_ranges_is_not_answered_for,
            next_service_follows_when_the_oldest_claimant_of_an_external_ip_goes,
            slice_of_another_namespace_neither_blocks_nor_opens_an_outside_address,
            host_network_pod_claims_no_node_address,
            follow_flood_of_one_identity_does_not_delay_the_answer_of_another,
            message_that_names_too_many_destinations_is_refused,
            report_about_a_policy_that_does_not_select_the_pod_is_ignored,
            tenant_is_refused_external_ips_with_the_field_named,
        }
    }
}

/// A tenant with the part of the role `edit` that concerns addresses, in a namespace of its own, and the
/// right to write slices there. The role itself is put together by a controller that does not run here.
async fn tenant(world: &Arc<World>) -> (Space, String) {
    let space = Space::new(world, "a tenant").await;
    let user = format!("tenant-{}", space.namespace);
    let group = "rbac.authorization.k8s.io";
    let all = |group: &str, resources: Value| json!({ "apiGroups": [group], "resources": resources, "verbs": ["*"] });
    let rules =
        [all("", json!(["pods", "services"])), all("discovery.k8s.io", json!(["endpointslices"]))];
    space.make::<Role>("tenant", json!({ "rules": rules })).await;
    let binding = json!({
        "roleRef": { "apiGroup": group, "kind": "Role", "name": "tenant" },
        "subjects": [{ "apiGroup": group, "kind": "User", "name": user }],
    });
    space.make::<RoleBinding>("tenant", binding).await;
    let namespace = space.namespace.as_str();
    for (group, resource) in [("", "services"), ("discovery.k8s.io", "endpointslices")] {
        let right = Right { verb: "create", group, resource, namespace, name: "" };
        until_may(&space, &user, right).await;
    }
    (space, user)
}

/// Makes an object as a tenant.
async fn make<K: crate::space::Object>(space: &Space, user: &str, mut object: Value) -> K {
    object["apiVersion"] = K::api_version(&()).into();
    object["kind"] = K::kind(&()).into();
    let api: Api<K> = Api::namespaced(space.world.client_of(user), &space.namespace);
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.expect("the tenant may")
}

/// A Service of a tenant's that claims addresses; returns where it is called itself.
async fn claiming(space: &Space, user: &str, ips: &[&str]) -> String {
    let object = json!({ "metadata": { "name": "sink" },
        "spec": { "externalIPs": ips, "ports": [{ "name": "http", "port": 80 }] } });
    let service: Service = make(space, user, object).await;
    format!("{}:80", service.spec.unwrap().cluster_ip.unwrap())
}

async fn delete_service(space: &Space, name: &str) {
    let api: Api<Service> = space.api();
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

/// Waits until the operator has seen a Service, at the address at which it is called.
async fn is_seen(stream: &mut Stream, space: &Space, name: &str, to: &str) {
    let name = format!("Service {}/{name}", space.namespace);
    within(stream.follow(&[to.to_owned()])).await.unwrap();
    within(stream.until(to, |answer| answer.name == name)).await.unwrap();
}

/// Waits until the operator has seen that a Service is gone.
async fn is_gone(stream: &mut Stream, to: &str) {
    let is_nobodys = |answer: &Answer| answer.name == "no Service";
    within(stream.until(to, is_nobodys)).await.unwrap();
}

/// What a sidecar is answered that begins only now.
async fn fresh(space: &Space, to: &str) -> Answer {
    let mut stream = stream(space).await;
    within(stream.follow(&[to.to_owned()])).await.unwrap();
    within(stream.until(to, |_| true)).await.unwrap()
}

pub(crate) async fn service_with_external_ip_of_a_cluster_ip_claims_nothing(space: Space) {
    let mut caller = stream(&space).await;
    account(&space).await;
    let meshed = pod(&space, "meshed", &ip(&space, 1), true, "").await;
    let victim = service(&space, &[&meshed]).await;
    let to = format!("{victim}:80");
    let own = [(format!("{}:8080", ip(&space, 1)), true)];
    within(caller.follow(std::slice::from_ref(&to))).await.unwrap();
    within(caller.until(&to, |answer| endpoints(answer) == own)).await.unwrap();
    let (evil, user) = tenant(&space.world).await;
    let sink = claiming(&evil, &user, &[&victim]).await;
    is_seen(&mut caller, &evil, "sink", &sink).await;
    let is_victims = async || {
        let answer = fresh(&space, &to).await;
        assert_eq!(answer.name, format!("Service {}/web", space.namespace));
        assert_eq!(endpoints(&answer), own);
    };
    is_victims().await;
    // The outage that used to stay when it goes.
    delete_service(&evil, "sink").await;
    is_gone(&mut caller, &sink).await;
    is_victims().await;
}

pub(crate) async fn service_with_external_ip_of_a_pod_claims_nothing(space: Space) {
    let mut caller = stream(&space).await;
    account(&space).await;
    // In the range in which Services may claim addresses.
    let own = "198.51.100.7";
    pod(&space, "meshed", own, true, "").await;
    let to = format!("{own}:80");
    let is_pods = |answer: &Answer| answer.name == format!("Pod {}/meshed", space.namespace);
    within(caller.follow(std::slice::from_ref(&to))).await.unwrap();
    within(caller.until(&to, is_pods)).await.unwrap();
    let (evil, user) = tenant(&space.world).await;
    let sink = claiming(&evil, &user, &[own]).await;
    is_seen(&mut caller, &evil, "sink", &sink).await;
    let answer = fresh(&space, &to).await;
    assert!(is_pods(&answer) && endpoints(&answer) == [(to, true)], "{answer:?}");
}

pub(crate) async fn external_ip_outside_of_configured_ranges_is_not_answered_for(space: Space) {
    let mut caller = stream(&space).await;
    let (evil, user) = tenant(&space.world).await;
    let sink = claiming(&evil, &user, &["203.0.113.10", "198.51.100.10"]).await;
    is_seen(&mut caller, &evil, "sink", &sink).await;
    assert_eq!(fresh(&space, "203.0.113.10:80").await.kind(), Kind::Outside);
    let answer = fresh(&space, "198.51.100.10:80").await;
    assert_eq!(answer.name, format!("Service {}/sink", evil.namespace));
}

pub(crate) async fn next_service_follows_when_the_oldest_claimant_of_an_external_ip_goes(
    space: Space,
) {
    let mut caller = stream(&space).await;
    let mut tenants = Vec::new();
    for _ in 0..2 {
        let (space, user) = tenant(&space.world).await;
        let sink = claiming(&space, &user, &["198.51.100.20"]).await;
        is_seen(&mut caller, &space, "sink", &sink).await;
        let service: Service = space.api().get("sink").await.unwrap();
        let created = service.creation_timestamp().map(|time| time.0);
        tenants.push((created, service.uid(), space, sink));
    }
    tenants.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    for (_, _, tenant, sink) in &tenants {
        let answer = fresh(&space, "198.51.100.20:80").await;
        assert_eq!(answer.name, format!("Service {}/sink", tenant.namespace));
        delete_service(tenant, "sink").await;
        is_gone(&mut caller, sink).await;
    }
    assert_eq!(fresh(&space, "198.51.100.20:80").await.kind(), Kind::Outside);
}

pub(crate) async fn slice_of_another_namespace_neither_blocks_nor_opens_an_outside_address(
    space: Space,
) {
    let mut caller = stream(&space).await;
    account(&space).await;
    pod(&space, "meshed", &ip(&space, 1), true, "").await;
    let (evil, user) = tenant(&space.world).await;
    let target = |namespace: &str, name: &str| json!({ "kind": "Pod", "namespace": namespace, "name": name, "uid": "zzz" });
    let (nobody, theirs) = (target(&evil.namespace, "nobody"), target(&space.namespace, "meshed"));
    let listed = [
        json!({ "addresses": ["192.0.2.77"], "targetRef": nobody }),
        json!({ "addresses": ["192.0.2.78"], "targetRef": theirs }),
        json!({ "addresses": ["192.0.2.79"] }),
        json!({ "addresses": [ip(&space, 1)] }),
    ];
    let slice = json!({
        "metadata": { "name": "black", "labels": { "kubernetes.io/service-name": "sink" } },
        "addressType": "IPv4", "ports": [{ "name": "http", "port": 80 }], "endpoints": listed,
    });
    make::<EndpointSlice>(&evil, &user, slice).await;
    let sink = claiming(&evil, &user, &[]).await;
    // Its own Service is answered by what is left of it.
    within(caller.follow(std::slice::from_ref(&sink))).await.unwrap();
    let has_slice =
        |answer: &Answer| answer.endpoints.iter().any(|it| it.address == "192.0.2.79:80");
    let answer = within(caller.until(&sink, has_slice)).await.unwrap();
    let theirs = format!("{}:80", ip(&space, 1));
    assert!(endpoints(&answer).iter().all(|(address, _)| *address != theirs), "{answer:?}");
    for address in ["192.0.2.77:443", "192.0.2.78:443", "192.0.2.79:443"] {
        assert_eq!(fresh(&space, address).await.kind(), Kind::Outside, "{address}");
    }
    let meshed = format!("{}:8080", ip(&space, 1));
    let answer = fresh(&space, &meshed).await;
    assert_eq!(endpoints(&answer), [(meshed, true)]);
}

pub(crate) async fn host_network_pod_claims_no_node_address(space: Space) {
    let mut caller = stream(&space).await;
    account(&space).await;
    let node = "192.0.2.88";
    let container = |name: &str| json!({ "name": name, "image": "app:1" });
    let object = json!({
        "metadata": { "labels": { "countersign.dev/injected": "true" } },
        "spec": {
            "hostNetwork": true, "serviceAccountName": "web", "automountServiceAccountToken": false,
            "initContainers": [container("countersign-redirect"), container("countersign-sidecar")],
            "containers": [container("app")],
        },
    });
    space.make::<Pod>("exporter", object).await;
    let addresses = json!({ "phase": "Running", "hostIP": node, "hostIPs": [{ "ip": node }],
        "podIP": node, "podIPs": [{ "ip": node }] });
    let api: Api<Pod> = space.api();
    let patch = Patch::Merge(json!({ "status": addresses }));
    api.patch_status("exporter", &PatchParams::default(), &patch).await.expect("a status");
    // What came after it was seen, hence it was, too.
    pod(&space, "later", &ip(&space, 2), true, "").await;
    let later = format!("{}:8080", ip(&space, 2));
    within(caller.follow(std::slice::from_ref(&later))).await.unwrap();
    within(caller.until(&later, |answer| answer.kind() == Kind::Pod)).await.unwrap();
    assert_eq!(fresh(&space, &format!("{node}:9100")).await.kind(), Kind::Outside);
}

/// Shorter than a round of the flood takes within its budget: 8,000 steps of 100 microseconds each are more
/// than the burst of 5,000, and 200 steps a second follow.
const OBSERVED: Duration = Duration::from_secs(5);

pub(crate) async fn follow_flood_of_one_identity_does_not_delay_the_answer_of_another(
    space: Space,
) {
    identity_of_the_operator(&space).await;
    let greedy = credentials(&space, "greedy").await;
    let mut all: Vec<String> = (0..3999_u32)
        .map(|number| format!("198.18.{}.{}:80", number / 250, number % 250 + 1))
        .collect();
    // Answered without a request to the API server, whose queues would take their time as well.
    account(&space).await;
    let known = pod(&space, "web", &ip(&space, 1), true, "").await;
    all.push(format!("{}:80", service(&space, &[&known]).await));
    // A stream that ends is opened again.
    let flood = async || while round(&space, &greedy, &all).await.is_err() {};
    // An identity follows some 8,000 destinations at most: with more streams, none would complete its round.
    let floods = futures::future::select_all([Box::pin(flood()), Box::pin(flood())]);
    let answers = async {
        let began = Instant::now();
        while began.elapsed() < OBSERVED {
            let mut other = stream(&space).await;
            for number in 1..=50 {
                let to = format!("198.19.0.{number}:80");
                within(other.follow(std::slice::from_ref(&to))).await.unwrap();
                within(other.until(&to, |answer| answer.kind() == Kind::Outside)).await.unwrap();
            }
        }
    };
    tokio::select! {
        () = answers => {}
        _ = floods => panic!("a stream did 8,000 steps, more than its budget allows"),
    }
}

/// Has all destinations forgotten and followed on a new stream; returns at the last answer.
async fn round(space: &Space, credentials: &Credentials, all: &[String]) -> anyhow::Result<()> {
    let mut stream = Stream::open(space.world.discovery(), Some(credentials), "").await?;
    let request = Request { follow: all.to_vec(), forget: all.to_vec(), ..Request::default() };
    stream.send(request).await?;
    stream.until(all.last().unwrap(), |_| true).await.map(drop)
}

pub(crate) async fn message_that_names_too_many_destinations_is_refused(space: Space) {
    let mut stream = stream(&space).await;
    let many = vec!["10.96.0.10:80".to_owned(); 10_000];
    within(stream.follow(&many)).await.unwrap();
    let refused = within(stream.next()).await.unwrap_err().to_string();
    has(&refused, &["a message names more than"]);
}

pub(crate) async fn report_about_a_policy_that_does_not_select_the_pod_is_ignored(space: Space) {
    identity_of_the_operator(&space).await;
    account(&space).await;
    pod(&space, "web", &ip(&space, 1), true, "").await;
    policy(&space, "all", json!({})).await;
    let ledger = json!({ "podSelector": { "matchLabels": { "app": "ledger" } } });
    policy(&space, "ledger", ledger).await;
    let policy_revision =
        document_when(&space, "is there", |it| names(it) == ["all", "ledger"]).await.revision;
    let denial = |peer: &str| Denial {
        peer: peer.to_owned(),
        port: 80,
        policies: vec!["all".to_owned(), "ledger".to_owned()],
        count: 3,
        audited: false,
    };
    let liar = "spiffe://cluster.local/ns/desk/sa/till";
    let denials = vec![denial("CN=\u{1b}[2J"), denial(liar)];
    let report = Some(Report { policy_revision, denials });
    let credentials = credentials(&space, "web").await;
    let reporting = async || {
        let mut stream = Stream::open(space.world.discovery(), Some(&credentials), "web").await?;
        let follow = vec!["192.0.2.1:443".to_owned()];
        stream.send(Request { report: report.clone(), follow, ..Request::default() }).await?;
        stream.next().await?;
        anyhow::Ok(stream)
    };
    // The watch has the pod a moment later.
    let _stream = within(async {
        loop {
            if let Ok(stream) = reporting().await {
                return Ok(stream);
            }
        }
    })
    .await
    .unwrap();
    let denials = |policy: &AccessPolicy| policy.status.clone().unwrap_or_default().recent_denials;
    let tells = |policy: &AccessPolicy| denials(policy).iter().any(|denial| denial.peer == liar);
    let all = space.when("all", "tells of the denial", tells).await;
    assert!(denials(&all).iter().all(|denial| denial.peer == liar), "{all:?}");
    let ledger: AccessPolicy = space.api().get("ledger").await.unwrap();
    assert!(denials(&ledger).is_empty(), "{ledger:?}");
}

/// Tried in one namespace only, since other tests claim addresses.
pub(crate) async fn tenant_is_refused_external_ips_with_the_field_named(space: Space) {
    let (evil, user) = tenant(&space.world).await;
    let services: Api<Service> = Api::namespaced(space.world.client_of(&user), &evil.namespace);
    let service = |name: &str, ips: &[&str]| -> Service {
        serde_json::from_value(json!({ "metadata": { "name": name },
            "spec": { "externalIPs": ips, "ports": [{ "port": 80 }] } }))
        .unwrap()
    };
    let before = service("before", &["192.0.2.1"]);
    services.create(&PostParams::default(), &before).await.unwrap();
    install(&evil, &[]);
    let create = async |name: &str, ips: &[&str]| {
        let made = services.create(&PostParams::default(), &service(name, ips)).await;
        made.map(drop).map_err(|error| error.to_string())
    };
    let said = refused("an external address", async |time| {
        create(&format!("try-{time}"), &["10.96.0.10"]).await
    })
    .await;
    has(&said, &["spec.externalIPs", "10.96.0.10", "discovery.externalCIDRs"]);
    create("none", &[]).await.unwrap();
    // What was there before stays as it was.
    let label = Patch::Merge(json!({ "metadata": { "labels": { "a": "b" } } }));
    services.patch("before", &PatchParams::default(), &label).await.unwrap();
    let more = Patch::Merge(json!({ "spec": { "externalIPs": ["192.0.2.1", "192.0.2.2"] } }));
    let more = services.patch("before", &PatchParams::default(), &more).await;
    has(&more.unwrap_err().to_string(), &["spec.externalIPs", "192.0.2.2"]);
    // Where ranges are configured, addresses in them pass and others do not.
    install(&evil, &["discovery.externalCIDRs={203.0.113.0/24,2001:db8::/64}"]);
    let said = refused("an address outside of the ranges", async |time| {
        let said = create(&format!("out-{time}"), &["192.0.2.3"]).await.unwrap_err();
        if said.contains("203.0.113.0/24") { Err(said) } else { Ok(()) }
    })
    .await;
    has(&said, &["spec.externalIPs", "192.0.2.3"]);
    create("in", &["203.0.113.9"]).await.unwrap();
}

/// Applies the chart's policy, to one namespace.
fn install(space: &Space, values: &[&str]) {
    let policy = chart::rendered(space, &["policy-addresses"], values);
    let binding = "  policyName: countersign-addresses\n";
    assert!(policy.contains(binding), "{policy}");
    let selector = format!(
        "{binding}  matchResources:\n    namespaceSelector:\n      matchLabels: {{kubernetes.io/metadata.name: {}}}\n",
        space.namespace
    );
    chart::apply(space, &policy.replace(binding, &selector));
}
