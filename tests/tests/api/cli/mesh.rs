//! Who a pod is, and why a call is allowed or refused.

use countersign_crds::{AccessPolicy, Certificate};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::{has, run};
use crate::discovery::{account, ip, pod};
use crate::space::Space;

/// An injected pod `web-0` of account `web`, once the operator knows of it and of its policy.
async fn stage(space: &Space) {
    account(space).await;
    pod(space, "web-0", &ip(space, 1), true, "9999").await;
    let spec = json!({
        "podSelector": {}, "allow": [{ "namespaces": ["desk"] }],
        "ports": [{ "port": 8443, "mode": "server" }],
    });
    space.make::<AccessPolicy>("web", json!({ "spec": spec })).await;
    let is_there = |_: &Certificate| true;
    space.when::<Certificate>("countersign-web", "is asked for", is_there).await;
    let is_compiled = |map: &ConfigMap| {
        let text = map.data.as_ref().and_then(|data| data.get("policies.json"));
        text.is_some_and(|text| text.contains("desk"))
    };
    space.when::<ConfigMap>("countersign-policy", "has the policy", is_compiled).await;
}

pub(crate) async fn who_a_pod_is_is_told_with_everybody_who_may_reach_it(space: Space) {
    stage(&space).await;
    let told = run(&space, &["who", "web-0"]).well();
    let id = format!("spiffe://cluster.local/ns/{}/sa/web", space.namespace);
    has(&told, &[&id, "Policies:", "namespace desk", "8443", "everybody"]);
    let json: Value = run(&space, &["who", "web-0", "-o", "json"]).json();
    assert_eq!(json["identity"], id.as_str());
    assert_eq!(json["policies"], json!(["web"]));
    let failed = run(&space, &["who", "nobody"]).failed();
    has(&failed, &["there is no Pod nobody"]);
    assert_eq!(run(&space, &["who", "a/b/c"]).code, Some(2));
}

pub(crate) async fn why_names_the_rule_that_allows_and_the_reason_that_refuses(space: Space) {
    stage(&space).await;
    let told = run(&space, &["why", "spiffe://cluster.local/ns/desk/sa/x", "web-0:80"]).well();
    has(&told, &["allowed:", "AccessPolicy web allows", "namespace desk"]);
    let refused = run(&space, &["why", "spiffe://cluster.local/ns/other/sa/x", "web-0:80"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    has(&refused.said, &["refused:", "no rule of AccessPolicy web", "peer_not_allowed"]);
    for (server, why) in [("web-0:8443", "customers"), ("web-0:9999", "as it is")] {
        has(&run(&space, &["why", "plaintext", server]).well(), &[why]);
    }
    let wrong = run(&space, &["why", "plaintext", "web-0"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

pub(crate) async fn edges_of_pods_that_cannot_be_asked_are_told(space: Space) {
    stage(&space).await;
    // No node runs this pod: nobody answers for it.
    let told = run(&space, &["edges"]).well();
    has(&told, &["nobody talked to anybody yet", "not asked:", "web-0"]);
    assert!(run(&space, &["edges", "-o", "dot"]).well().starts_with("digraph"));
    let wrong = run(&space, &["who", "web-0", "-o", "svg"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}
