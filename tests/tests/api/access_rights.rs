//! Who may write what sidecars enforce: the policy of the chart.

use countersign_contract::names::{POLICIES_FILE, POLICY_CONFIG_MAP};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::access::{document, policy};
use crate::approval::{FRONT, has, install, refused, user};
use crate::rights::{Right, until_may};
use crate::space::Space;

/// Whether somebody may change it.
async fn change(maps: &Api<ConfigMap>, patch: Value) -> Result<(), String> {
    let parameters = PatchParams::default();
    let changed = maps.patch(POLICY_CONFIG_MAP, &parameters, &Patch::Merge(&patch)).await;
    changed.map(|_| ()).map_err(|error| error.to_string())
}

fn open() -> Value {
    json!({ "data": { POLICIES_FILE: r#"{"revision":"open","defaultAllow":[]}"# } })
}

/// Somebody with every right in the namespace, and with every right to ConfigMaps anywhere.
async fn editor(space: &Space) -> String {
    let configmaps = json!({ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"] });
    let policies = json!({ "apiGroups": ["countersign.dev"], "resources": ["accesspolicies"], "verbs": ["create"] });
    let user = user(space, "editor", json!([configmaps, policies])).await;
    let group = "rbac.authorization.k8s.io";
    let everything = json!({
        "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "apiGroup": group, "kind": "User", "name": user }],
    });
    space.make::<RoleBinding>("everything", everything).await;
    let namespace = space.namespace.as_str();
    let right = Right {
        verb: "publish",
        group: "countersign.dev",
        resource: "accesspolicies",
        namespace,
        name: "",
    };
    until_may(space, &user, right).await;
    user
}

pub(crate) async fn nobody_but_the_operator_writes_what_sidecars_enforce(space: Space) {
    install(&space).await;
    policy(&space, "web", json!({})).await;
    let is_there = |map: &ConfigMap| document(map).is_some_and(|it| !it.policies.is_empty());
    space.when(POLICY_CONFIG_MAP, "is there", is_there).await;
    let user = editor(&space).await;
    let maps: Api<ConfigMap> = Api::namespaced(space.world.client_of(&user), &space.namespace);
    let said = refused("a change", async |_| change(&maps, open()).await).await;
    has(&said, &[&user, "countersign-policy", "verb publish"]);
    space.when(POLICY_CONFIG_MAP, "is as it was", is_there).await;
    let frozen = change(&maps, json!({ "immutable": true })).await;
    has(&frozen.unwrap_err(), &["verb publish"]);
    // Whoever collects garbage changes finalizers, and whoever ends a namespace deletes.
    change(&maps, json!({ "metadata": { "finalizers": ["example.org/hold"] } })).await.unwrap();
    change(&maps, json!({ "metadata": { "finalizers": null } })).await.unwrap();
    let before = maps.get(POLICY_CONFIG_MAP).await.unwrap().uid();
    maps.delete(POLICY_CONFIG_MAP, &DeleteParams::default()).await.unwrap();
    let is_new = |map: &ConfigMap| map.uid() != before;
    space.when(POLICY_CONFIG_MAP, "came back", is_new).await;
    let elsewhere = Space::new(&space.world, "one that has none").await;
    let theirs: Api<ConfigMap> =
        Api::namespaced(space.world.client_of(&user), &elsewhere.namespace);
    for (name, may) in [(POLICY_CONFIG_MAP, false), ("another", true)] {
        let mut map = open();
        map["metadata"] = json!({ "name": name });
        let map = serde_json::from_value(map).unwrap();
        let made = theirs.create(&PostParams::default(), &map).await;
        assert_eq!(made.is_ok(), may, "{made:?}");
    }
    let operators: Api<ConfigMap> = Api::namespaced(space.world.client_of(FRONT), &space.namespace);
    change(&operators, json!({ "data": { "another": "key" } })).await.unwrap();
    let other = operators.patch("other", &PatchParams::default(), &Patch::Merge(open())).await;
    assert!(other.is_err(), "it may change no other");
}
