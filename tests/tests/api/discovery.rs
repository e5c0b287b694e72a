//! Who is behind an address, asked of the operator as sidecars do.

use std::time::Duration;

use anyhow::Context as _;
use countersign_contract::discovery::{Answer, Kind, Protocol};
use countersign_crds::Certificate;
use countersign_tests::mesh::{Credentials, Stream};
use k8s_openapi::api::core::v1::{Node, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::space::{Space, identity, text};
use crate::world::HOME;

const PATIENCE: Duration = Duration::from_secs(60);

/// The credentials of a service account of this namespace.
pub(crate) async fn credentials(space: &Space, account: &str) -> Credentials {
    let secret = identity(space, account).await;
    let part = |key: &str| text(&secret, key).to_vec();
    Credentials { chain: part("tls.crt"), key: part("tls.key"), roots: part("ca.crt") }
}

/// A certificate of the issuer of identities that is no workload's.
async fn signed_at_home(space: &Space, common_name: &str) -> Secret {
    let name = format!("{}-{common_name}", space.namespace);
    let spec = json!({ "commonName": common_name, "secretName": name,
        "issuerRef": { "kind": "ClusterIssuer", "name": "countersign" } });
    let home: Api<Certificate> = Api::namespaced(space.client.clone(), HOME);
    crate::space::make_in(&home, &name, json!({ "spec": spec })).await;
    let home: Api<Secret> = Api::namespaced(space.client.clone(), HOME);
    let is_there = |secret: &Secret| !text(secret, "tls.crt").is_empty();
    crate::space::when_in(&home, &name, "is there", is_there).await
}

/// Whoever serves with a certificate of its own has one then.
pub(crate) async fn identity_of_the_operator(space: &Space) {
    let home: Api<Secret> = Api::namespaced(space.client.clone(), HOME);
    let is_there = |secret: &Secret| secret.data.is_some();
    crate::space::when_in(&home, "countersign-countersign-operator", "is there", is_there).await;
}

/// A stream of somebody who is of no pod.
pub(crate) async fn stream(space: &Space) -> Stream {
    identity_of_the_operator(space).await;
    let credentials = credentials(space, "asker").await;
    let opening = Stream::open(space.world.discovery(), Some(&credentials), "");
    within(opening).await.expect("discovery lets a workload in")
}

pub(crate) async fn within<T>(doing: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(PATIENCE, doing).await.context("in vain")?
}

/// A pod that runs, as far as the API tells.
pub(crate) async fn pod(
    space: &Space,
    name: &str,
    ip: &str,
    is_injected: bool,
    skipped: &str,
) -> Pod {
    let label = if is_injected { "countersign.dev/injected" } else { "other" };
    let container = json!({ "name": "app", "image": "app:1" });
    let redirect = json!({ "name": "countersign-redirect", "image": "app:1",
        "command": ["redirect", "--skip-inbound", skipped] });
    let sidecar =
        json!({ "name": "countersign-sidecar", "image": "app:1", "restartPolicy": "Always" });
    let inits = if is_injected { json!([redirect, sidecar]) } else { json!([]) };
    let made = space.make::<Pod>(name, json!({
        "metadata": { "labels": { label: "true" } },
        "spec": { "initContainers": inits, "containers": [container], "serviceAccountName": "web", "automountServiceAccountToken": false },
    }));
    made.await;
    let status = json!({ "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }] } });
    let api: Api<Pod> = space.api();
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.expect("a status")
}

/// A Service, and the addresses of its endpoints.
pub(crate) async fn service(space: &Space, pods: &[&Pod]) -> String {
    let spec = json!({ "spec": { "ports": [{ "name": "http", "port": 80 }] } });
    let service: Service = space.make("web", spec).await;
    slice(space, pods).await;
    service.spec.unwrap().cluster_ip.unwrap()
}

async fn slice(space: &Space, pods: &[&Pod]) {
    let endpoint = |pod: &&Pod| {
        let ip = pod.status.as_ref().unwrap().pod_ips.as_ref().unwrap()[0].ip.clone();
        let target = json!({ "kind": "Pod", "namespace": space.namespace, "name": pod.name_any(), "uid": pod.uid() });
        json!({ "addresses": [ip], "conditions": { "ready": true }, "targetRef": target })
    };
    let endpoints: Vec<Value> = pods.iter().map(endpoint).collect();
    space.make::<EndpointSlice>("web-1", json!({
        "metadata": { "labels": { "kubernetes.io/service-name": "web" } },
        "addressType": "IPv4", "ports": [{ "name": "http", "port": 8080 }], "endpoints": endpoints,
    })).await;
}

pub(crate) async fn account(space: &Space) {
    space.make::<ServiceAccount>("web", json!({})).await;
}

/// Addresses that no other test uses.
pub(crate) fn ip(space: &Space, place: u8) -> String {
    let number: u8 = space.namespace.trim_start_matches("test-").parse().unwrap();
    format!("10.77.{number}.{place}")
}

pub(crate) fn endpoints(answer: &Answer) -> Vec<(String, bool)> {
    let is_mutual = |protocol: i32| protocol == i32::from(Protocol::Mutual);
    answer.endpoints.iter().map(|e| (e.address.clone(), is_mutual(e.protocol))).collect()
}

pub(crate) async fn a_service_is_answered_and_each_change_of_it_is_told(space: Space) {
    let mut stream = stream(&space).await;
    account(&space).await;
    let meshed = pod(&space, "meshed", &ip(&space, 1), true, "").await;
    let plain = pod(&space, "plain", &ip(&space, 2), false, "").await;
    let to = format!("{}:80", service(&space, &[&meshed, &plain]).await);
    within(stream.follow(std::slice::from_ref(&to))).await.unwrap();
    let both =
        [(format!("{}:8080", ip(&space, 1)), true), (format!("{}:8080", ip(&space, 2)), false)];
    let answer = within(stream.until(&to, |answer| endpoints(answer) == both)).await.unwrap();
    assert_eq!(answer.kind(), Kind::Service);
    assert_eq!(answer.name, format!("Service {}/web", space.namespace));
    let id = format!("spiffe://cluster.local/ns/{}/sa/web", space.namespace);
    assert_eq!(answer.endpoints[0].identity, id);
    // One goes, another comes.
    let other = pod(&space, "other", &ip(&space, 3), true, "").await;
    slice(&space, &[&other]).await;
    let others = [(format!("{}:8080", ip(&space, 3)), true)];
    within(stream.until(&to, |answer| endpoints(answer) == others)).await.unwrap();
    // The whole Service goes: nobody answers at its address, and it is not outside of the mesh.
    let api: Api<Service> = space.api();
    api.delete("web", &DeleteParams::default()).await.unwrap();
    let is_nobodys =
        |answer: &Answer| answer.kind() == Kind::Service && answer.endpoints.is_empty();
    within(stream.until(&to, is_nobodys)).await.unwrap();
}

pub(crate) async fn a_pod_is_answered_by_its_own_address_for_as_long_as_it_has_it(space: Space) {
    let mut stream = stream(&space).await;
    account(&space).await;
    let ip = ip(&space, 1);
    let [app, metrics] = [8080, 9090].map(|port| format!("{ip}:{port}"));
    within(stream.follow(&[app.clone(), metrics.clone()])).await.unwrap();
    within(stream.until(&app, |answer| answer.kind() == Kind::Outside)).await.unwrap();
    pod(&space, "web", &ip, true, "9090").await;
    let is_mutual = |answer: &Answer| endpoints(answer).iter().all(|(_, is_mutual)| *is_mutual);
    let is_pod = |answer: &Answer| answer.kind() == Kind::Pod;
    let answer = within(stream.until(&app, is_pod)).await.unwrap();
    assert!(is_mutual(&answer));
    let answer = within(stream.until(&metrics, is_pod)).await.unwrap();
    assert!(!is_mutual(&answer), "a port that the pod leaves as it is");
    let ended = json!({ "status": { "phase": "Succeeded" } });
    let api: Api<Pod> = space.api();
    api.patch_status("web", &PatchParams::default(), &Patch::Merge(&ended)).await.unwrap();
    within(stream.until(&app, |answer| answer.kind() == Kind::Outside)).await.unwrap();
}

pub(crate) async fn an_address_for_pods_is_outside_only_once_it_was_asked_whose_it_is(
    space: Space,
) {
    let net = ip(&space, 0).replace("10.77.", "10.78.").trim_end_matches('0').to_owned();
    let (range, host) = (format!("{net}0/24"), |place: u8| format!("{net}{place}"));
    let at = |place: u8| format!("{}:8080", host(place));
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": space.namespace },
        "spec": { "podCIDR": range, "podCIDRs": [range] } });
    let nodes: Api<Node> = Api::all(space.client.clone());
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let mut stream = stream(&space).await;
    account(&space).await;
    pod(&space, "plain", &host(2), false, "").await;
    pod(&space, "web", &host(1), true, "").await;
    within(stream.follow(&[at(1), at(2), at(3)])).await.unwrap();
    let is_pod = |answer: &Answer| answer.kind() == Kind::Pod && !answer.endpoints.is_empty();
    within(stream.until(&at(1), is_pod)).await.unwrap();
    let is_outside = |answer: &Answer| answer.kind() == Kind::Outside;
    // A pod of no Service that has no sidecar, and nobody.
    within(stream.until(&at(2), is_outside)).await.unwrap();
    within(stream.until(&at(3), is_outside)).await.unwrap();
    // Whoever has the address next may be in the mesh: until that is known, nobody is called.
    let ended = json!({ "status": { "phase": "Succeeded" } });
    let api: Api<Pod> = space.api();
    api.patch_status("web", &PatchParams::default(), &Patch::Merge(&ended)).await.unwrap();
    let is_nobodys = |answer: &Answer| answer.name == "no pod" && answer.endpoints.is_empty();
    within(stream.until(&at(1), is_nobodys)).await.unwrap();
    within(stream.until(&at(1), is_outside)).await.unwrap();
    nodes.delete(&space.namespace, &DeleteParams::default()).await.unwrap();
}

pub(crate) async fn nobody_is_answered_who_is_no_workload_of_ours(space: Space) {
    let mut known = stream(&space).await;
    within(known.follow(&["192.0.2.1:443".to_owned()])).await.unwrap();
    within(known.until("192.0.2.1:443", |answer| answer.kind() == Kind::Outside)).await.unwrap();
    let address = space.world.discovery();
    let asked = async |credentials: &Credentials, pod: &str| {
        let mut stream = within(Stream::open(address, Some(credentials), pod)).await?;
        // Where it has ended already, the operator's word about it comes next.
        drop(within(stream.follow(&["192.0.2.1:443".to_owned()])).await);
        within(stream.next()).await
    };
    // Certificates of other authorities, none of a workload, and a pod of another account.
    let good = credentials(&space, "asker").await;
    space.authority().await;
    space.certificate("foreign", json!({ "uris": ["spiffe://cluster.local/ns/a/sa/b"] })).await;
    let foreign = space.secret("foreign").await;
    let foreign = Credentials {
        chain: text(&foreign, "tls.crt").to_vec(),
        key: text(&foreign, "tls.key").to_vec(),
        roots: good.roots.clone(),
    };
    assert!(asked(&foreign, "").await.is_err(), "a foreign authority");
    // The issuer of identities signs other names in the operator's own namespace only.
    let laptop = signed_at_home(&space, "laptop").await;
    let laptop = Credentials {
        chain: text(&laptop, "tls.crt").to_vec(),
        key: text(&laptop, "tls.key").to_vec(),
        roots: good.roots.clone(),
    };
    assert!(asked(&laptop, "").await.is_err(), "no workload");
    account(&space).await;
    pod(&space, "web", &ip(&space, 1), true, "").await;
    let refused = asked(&good, "web").await.unwrap_err().to_string();
    assert!(refused.contains("no injected pod"), "{refused}");
    let web = credentials(&space, "web").await;
    // The watch has the pod a moment later.
    within(async {
        while asked(&web, "web").await.is_err() {}
        Ok(())
    })
    .await
    .unwrap();
}

pub(crate) async fn what_is_no_address_ends_the_stream_with_a_word_about_it(space: Space) {
    let mut stream = stream(&space).await;
    within(stream.follow(&["web.shop:80".to_owned()])).await.unwrap();
    let refused = within(stream.next()).await.unwrap_err().to_string();
    assert!(refused.contains("not IP:PORT"), "{refused}");
}

pub(crate) async fn one_workload_leaves_others_their_places(space: Space) {
    identity_of_the_operator(&space).await;
    let [greedy, other] = [credentials(&space, "greedy").await, credentials(&space, "other").await];
    let open = async |credentials| {
        within(Stream::open(space.world.discovery(), Some(credentials), "")).await
    };
    let refused = "countersign_discovery_refused_total{reason=\"caller_full\"}";
    let mut held = Vec::new();
    // As often as it takes, since another test may have the operator restarted.
    let until_refused = async {
        while !space.world.metrics().contains(refused) {
            held.extend(open(&greedy).await);
        }
        Ok(())
    };
    within(until_refused).await.unwrap();
    open(&other).await.expect("another workload is let in");
    // Once they have ended there are places again.
    held.clear();
    let comes_back = async {
        while open(&greedy).await.is_err() {
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    within(comes_back).await.unwrap();
}
