//! Two replicas: what sidecars tell one of them, the other one knows, which leads.

use countersign_contract::discovery::{Denial, Report, Request, Told};
use countersign_crds::AccessPolicy;
use countersign_tests::mesh::{self, Credentials, Stream};
use serde_json::json;

use crate::access::{document_when, names, policy};
use crate::discovery::{account, credentials, identity_of_the_operator, ip, pod, within};
use crate::space::Space;
use crate::world::Follower;

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
