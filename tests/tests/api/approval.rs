//! Who may approve a CertificateRequest, and in whose name one is made: the policies of the chart.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_crds::CertificateRequest;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::chart;
use crate::issuer_kinds::published;
use crate::requests::{openssl_csr, request};
use crate::rights::{Right, may, until_may};
use crate::space::{Space, make_in};

/// Longer than the API server takes to take up a policy.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the part of the operator runs as that issues certificates.
pub(crate) const OPERATOR: &str = "system:serviceaccount:countersign-system:countersign-controller";

/// What the part runs as that serves pods and publishes policies.
pub(crate) const FRONT: &str = "system:serviceaccount:countersign-system:countersign-operator";

/// Anything of our API, anywhere.
const OURS: Right<'static> =
    Right { verb: "", group: "countersign.dev", resource: "", namespace: "", name: "" };

/// Applies the chart's policies and the operator's rights.
pub(crate) async fn install(space: &Space) {
    published(space, "StepIssuer.example.org", "stepissuers/Namespaced").await;
    let templates = [
        "policy-access",
        "policy-annotations",
        "policy-approval",
        "policy-external-approval",
        "policy-operator",
        "policy-requester",
        "rbac",
        "rbac-features",
        "rbac-users",
    ];
    chart::apply(space, &chart::rendered(space, &templates, &["caInjection.enabled=true"]));
    // The last of what was applied.
    let name = "issuers.countersign.dev/*";
    let right = Right { verb: "approve", resource: "signers", name, ..OURS };
    until_may(space, OPERATOR, right).await;
}

/// Somebody with these rights; their name carries the test's.
pub(crate) async fn user(space: &Space, name: &str, rules: Value) -> String {
    let name = format!("{name}-{}", space.namespace);
    let all = json!({ "apiGroups": ["countersign.dev"], "verbs": ["*"],
        "resources": ["certificaterequests", "certificaterequests/status"] });
    let mut every = vec![all];
    every.extend(rules.as_array().unwrap().iter().cloned());
    let roles: Api<ClusterRole> = Api::all(space.client.clone());
    make_in(&roles, &name, json!({ "rules": every })).await;
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": name },
        "subjects": [{ "apiGroup": group, "kind": "User", "name": name }],
    });
    let bindings: Api<ClusterRoleBinding> = Api::all(space.client.clone());
    make_in(&bindings, &name, binding).await;
    let last = every.last().unwrap();
    let first = |field: &str| last[field][0].as_str().unwrap_or_default().to_owned();
    let (verb, resource, named) = (first("verbs"), first("resources"), first("resourceNames"));
    let verb = if verb == "*" { "create" } else { verb.as_str() };
    let right = Right { verb, resource: &resource, name: &named, ..OURS };
    until_may(space, &name, right).await;
    name
}

/// The right to approve for these signers.
pub(crate) fn approves(signers: &[&str]) -> Value {
    json!([{ "apiGroups": ["countersign.dev"], "resources": ["signers"],
        "resourceNames": signers, "verbs": ["approve"] }])
}

pub(crate) fn of(space: &Space, client: Client) -> Api<CertificateRequest> {
    Api::namespaced(client, &space.namespace)
}

/// A request to an issuer of others, so that nobody here decides about it.
pub(crate) fn asking(space: &Space, name: &str, kind: &str) -> CertificateRequest {
    let mut object = request(openssl_csr(space, "laptop.test"));
    object["spec"]["issuerRef"] = json!({ "name": "press", "kind": kind, "group": "example.org" });
    object["apiVersion"] = "countersign.dev/v1".into();
    object["kind"] = "CertificateRequest".into();
    object["metadata"] = json!({ "name": name });
    serde_json::from_value(object).unwrap()
}

pub(crate) async fn made(space: &Space, name: &str, kind: &str) {
    let made = asking(space, name, kind);
    of(space, space.client.clone()).create(&PostParams::default(), &made).await.unwrap();
}

pub(crate) fn condition(type_: &str, status: &str, reason: &str) -> Value {
    json!({ "type": type_, "status": status, "reason": reason, "message": "" })
}

/// Writes all conditions of a request anew.
pub(crate) async fn say(
    api: &Api<CertificateRequest>,
    name: &str,
    conditions: Value,
) -> Result<(), String> {
    let patch = json!({ "status": { "conditions": conditions } });
    let said = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    said.map(|_| ()).map_err(|error| error.to_string())
}

/// Tries until it is refused: a policy that was just installed takes a moment.
pub(crate) async fn refused<T>(
    what: &str,
    mut attempt: impl AsyncFnMut(u32) -> Result<T, String>,
) -> String {
    let trying = async {
        for time in 0.. {
            if let Err(refusal) = attempt(time).await {
                return refusal;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        unreachable!("it tries for ever")
    };
    let refused = tokio::time::timeout(PATIENCE, trying).await;
    refused.unwrap_or_else(|_| panic!("{what} is never refused"))
}

/// Waits until the policies hold.
pub(crate) async fn installed(space: &Space) -> String {
    install(space).await;
    let user = user(space, "nobody", json!([])).await;
    let api = of(space, space.world.client_of(&user));
    let approved = refused("an approval without the right", async |time| {
        let name = format!("probe-{time}");
        made(space, &name, "Issuer").await;
        say(&api, &name, json!([condition("Approved", "True", "Test")])).await
    })
    .await;
    assert!(approved.contains("approve"), "{approved}");
    refused("a forged name", async |time| {
        let mut forged = asking(space, &format!("forged-{time}"), "Issuer");
        forged.spec.username = Some("somebody-else".to_owned());
        let tried = api.create(&PostParams::default(), &forged).await;
        tried.map_err(|error| error.to_string())
    })
    .await;
    user
}

pub(crate) fn has(all: &str, parts: &[&str]) {
    for part in parts {
        assert!(all.contains(part), "{part} is not in: {all}");
    }
}

pub(crate) async fn nobody_decides_without_the_right_and_is_told_which_one(space: Space) {
    let nobody = installed(&space).await;
    let api = of(&space, space.world.client_of(&nobody));
    let own = format!("issuers.example.org/{}.press", space.namespace);
    for (name, kind, signer, all) in [
        ("one", "Issuer", own.as_str(), "issuers.example.org/*"),
        (
            "two",
            "ClusterIssuer",
            "clusterissuers.example.org/press",
            "clusterissuers.example.org/*",
        ),
    ] {
        made(&space, name, kind).await;
        let someone_elses = ["issuers.example.org/default.press", "clusterissuers.example.org/ink"];
        let close = user(&space, &format!("close-{name}"), approves(&someone_elses)).await;
        for (user, type_) in [(&nobody, "Approved"), (&nobody, "Denied"), (&close, "Approved")] {
            let api = of(&space, space.world.client_of(user));
            let said = say(&api, name, json!([condition(type_, "True", "Test")])).await;
            has(
                &said.unwrap_err(),
                &[user, "verb approve", "signers.countersign.dev", signer, all],
            );
        }
        // What is no decision needs no such right.
        say(&api, name, json!([condition("Ready", "False", "Pending")])).await.unwrap();
        let exact = user(&space, &format!("exact-{name}"), approves(&[signer])).await;
        let exact = of(&space, space.world.client_of(&exact));
        say(&exact, name, json!([condition("Approved", "True", "Test")])).await.unwrap();
        let another = format!("another-{name}");
        made(&space, &another, kind).await;
        let every = user(&space, &format!("every-{name}"), approves(&[all])).await;
        let every = of(&space, space.world.client_of(&every));
        say(&every, &another, json!([condition("Denied", "True", "Test")])).await.unwrap();
    }
}

pub(crate) async fn an_approval_is_true_and_alone_and_stays(space: Space) {
    let nobody = installed(&space).await;
    let approver = user(&space, "approver", approves(&["issuers.example.org/*"])).await;
    let api = of(&space, space.world.client_of(&approver));
    made(&space, "web", "Issuer").await;
    let approved = || condition("Approved", "True", "Test");
    let cases = [
        (json!([condition("Approved", "False", "Test")]), "can only be True"),
        (json!([condition("Denied", "Unknown", "Test")]), "can only be True"),
        (json!([approved(), condition("Denied", "True", "Test")]), "never both"),
    ];
    for (conditions, why) in cases {
        has(&say(&api, "web", conditions).await.unwrap_err(), &[why]);
    }
    say(&api, "web", json!([approved()])).await.unwrap();
    let ready = || condition("Ready", "False", "Pending");
    let cases = [
        json!([]),
        json!([condition("Approved", "True", "Another")]),
        json!([condition("Denied", "True", "Test")]),
        json!([approved(), condition("Denied", "True", "Test")]),
    ];
    for conditions in cases {
        let refusal = say(&api, "web", conditions.clone()).await.unwrap_err();
        assert!(refusal.contains("never"), "{conditions}: {refusal}");
    }
    let nobody = of(&space, space.world.client_of(&nobody));
    say(&nobody, "web", json!([ready(), approved()])).await.unwrap();
}

pub(crate) async fn a_forged_requester_is_refused_and_an_honest_one_is_stamped(space: Space) {
    let user = installed(&space).await;
    let api = of(&space, space.world.client_of(&user));
    type Change = fn(&mut CertificateRequest);
    let cases: [(&str, Change, &str); 4] = [
        (
            "name",
            |it| it.spec.username = Some("admin".to_owned()),
            "spec.username must be your own",
        ),
        ("uid", |it| it.spec.uid = Some("1".to_owned()), "spec.uid must be your own"),
        (
            "groups",
            |it| it.spec.groups = vec!["system:masters".to_owned()],
            "spec.groups must be your own",
        ),
        (
            "extra",
            |it| it.spec.extra = [("a".to_owned(), vec!["b".to_owned()])].into(),
            "spec.extra must be your own",
        ),
    ];
    for (name, change, why) in cases {
        let mut forged = asking(&space, name, "Issuer");
        change(&mut forged);
        let refusal = api.create(&PostParams::default(), &forged).await.unwrap_err().to_string();
        has(&refusal, &[why]);
    }
    let mut honest = asking(&space, "honest", "Issuer");
    honest.spec.username = Some(user.clone());
    let given = api.create(&PostParams::default(), &honest).await.unwrap();
    assert_eq!(given.spec.username.as_ref(), Some(&user));
    assert_eq!(given.spec.groups, ["system:authenticated"]);
    // Applied twice, as everybody does: what was filled in is no change of the spec.
    let silent = json!(asking(&space, "silent", "Issuer"));
    for _ in 0..2 {
        let parameters = PatchParams::apply("a-user").force();
        let made = api.patch("silent", &parameters, &Patch::Apply(&silent)).await.unwrap();
        assert_eq!(made.spec.username.as_ref(), Some(&user));
        assert_eq!(made.spec.groups, ["system:authenticated"]);
        assert!(made.spec.uid.is_none() && made.spec.extra.is_empty());
    }
}

pub(crate) async fn all_that_is_known_of_a_requester_is_stamped(space: Space) {
    let user = installed(&space).await;
    let groups = ["printers", "system:authenticated"].map(str::to_owned);
    let extra = [("example.org/press".to_owned(), vec!["one".to_owned(), "two".to_owned()])];
    let client = space.world.client_with(|who| {
        who.impersonate = Some(user.clone());
        who.impersonate_uid = Some("a-uid".to_owned());
        who.impersonate_groups = Some(groups.to_vec());
        who.impersonate_user_extra = Some(extra.clone().into());
    });
    let api = of(&space, client);
    let mut other_order = asking(&space, "other-order", "Issuer");
    other_order.spec.groups = groups.iter().rev().cloned().collect();
    (other_order.spec.uid, other_order.spec.extra) =
        (Some("a-uid".to_owned()), extra.clone().into());
    for asked in [asking(&space, "silent", "Issuer"), other_order] {
        let made = api.create(&PostParams::default(), &asked).await.unwrap();
        assert_eq!(made.spec.username.as_ref(), Some(&user));
        assert_eq!(made.spec.uid.as_deref(), Some("a-uid"));
        let told: BTreeSet<_> = made.spec.groups.iter().collect();
        assert_eq!(told, groups.iter().collect());
        assert_eq!(made.spec.extra, extra.clone().into());
    }
    let mut some = asking(&space, "some-groups", "Issuer");
    some.spec.groups = vec!["printers".to_owned()];
    let refusal = api.create(&PostParams::default(), &some).await.unwrap_err().to_string();
    has(&refusal, &["spec.groups must be your own"]);
}

pub(crate) async fn the_operator_may_approve_for_its_own_issuers_only(space: Space) {
    installed(&space).await;
    let api = of(&space, space.world.client_of(OPERATOR));
    let approved = || json!([condition("Approved", "True", "Test")]);
    made(&space, "others", "Issuer").await;
    let refusal = say(&api, "others", approved()).await.unwrap_err();
    has(&refusal, &[OPERATOR, "issuers.example.org"]);
    for kind in ["Issuer", "ClusterIssuer"] {
        // Not signed, hence not approved, by the operator that runs here with all rights.
        let mut own = request(b"garbage".to_vec());
        own["spec"]["issuerRef"] = json!({ "name": "ca", "kind": kind });
        let name = kind.to_lowercase();
        space.make::<CertificateRequest>(&name, own).await;
        let is_refused = |request: &CertificateRequest| {
            let conditions = request.status.iter().flat_map(|status| &status.conditions);
            conditions.map(|it| it.type_.as_str()).any(|type_| type_ == "InvalidRequest")
        };
        space.when(&name, "is refused", is_refused).await;
        say(&api, &name, approved()).await.unwrap();
    }
}

pub(crate) async fn the_operator_may_sign_for_its_own_issuers_only(space: Space) {
    install(&space).await;
    let operator: Api<CertificateSigningRequest> = Api::all(space.world.client_of(OPERATOR));
    let admin: Api<CertificateSigningRequest> = Api::all(space.client.clone());
    let csr = ByteString(openssl_csr(&space, "laptop.test"));
    let cases = [
        ("issuers.countersign.dev/nowhere.ca", true),
        ("clusterissuers.countersign.dev/nobody", true),
        ("issuers.example.org/nowhere.ca", false),
        ("kubernetes.io/kube-apiserver-client", false),
    ];
    for (place, (signer, may)) in cases.into_iter().enumerate() {
        let name = format!("{}-{place}", space.namespace);
        let spec = json!({ "request": csr, "signerName": signer, "usages": ["client auth"] });
        let asked = json!({ "metadata": { "name": name }, "spec": spec });
        let asked = serde_json::from_value(asked).unwrap();
        admin.create(&PostParams::default(), &asked).await.unwrap();
        let status = json!({ "status": { "conditions": [condition("Failed", "True", "Test")] } });
        let patch = Patch::Merge(status);
        let written = operator.patch_status(&name, &PatchParams::default(), &patch).await;
        assert_eq!(written.is_ok(), may, "{signer}: {written:?}");
        let approval = operator.patch_approval(&name, &PatchParams::default(), &patch).await;
        assert!(approval.is_err(), "it approves none: {signer}");
        admin.delete(&name, &DeleteParams::default()).await.unwrap();
    }
}

pub(crate) async fn the_operator_may_fill_every_bundle_and_make_none(space: Space) {
    install(&space).await;
    let kinds = [
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
        ("apiregistration.k8s.io", "apiservices"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
    ];
    for (group, resource) in kinds {
        for verb in ["get", "list", "watch", "patch"] {
            let right = Right { verb, group, resource, ..OURS };
            until_may(&space, OPERATOR, right).await;
        }
        for verb in ["create", "delete", "update"] {
            let right = Right { verb, group, resource, ..OURS };
            assert!(!may(&space.client, OPERATOR, right).await, "{right:?}");
        }
    }
}

pub(crate) async fn who_edits_may_renew_and_not_approve(space: Space) {
    install(&space).await;
    for role in ["view", "edit"] {
        let user = format!("{role}-{}", space.namespace);
        let group = "rbac.authorization.k8s.io";
        let binding = json!({
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": format!("countersign-{role}") },
            "subjects": [{ "apiGroup": group, "kind": "User", "name": user }],
        });
        space.make::<RoleBinding>(role, binding).await;
        let verb = if role == "edit" { "create" } else { "list" };
        let namespace = space.namespace.as_str();
        let right = Right { verb, resource: "issuers", namespace, ..OURS };
        until_may(&space, &user, right).await;
    }
    // Whether those who edit may, and those who view.
    let cases = [
        ("list", "certificates", false, true),
        ("create", "certificates", true, false),
        ("patch", "certificates", true, false),
        ("patch", "certificates/status", false, false),
        ("delete", "certificaterequests", true, false),
        ("patch", "certificaterequests/status", false, false),
        ("approve", "signers", false, false),
        ("list", "accesspolicies", false, true),
        ("create", "accesspolicies", true, false),
        ("patch", "accesspolicies/status", false, false),
        ("publish", "accesspolicies", false, false),
        ("create", "clusterissuers", false, false),
    ];
    for (verb, resource, edits, views) in cases {
        let right = Right { verb, resource, namespace: &space.namespace, ..OURS };
        for (role, expected) in [("edit", edits), ("view", views)] {
            let user = format!("{role}-{}", space.namespace);
            assert_eq!(may(&space.client, &user, right).await, expected, "{role}: {right:?}");
        }
    }
}
