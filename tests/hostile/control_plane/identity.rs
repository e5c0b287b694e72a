//! A tenant that asks the issuer of identities for names that are not its own.

use std::sync::Arc;

use countersign_crds::{Certificate, CertificateRequest, ClusterIssuer, Issuer};
use countersign_operator::pki::{
    CertificateFacts, ComposeError, CsrOptions, KeyAlgorithm, PrivateKey, Request, generate_key,
    make_csr_with, sha256_hex,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::identity;
use crate::access::document;
use crate::requests::{decided, last_word};
use crate::rights::{Right, until_may};
use crate::space::{Space, condition, identity_spec, leaf, make_in};
use crate::world::{HOME, World};

mod secrets;

pub(crate) use secrets::{
    certificate_with_the_secret_of_an_identity_is_refused_at_admission,
    secret_of_an_identity_is_filled_by_no_other_issuer,
    secret_that_another_certificate_filled_before_is_taken_back,
};

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        identity::{
            certificate_of_an_unrelated_namespace_with_a_device_name_is_refused,
            request_with_names_that_are_not_its_own_is_refused,
            identity_asked_for_by_another_user_is_refused,
            account_gets_its_own_identity_for_as_long_as_the_operator_makes_them,
            certificate_that_only_looks_like_an_identity_is_refused,
            second_issuer_with_the_key_of_identities_is_guarded_too,
            issuer_below_the_root_of_identities_signs_neither_identities_nor_cas,
            unlabelled_namespace_gets_nothing_from_the_devices_issuer,
            sidecars_are_told_the_keys_of_the_devices_ca,
            secret_of_an_identity_is_filled_by_no_other_issuer,
            secret_that_another_certificate_filled_before_is_taken_back,
            certificate_with_the_secret_of_an_identity_is_refused_at_admission,
        }
    }
}

const USAGES: [&str; 3] = ["digital signature", "server auth", "client auth"];

fn cluster_issuer(name: &str) -> Value {
    json!({ "name": name, "kind": "ClusterIssuer" })
}

/// What a pod of `web` in this namespace may have.
fn own(space: &Space) -> Request {
    let id = format!("spiffe://cluster.local/ns/{}/sa/web", space.namespace);
    Request { uris: vec![id], ..Request::default() }
}

fn as_web(space: &Space) -> String {
    format!("system:serviceaccount:{}:web", space.namespace)
}

/// A CSR that leaves usages to the request.
fn csr_of(names: &Request, key: &PrivateKey) -> Result<String, ComposeError> {
    make_csr_with(names, key, &CsrOptions { encode_usages: false, ..CsrOptions::default() })
}

/// A request with a CSR, and the key that only its maker has.
async fn ask(space: &Space, name: &str, names: &Request, mut spec: Value) -> CertificateRequest {
    let key = generate_key(KeyAlgorithm::EcdsaP256).unwrap();
    let csr = ByteString(csr_of(names, &key).unwrap().into_bytes());
    spec["request"] = serde_json::to_value(csr).unwrap();
    for (field, value) in [("issuerRef", cluster_issuer("countersign")), ("usages", json!(USAGES))]
    {
        if spec.get(field).is_none() {
            spec[field] = value;
        }
    }
    match spec["username"].as_str().map(str::to_owned) {
        Some(user) => create_as(space, &user, name, spec).await,
        None => {
            space.make::<CertificateRequest>(name, json!({ "spec": spec })).await;
        }
    }
    decided(space, name).await
}

/// Creates a request as the user that it names: where the chart's policies are installed, no other may.
async fn create_as(space: &Space, user: &str, name: &str, spec: Value) {
    let (group, namespace) = ("rbac.authorization.k8s.io", space.namespace.as_str());
    let rule = json!({ "apiGroups": ["countersign.dev"], "resources": ["certificaterequests"],
        "verbs": ["create"] });
    space.make::<Role>("requester", json!({ "rules": [rule] })).await;
    let binding = json!({
        "roleRef": { "apiGroup": group, "kind": "Role", "name": "requester" },
        "subjects": [{ "apiGroup": group, "kind": "User", "name": user }],
    });
    space.make::<RoleBinding>(name, binding).await;
    let (group, resource) = ("countersign.dev", "certificaterequests");
    until_may(space, user, Right { verb: "create", group, resource, namespace, name: "" }).await;
    let object = json!({ "apiVersion": "countersign.dev/v1", "kind": "CertificateRequest",
        "metadata": { "name": name }, "spec": spec });
    let object: CertificateRequest = serde_json::from_value(object).unwrap();
    let api = Api::namespaced(space.world.client_of(user), namespace);
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// Why a request was denied.
fn denial(request: &CertificateRequest) -> String {
    assert!(request.status.as_ref().is_none_or(|status| status.certificate.is_none()));
    let denied =
        last_word(request, "Denied").unwrap_or_else(|| panic!("not denied: {:?}", request.status));
    denied.message.clone().unwrap()
}

fn signed(request: &CertificateRequest) -> CertificateFacts {
    let status = request.status.as_ref().unwrap();
    let chain =
        status.certificate.as_ref().unwrap_or_else(|| panic!("not signed: {:?}", request.status));
    CertificateFacts::from_pem(&chain.0).unwrap()
}

/// Why a Certificate is not signed.
async fn refused(space: &Space, name: &str, spec: Value) -> String {
    space.make::<Certificate>(name, json!({ "spec": spec })).await;
    let why = |certificate: &Certificate| {
        let said = |type_: &str, reason: &str| {
            let found = condition(certificate, type_)?;
            (found.reason.as_deref() == Some(reason)).then(|| found.message.clone())?
        };
        said("Issuing", "Denied").or_else(|| said("Ready", "ReservedSecretName"))
    };
    let found = space.certificate_when(name, "is denied", |it| why(it).is_some()).await;
    let secret = found.spec.secret_name.clone();
    assert!(space.api::<Secret>().get_opt(&secret).await.unwrap().is_none(), "{name}");
    why(&found).unwrap()
}

pub(crate) async fn certificate_of_an_unrelated_namespace_with_a_device_name_is_refused(
    space: Space,
) {
    let spec = json!({ "commonName": "till-666", "secretName": "x",
        "usages": ["digital signature", "client auth"], "issuerRef": cluster_issuer("countersign") });
    let why = refused(&space, "till", spec).await;
    assert!(why.contains("commonName \"till-666\""), "{why}");
    let names = Request { common_name: Some("laptop-7".to_owned()), ..Request::default() };
    let spec =
        json!({ "usages": ["digital signature", "client auth"], "username": as_web(&space) });
    let why = denial(&ask(&space, "laptop", &names, spec).await);
    assert!(why.contains("commonName \"laptop-7\""), "{why}");
}

/// Names that `web` may not have: what they are called, the field that is refused, and the rule.
fn foreign_names(space: &Space) -> Vec<(&'static str, Request, &'static str, &'static str)> {
    let uri = |uri: &str| Request { uris: vec![uri.to_owned()], ..Request::default() };
    let dns = |name: &str| Request { dns_names: vec![name.to_owned()], ..own(space) };
    let mut two = own(space);
    two.uris.push("spiffe://cluster.local/ns/bank/sa/x".to_owned());
    let address = Request { ip_addresses: vec!["10.96.0.1".parse().unwrap()], ..own(space) };
    let (no_service, no_pod) = ("no Service of the namespace", "no pod of web is behind");
    vec![
        (
            "namespace",
            uri("spiffe://cluster.local/ns/bank/sa/vault"),
            "uris",
            "identity of another namespace",
        ),
        ("domain", uri("spiffe://partner.example/ns/a/sa/orders"), "uris", "another trust domain"),
        ("two", two, "uris", "exactly one URI"),
        ("outside", dns("api.partner.example"), "dnsNames", no_service),
        ("pod", dns("10-0-0-1.bank.pod.cluster.local"), "dnsNames", no_service),
        ("short", dns("web.bank"), "dnsNames", no_service),
        ("foreign", dns("vault.bank.svc"), "dnsNames", "Service of another namespace"),
        ("no-pod", dns(&format!("db.{}.svc", space.namespace)), "dnsNames", no_pod),
        ("address", address, "ipAddresses", "identities of workloads only"),
    ]
}

pub(crate) async fn request_with_names_that_are_not_its_own_is_refused(space: Space) {
    let names = foreign_names(&space).into_iter();
    let mut cases: Vec<_> =
        names.map(|(name, names, field, rule)| (name, names, json!({}), field, rule)).collect();
    let ocsp = json!({ "usages": [USAGES[0], USAGES[1], USAGES[2], "ocsp signing"] });
    let authority = Request { is_ca: true, ..own(&space) };
    let all_three = "server auth and client auth, all three";
    cases.extend([
        ("year", own(&space), json!({ "duration": "8760h" }), "duration", "identityDuration"),
        ("ocsp", own(&space), ocsp, "usages", all_three),
        ("any", own(&space), json!({ "usages": ["any"] }), "usages", all_three),
        ("authority", authority, json!({ "isCA": true }), "isCA", "leaves only"),
    ]);
    // Each by its own rule: several may refuse one request.
    for (name, names, mut spec, field, rule) in cases {
        spec["username"] = as_web(&space).into();
        let why = denial(&ask(&space, name, &names, spec).await);
        assert!(why.contains(&format!("does not sign {field} ")), "{name}: {why}");
        assert!(why.contains(rule), "{name}: {why}");
    }
}

pub(crate) async fn identity_asked_for_by_another_user_is_refused(space: Space) {
    let of = |account: &str| format!("system:serviceaccount:{}:{account}", space.namespace);
    for (name, user) in [
        ("another", Some(of("api"))),
        ("person", Some("alice".to_owned())),
        ("elsewhere", Some("system:serviceaccount:bank:web".to_owned())),
        ("nobody", None),
    ] {
        let spec = user.map_or_else(|| json!({}), |user| json!({ "username": user }));
        let why = denial(&ask(&space, name, &own(&space), spec).await);
        assert!(why.contains("username") && why.contains(&of("web")), "{name}: {why}");
    }
    // An annotation makes no request the operator's.
    let (names, key) = (own(&space), generate_key(KeyAlgorithm::EcdsaP256).unwrap());
    space
        .make::<Certificate>("countersign-web", json!({ "spec": identity_spec(&space, "web") }))
        .await;
    space.ready("countersign-web").await;
    let csr = serde_json::to_value(ByteString(csr_of(&names, &key).unwrap().into_bytes())).unwrap();
    let annotations = json!({ "countersign.dev/certificate-name": "countersign-web" });
    let spec =
        json!({ "request": csr, "usages": USAGES, "issuerRef": cluster_issuer("countersign") });
    let object = json!({ "metadata": { "annotations": annotations }, "spec": spec });
    space.make::<CertificateRequest>("annotated", object).await;
    let why = denial(&decided(&space, "annotated").await);
    assert!(why.contains("username"), "{why}");
}

pub(crate) async fn account_gets_its_own_identity_for_as_long_as_the_operator_makes_them(
    space: Space,
) {
    let spec = json!({ "username": as_web(&space) });
    let leaf = signed(&ask(&space, "own", &own(&space), spec).await);
    assert_eq!(leaf.says.uris, own(&space).uris);
    let validity = leaf.validity;
    let seconds = validity.not_after.as_second() - validity.not_before.as_second();
    assert!((86_400..86_400 + 600).contains(&seconds), "{seconds} s, which nobody asked for");
}

pub(crate) async fn certificate_that_only_looks_like_an_identity_is_refused(space: Space) {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut spec = identity_spec(&space, "vault");
        change(&mut spec);
        spec
    };
    let cases = [
        ("mine", with(&|spec| spec["secretName"] = "mine".into()), "does not sign Certificate"),
        (
            "countersign-vault",
            with(&|spec| spec["secretName"] = "mine".into()),
            "does not sign Certificate",
        ),
        (
            "countersign-vault",
            with(&|spec| spec["privateKey"]["rotationPolicy"] = "Never".into()),
            "is reserved",
        ),
        ("countersign-vault", with(&|spec| spec["duration"] = "8760h".into()), "is reserved"),
    ];
    for (name, spec, expected) in cases {
        let why = refused(&space, name, spec).await;
        assert!(why.contains(expected), "{why}");
        space.api::<Certificate>().delete(name, &DeleteParams::default()).await.unwrap();
    }
}

pub(crate) async fn second_issuer_with_the_key_of_identities_is_guarded_too(space: Space) {
    let names = Request { common_name: Some("till-666".to_owned()), ..Request::default() };
    // Another ClusterIssuer with the same Secret.
    let issuers: Api<ClusterIssuer> = Api::all(space.client.clone());
    let second = format!("second-{}", space.namespace);
    let spec = json!({ "ca": { "secretName": "countersign-intermediate" } });
    make_in(&issuers, &second, json!({ "spec": spec })).await;
    let spec = json!({ "issuerRef": cluster_issuer(&second) });
    let why = denial(&ask(&space, "same-secret", &names, spec).await);
    assert!(why.contains("commonName \"till-666\""), "{why}");
    issuers.delete(&second, &DeleteParams::default()).await.unwrap();
    // An Issuer of a namespace, with a copy of the key.
    let home: Api<Secret> = Api::namespaced(space.client.clone(), HOME);
    let key = home.get("countersign-intermediate").await.unwrap();
    space.make::<Secret>("copy", json!({ "data": key.data })).await;
    space.make::<Issuer>("copy", json!({ "spec": { "ca": { "secretName": "copy" } } })).await;
    let spec = json!({ "issuerRef": { "name": "copy" } });
    let why = denial(&ask(&space, "same-key", &names, spec).await);
    assert!(why.contains("Issuer copy does not sign commonName"), "{why}");
}

pub(crate) async fn issuer_below_the_root_of_identities_signs_neither_identities_nor_cas(
    space: Space,
) {
    let issuers: Api<ClusterIssuer> = Api::all(space.client.clone());
    let root = format!("root-{}", space.namespace);
    let spec = json!({ "ca": { "secretName": "countersign-root" } });
    make_in(&issuers, &root, json!({ "spec": spec })).await;
    let issuer = cluster_issuer(&root);
    let spec = json!({ "issuerRef": issuer, "username": as_web(&space) });
    let why = denial(&ask(&space, "identity", &own(&space), spec).await);
    assert!(why.contains("uris"), "{why}");
    let why = refused(
        &space,
        "ca",
        json!({ "isCA": true, "commonName": "mine", "secretName": "ca",
        "issuerRef": issuer }),
    )
    .await;
    assert!(why.contains("isCA"), "{why}");
    let names = Request { common_name: Some("www".to_owned()), ..Request::default() };
    signed(&ask(&space, "other", &names, json!({ "issuerRef": issuer })).await);
    issuers.delete(&root, &DeleteParams::default()).await.unwrap();
}

pub(crate) async fn unlabelled_namespace_gets_nothing_from_the_devices_issuer(space: Space) {
    let devices = || {
        json!({ "issuerRef": cluster_issuer("countersign-devices"),
        "usages": ["digital signature", "client auth"] })
    };
    let till = Request { common_name: Some("till-7".to_owned()), ..Request::default() };
    let why = denial(&ask(&space, "unlabelled", &till, devices()).await);
    assert!(why.contains("its policy is for"), "{why}");
    // An administrator of the cluster labels it.
    let label = json!({ "metadata": { "labels": { "countersign.dev/devices": "enabled" } } });
    let namespaces: Api<Namespace> = Api::all(space.client.clone());
    let patch = PatchParams::default();
    namespaces.patch(&space.namespace, &patch, &Patch::Merge(label)).await.unwrap();
    let told = |certificate: &Certificate| {
        condition(certificate, "Ready")
            .is_some_and(|it| it.status == countersign_crds::ConditionStatus::True)
    };
    let spec = leaf(
        "till",
        json!({ "commonName": "till-7",
        "issuerRef": cluster_issuer("countersign-devices"), "duration": "1h" }),
    );
    space.make::<Certificate>("till", json!({ "spec": spec })).await;
    space.certificate_when("till", "is signed", told).await;
    assert_eq!(
        signed(&ask(&space, "labelled", &till, devices()).await).says.common_name.as_deref(),
        Some("till-7")
    );
    for (name, uri) in
        [("own", own(&space).uris[0].clone()), ("partner", "spiffe://partner.example/x".to_owned())]
    {
        let names = Request { uris: vec![uri], ..Request::default() };
        let why = denial(&ask(&space, name, &names, devices()).await);
        assert!(why.contains("uris"), "{why}");
    }
    let why = denial(
        &ask(
            &space,
            "years",
            &till,
            json!({ "duration": "87600h",
        "issuerRef": cluster_issuer("countersign-devices") }),
        )
        .await,
    );
    assert!(why.contains("duration"), "{why}");
}

pub(crate) async fn sidecars_are_told_the_keys_of_the_devices_ca(space: Space) {
    crate::access::policy(&space, "web", json!({ "allow": [{ "commonNames": ["till-*"] }] })).await;
    let map = space
        .when::<ConfigMap>("countersign-policy", "names the CAs", |map| {
            document(map)
                .is_some_and(|it| it.authorities.is_some_and(|it| !it.device_keys.is_empty()))
        })
        .await;
    let told = document(&map).unwrap().authorities.unwrap();
    assert_eq!(told.trust_domain, "cluster.local");
    let home: Api<Secret> = Api::namespaced(space.client.clone(), HOME);
    let key_of = async |name: &str| {
        let secret = home.get(name).await.unwrap();
        sha256_hex(&crate::space::facts(&secret).public_key_spki)
    };
    let devices = [
        key_of("countersign-devices-intermediate").await,
        key_of("countersign-devices-root").await,
    ];
    assert_eq!(told.device_keys, devices);
    assert!(!told.device_keys.contains(&key_of("countersign-intermediate").await));
    let root = CertificateFacts::from_pem(told.device_roots.as_bytes()).unwrap();
    assert_eq!(sha256_hex(&root.public_key_spki), devices[1]);
}
