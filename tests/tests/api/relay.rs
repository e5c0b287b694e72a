//! Two replicas: what sidecars tell one of them, the other one knows, which leads.

use countersign_contract::discovery::{Denial, Report, Request, Told};
use countersign_crds::AccessPolicy;
use countersign_tests::mesh::{self, Credentials, Stream};
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::access::{document_when, names, policy};
use crate::discovery::{account, credentials, identity_of_the_operator, ip, pod, within};
use crate::space::{Space, make_in};
use crate::world::{FOLLOWER, Follower, HOME, LEADER};

/// A sidecar at a replica, once that has seen its pod.
async fn sidecar(follower: &Follower, credentials: &Credentials, report: &Report) -> Stream {
    let reporting = async || {
        let mut stream = Stream::open(follower.discovery, Some(credentials), "web").await?;
        let follow = vec!["192.0.2.1:443".to_owned()];
        let report = Some(report.clone());
        stream.send(Request { report, follow, ..Request::default() }).await?;
        stream.next().await?;
        anyhow::Ok(stream)
    };
    within(async {
        loop {
            if let Ok(stream) = reporting().await {
                return Ok(stream);
            }
        }
    })
    .await
    .unwrap()
}

/// Waits until so many pods follow the policy.
async fn in_force(space: &Space, pods: i64) {
    let are = |policy: &AccessPolicy| {
        policy.status.as_ref().is_some_and(|status| status.in_force_pods == pods)
    };
    space.when("web", &format!("is in force on {pods}"), are).await;
}

pub(crate) async fn what_sidecars_tell_one_replica_the_leader_counts_until_that_one_or_they_end(
    space: Space,
) {
    identity_of_the_operator(&space).await;
    account(&space).await;
    pod(&space, "web", &ip(&space, 1), true, "").await;
    policy(&space, "web", json!({})).await;
    let policy_revision =
        document_when(&space, "is there", |it| names(it) == ["web"]).await.revision;
    let report = Report { policy_revision, denials: vec![] };
    let credentials = credentials(&space, "web").await;
    let follower = space.world.follower().await;
    let mut stream = sidecar(&follower, &credentials, &report).await;
    in_force(&space, 1).await;
    let denial = Denial {
        peer: "spiffe://cluster.local/ns/desk/sa/till".to_owned(),
        port: 80,
        policies: vec!["web".to_owned()],
        count: 3,
        audited: false,
    };
    let refused = Some(Report { denials: vec![denial.clone()], ..report.clone() });
    within(stream.send(Request { report: refused, ..Request::default() })).await.unwrap();
    let tells = |policy: &AccessPolicy| {
        let told = policy.status.iter().flat_map(|status| &status.recent_denials);
        told.into_iter().any(|told| told.peer == denial.peer && told.count >= 3)
    };
    space.when("web", "tells of the denial", tells).await;
    drop(stream);
    in_force(&space, 0).await;
    let _stream = sidecar(&follower, &credentials, &report).await;
    in_force(&space, 1).await;
    drop(follower);
    in_force(&space, 0).await;
}

/// Has the operator find its replicas behind discovery's Service.
async fn replicas(space: &Space, pods: &[&str]) {
    let endpoints = pods.iter().enumerate().map(|(place, pod)| {
        let target = json!({ "kind": "Pod", "namespace": HOME, "name": pod, "uid": pod });
        json!({ "addresses": [format!("10.99.0.{}", place + 1)], "targetRef": target })
    });
    let slice = json!({
        "metadata": { "labels": { "kubernetes.io/service-name": "countersign-discovery" } },
        "addressType": "IPv4", "endpoints": endpoints.collect::<Vec<_>>(),
    });
    let home: Api<EndpointSlice> = Api::namespaced(space.client.clone(), HOME);
    make_in(&home, "replicas", slice).await;
}

/// An injected pod whose sidecar runs and asks discovery, as far as the API tells.
async fn asking(space: &Space, name: &str, place: u8) {
    let sidecar = json!({ "name": "countersign-sidecar", "image": "app:1", "restartPolicy": "Always",
        "command": ["/countersign-sidecar", "pod", "--discovery", "discovery:14142"] });
    let spec = json!({ "initContainers": [sidecar], "serviceAccountName": "web",
        "containers": [{ "name": "app", "image": "app:1" }], "automountServiceAccountToken": false });
    let labels = json!({ "labels": { "countersign.dev/injected": "true" } });
    space.make::<Pod>(name, json!({ "metadata": labels, "spec": spec })).await;
    let ip = ip(space, place);
    let running = json!({ "running": { "startedAt": "2026-01-01T00:00:00Z" } });
    let container = json!({ "name": "countersign-sidecar", "state": running, "ready": true,
        "image": "app:1", "imageID": "", "restartCount": 0 });
    let status = json!({ "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
        "initContainerStatuses": [container] } });
    let pods = space.api::<Pod>();
    let patched = pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await;
    patched.expect("a status");
}

pub(crate) async fn a_pod_that_no_replica_of_discovery_has_a_stream_of_is_told_so(space: Space) {
    identity_of_the_operator(&space).await;
    account(&space).await;
    let credentials = credentials(&space, "web").await;
    let follower = space.world.follower().await;
    asking(&space, "web", 1).await;
    let report = Report { policy_revision: "1".to_owned(), denials: vec![] };
    let _stream = sidecar(&follower, &credentials, &report).await;
    asking(&space, "mute", 2).await;
    replicas(&space, &[LEADER, FOLLOWER]).await;
    let is_it = |reason: &str| reason == "DiscoveryUnreached";
    space.event("mute", "that it reaches no discovery", is_it).await;
    let of_web = ListParams::default().fields("involvedObject.name=web,reason=DiscoveryUnreached");
    let told = space.api::<Event>().list(&of_web).await.expect("Events");
    assert!(told.items.is_empty(), "another replica has its stream: {told:?}");
    let home: Api<EndpointSlice> = Api::namespaced(space.client.clone(), HOME);
    home.delete("replicas", &DeleteParams::default()).await.expect("it goes");
}

pub(crate) async fn nobody_but_the_operator_relays(space: Space) {
    identity_of_the_operator(&space).await;
    let workload = credentials(&space, "web").await;
    let told = Told {
        namespace: space.namespace.clone(),
        pod: "web".to_owned(),
        report: Some(Report { policy_revision: "1".to_owned(), denials: vec![] }),
        gone: false,
    };
    let relaying = mesh::relay(space.world.discovery(), &workload, vec![told]);
    let refused = within(relaying).await.unwrap_err();
    assert!(format!("{refused:#}").contains("only the operator relays"), "{refused:#}");
}
