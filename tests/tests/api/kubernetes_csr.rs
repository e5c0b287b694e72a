//! CertificateSigningRequests of Kubernetes.

use countersign_operator::pki::{CertificateFacts, Usage};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::requests::{openssl_csr, openssl_csr_with};
use crate::rights::{Right, until_may};
use crate::space::{Space, event_in, make_in, when_in};

type Requests = Api<CertificateSigningRequest>;

fn all(space: &Space) -> Requests {
    Api::all(space.client.clone())
}

/// Issuer `ca` of this namespace.
fn own(space: &Space) -> String {
    format!("issuers.countersign.dev/{}.ca", space.namespace)
}

/// A request of an administrator's, or of somebody else's; returns its name.
async fn ask(space: &Space, from: Client, name: &str, signer: &str, csr: Vec<u8>) -> String {
    let name = format!("{}-{name}", space.namespace);
    let object = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": { "name": name },
        "spec": { "request": ByteString(csr), "signerName": signer, "expirationSeconds": 3600,
            "usages": ["digital signature", "server auth"] },
    });
    let object = serde_json::from_value(object).unwrap();
    let requests: Requests = Api::all(from);
    requests.create(&PostParams::default(), &object).await.expect("it is accepted");
    name
}

/// Approves or denies, as `kubectl certificate` does.
async fn say(space: &Space, name: &str, type_: &str) {
    let condition = json!({ "type": type_, "status": "True", "reason": "Test", "message": "" });
    let patch = json!({ "status": { "conditions": [condition] } });
    let parameters = PatchParams::default();
    all(space).patch_approval(name, &parameters, &Patch::Merge(patch)).await.expect("said");
}

fn signed(request: &CertificateSigningRequest) -> Option<Vec<CertificateFacts>> {
    let chain = &request.status.as_ref()?.certificate.as_ref()?.0;
    Some(CertificateFacts::all_from_pem(chain).expect("a chain"))
}

fn failed(request: &CertificateSigningRequest) -> Option<&CertificateSigningRequestCondition> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Failed")
}

async fn when_signed(space: &Space, name: &str) -> Vec<CertificateFacts> {
    let done = when_in(&all(space), name, "is signed", |it| signed(it).is_some()).await;
    signed(&done).unwrap()
}

/// Waits until a request has failed, and returns why.
async fn when_failed(space: &Space, name: &str) -> (String, String) {
    let done = when_in(&all(space), name, "has failed", |it| failed(it).is_some()).await;
    assert!(signed(&done).is_none());
    let told = failed(&done).unwrap();
    let reason = told.reason.clone().unwrap_or_default();
    event_in(&events(space), name, "says why", |event| event == reason).await;
    (reason, told.message.clone().unwrap_or_default())
}

fn events(space: &Space) -> Api<Event> {
    Api::namespaced(space.client.clone(), "default")
}

async fn away(space: &Space, names: &[&str]) {
    for name in names {
        all(space).delete(name, &DeleteParams::default()).await.expect("it is deleted");
    }
}

pub(crate) async fn a_csr_is_signed_once_somebody_has_approved_it(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let csr = openssl_csr(&space, "laptop.test");
    let name = ask(&space, space.client.clone(), "laptop", &own(&space), csr).await;
    event_in(&events(&space), &name, "says that it waits", |it| it == "WaitingForApproval").await;
    assert!(signed(&all(&space).get(&name).await.unwrap()).is_none());
    say(&space, &name, "Approved").await;
    let chain = when_signed(&space, &name).await;
    let [leaf, intermediate] = chain.as_slice() else { panic!("{} in the chain", chain.len()) };
    assert!(leaf.verify_issued_by(intermediate));
    assert_eq!(leaf.says.dns_names, ["laptop.test"]);
    assert_eq!(leaf.says.common_name.as_deref(), Some("laptop"));
    assert_eq!(leaf.says.usages, [Usage::DigitalSignature, Usage::ServerAuth]);
    let validity = leaf.validity;
    let seconds = validity.not_after.as_second() - validity.not_before.as_second();
    assert_eq!(seconds, 3600, "as long as was asked for");
    event_in(&events(&space), &name, "says so", |it| it == "CertificateIssued").await;
    away(&space, &[&name]).await;
}

pub(crate) async fn a_csr_that_was_denied_is_never_signed(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let csr = openssl_csr(&space, "laptop.test");
    let denied = ask(&space, space.client.clone(), "denied", &own(&space), csr.clone()).await;
    say(&space, &denied, "Denied").await;
    let foreign = "example.org/press";
    let others = ask(&space, space.client.clone(), "others", foreign, csr.clone()).await;
    say(&space, &others, "Approved").await;
    // What comes later is signed: the others were looked at.
    let later = ask(&space, space.client.clone(), "later", &own(&space), csr).await;
    say(&space, &later, "Approved").await;
    when_signed(&space, &later).await;
    for name in [&denied, &others] {
        let found = all(&space).get(name).await.unwrap();
        assert!(signed(&found).is_none() && failed(&found).is_none(), "{name}");
    }
    away(&space, &[&denied, &others, &later]).await;
}

/// A user who may make requests, and no more.
async fn requester(space: &Space) -> String {
    let name = format!("requester-{}", space.namespace);
    let rule = json!({ "apiGroups": ["certificates.k8s.io"],
        "resources": ["certificatesigningrequests"], "verbs": ["create"] });
    let roles: Api<ClusterRole> = Api::all(space.client.clone());
    make_in(&roles, &name, json!({ "rules": [rule] })).await;
    let bindings: Api<ClusterRoleBinding> = Api::all(space.client.clone());
    make_in(&bindings, &name, binding("ClusterRole", &name, &name)).await;
    let (group, resource) = ("certificates.k8s.io", "certificatesigningrequests");
    let right = Right { verb: "create", group, resource, namespace: "", name: "" };
    until_may(space, &name, right).await;
    name
}

fn binding(kind: &str, role: &str, user: &str) -> Value {
    let group = "rbac.authorization.k8s.io";
    json!({ "roleRef": { "apiGroup": group, "kind": kind, "name": role },
        "subjects": [{ "apiGroup": group, "kind": "User", "name": user }] })
}

pub(crate) async fn whoever_may_not_reference_an_issuer_is_refused_with_what_is_missing(
    space: Space,
) {
    space.authority().await;
    space.ready("intermediate").await;
    let user = requester(&space).await;
    let client = space.world.client_of(&user);
    let csr = openssl_csr(&space, "laptop.test");
    let before = ask(&space, client.clone(), "before", &own(&space), csr.clone()).await;
    say(&space, &before, "Approved").await;
    let (reason, message) = when_failed(&space, &before).await;
    assert_eq!(reason, "DeniedReference");
    for part in [&user, "reference", "signers.countersign.dev", &space.namespace] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let mut names = vec![before];
    for name in ["ca", "*"] {
        let rule = json!({ "apiGroups": ["countersign.dev"], "resources": ["signers"],
            "resourceNames": [name], "verbs": ["reference"] });
        space.make::<Role>("reference", json!({ "rules": [rule] })).await;
        space.make::<RoleBinding>("reference", binding("Role", "reference", &user)).await;
        let (group, namespace) = ("countersign.dev", space.namespace.as_str());
        let right = Right { verb: "reference", group, resource: "signers", namespace, name };
        until_may(&space, &user, right).await;
        let place = format!("after-{}", names.len());
        let after = ask(&space, client.clone(), &place, &own(&space), csr.clone()).await;
        say(&space, &after, "Approved").await;
        when_signed(&space, &after).await;
        names.push(after);
    }
    let elsewhere = "issuers.countersign.dev/default.ca";
    let other = ask(&space, client, "elsewhere", elsewhere, csr).await;
    say(&space, &other, "Approved").await;
    assert_eq!(when_failed(&space, &other).await.0, "DeniedReference");
    names.push(other);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    away(&space, &names).await;
}

pub(crate) async fn the_issuer_of_identities_signs_no_identity_that_stands_in_no_namespace(
    space: Space,
) {
    let identities = "clusterissuers.countersign.dev/countersign";
    let own = format!("URI:spiffe://cluster.local/ns/{}/sa/web", space.namespace);
    let cases = [
        ("uri", "URI:spiffe://cluster.local/ns/bank/sa/vault"),
        ("own", own.as_str()),
        ("service", "DNS:vault.bank.svc"),
        ("nobody", "DNS:vault..svc"),
        ("plain", "DNS:laptop.test"),
    ];
    for (name, san) in cases {
        let csr = openssl_csr_with(&space, &[&format!("subjectAltName={san}")]);
        let name = ask(&space, space.client.clone(), name, identities, csr).await;
        say(&space, &name, "Approved").await;
        let (reason, message) = when_failed(&space, &name).await;
        assert_eq!(reason, "Denied", "{message}");
        assert!(message.contains("no namespace"), "{message}");
        away(&space, &[&name]).await;
    }
}

pub(crate) async fn what_can_never_be_signed_says_so_and_what_can_be_later_waits(space: Space) {
    let csr = openssl_csr(&space, "laptop.test");
    let early = ask(&space, space.client.clone(), "early", &own(&space), csr.clone()).await;
    say(&space, &early, "Approved").await;
    event_in(&events(&space), &early, "says what is missing", |it| it == "IssuerNotFound").await;
    space.authority().await;
    when_signed(&space, &early).await;
    let extensions = ["subjectAltName=DNS:laptop.test", "basicConstraints=critical,CA:TRUE"];
    let authority = openssl_csr_with(&space, &extensions);
    let itself = format!("issuers.countersign.dev/{}.self", space.namespace);
    let cases = [
        ("authority", own(&space), authority, "AuthorityRefused"),
        ("unnamed", "issuers.countersign.dev/ca".to_owned(), csr.clone(), "InvalidSignerName"),
        ("self-signed", itself, csr, "MissingAnnotation"),
    ];
    for (name, signer, csr, expected) in cases {
        let name = ask(&space, space.client.clone(), name, &signer, csr).await;
        say(&space, &name, "Approved").await;
        let (reason, message) = when_failed(&space, &name).await;
        assert_eq!(reason, expected, "{message}");
        let found = all(&space).get(&name).await.unwrap();
        let conditions = found.status.unwrap().conditions.unwrap();
        let types: Vec<_> = conditions.iter().map(|it| it.type_.as_str()).collect();
        assert_eq!(types, ["Approved", "Failed"]);
        away(&space, &[&name]).await;
    }
    away(&space, &[&early]).await;
}
