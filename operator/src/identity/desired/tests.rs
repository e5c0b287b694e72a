use serde_json::json;

use super::*;
use crate::certificate::reference::IssuerId;
use crate::certificate::wanted::Wanted;
use crate::issuer::{Requester, Scope, guard};
use crate::pki::{KeyAlgorithm as MadeAlgorithm, KeyEncoding as MadeEncoding, NameParts, Usage};

fn settings() -> Settings {
    Settings {
        process: Default::default(),
        trust_domain: "prod.example".parse().unwrap(),
        cluster_domain: "cluster.local".to_owned(),
        cluster_resource_namespace: "countersign-system".to_owned(),
        identity_issuer: "mesh".to_owned(),
        device_issuer: Some("devices".to_owned()),
        identity_duration: std::time::Duration::from_secs(3600).into(),
        reissue_spread: "2s".parse().unwrap(),
        max_rsa_bits: 4096,
        default_issuer: None,
        approves: true,
        signs_for_kubernetes: true,
        excluded_namespaces: Vec::new(),
        replaces_uninjected: false,
        injects_authorities: true,
        access: Default::default(),
        pod_ranges: Vec::new(),
        external_ranges: Vec::new(),
        api_server_authority: Default::default(),
    }
}

fn pod(labels: &[(&str, &str)]) -> MeshPod {
    let labels: BTreeMap<_, _> = labels.iter().copied().collect();
    serde_json::from_value(json!({ "metadata": { "name": "p", "labels": labels } })).unwrap()
}

fn service(name: &str, selector: &[(&str, &str)]) -> MeshService {
    let selector: BTreeMap<_, _> = selector.iter().copied().collect();
    serde_json::from_value(
        json!({ "metadata": { "name": name }, "spec": { "selector": selector } }),
    )
    .unwrap()
}

fn names(pods: &[MeshPod], services: &[MeshService]) -> Vec<String> {
    dns_names("cluster.local", "shop", pods.iter(), services.iter())
}

#[test]
fn an_identity_bears_the_names_of_the_services_that_select_its_pods() {
    let pods = [pod(&[("app", "web"), ("tier", "front")])];
    let services = [
        service("web", &[("app", "web")]),
        service("both", &[("app", "web"), ("tier", "front")]),
        service("other", &[("app", "db")]),
        service("more-than-the-pod-has", &[("app", "web"), ("zone", "a")]),
        service("headless-without-selector", &[]),
        serde_json::from_value(json!({ "metadata": { "name": "without-spec" } })).unwrap(),
    ];
    let expected = [
        "both.shop.svc",
        "both.shop.svc.cluster.local",
        "web.shop.svc",
        "web.shop.svc.cluster.local",
    ];
    assert_eq!(names(&pods, &services), expected);
    assert!(names(&[], &services).is_empty(), "where no pod runs nobody answers");
}

#[test]
fn the_order_in_which_things_are_seen_changes_no_identity() {
    let mut pods = [pod(&[("app", "web")]), pod(&[("app", "db")])];
    let mut services = [service("web", &[("app", "web")]), service("db", &[("app", "db")])];
    let before = names(&pods, &services);
    pods.reverse();
    services.reverse();
    assert_eq!(names(&pods, &services), before);
    assert_eq!(before.len(), 4);
}

#[test]
fn however_many_services_there_are_a_certificate_has_room_for_its_names() {
    let pods = [pod(&[("app", "web")])];
    let services: Vec<_> =
        (0..300).map(|count| service(&format!("web-{count}"), &[("app", "web")])).collect();
    let found = names(&pods, &services);
    assert_eq!(found.len(), 2 * MOST_SERVICES);
    assert_eq!((&*found[0], &*found[2]), ("web-0.shop.svc", "web-1.shop.svc"), "the first by name");
    assert!(found.len() <= 250, "more are refused by the schema of dnsNames");
}

#[test]
fn a_pod_that_names_no_account_runs_as_default() {
    let of = |spec| {
        let pod = json!({ "metadata": { "name": "p" }, "spec": spec });
        let pod: MeshPod = serde_json::from_value(pod).unwrap();
        pod.service_account
    };
    let cases = [
        (json!(null), "default"),
        (json!({ "containers": [] }), "default"),
        (json!({ "containers": [], "serviceAccountName": "" }), "default"),
        (json!({ "containers": [], "serviceAccountName": "web" }), "web"),
    ];
    for (spec, account) in cases {
        assert_eq!(*of(spec), *account);
    }
}

fn identity(account: &str) -> Certificate {
    let dns_names = vec!["web.shop.svc".to_owned(), "web.shop.svc.cluster.local".to_owned()];
    certificate(&settings(), "shop", account, dns_names).unwrap()
}

#[test]
fn an_identity_is_one_spiffe_id_for_both_ends_of_a_connection() {
    let identity = identity("web");
    let wanted = Wanted::of(&identity.spec).unwrap();
    assert_eq!(wanted.request.uris, ["spiffe://prod.example/ns/shop/sa/web"]);
    assert_eq!(wanted.request.dns_names, ["web.shop.svc", "web.shop.svc.cluster.local"]);
    assert_eq!(wanted.request.common_name, None);
    let usages = [Usage::DigitalSignature, Usage::ServerAuth, Usage::ClientAuth];
    assert_eq!(wanted.request.usages, usages);
    assert!(!wanted.request.is_ca);
    assert_eq!(
        (wanted.algorithm, wanted.encoding),
        (MadeAlgorithm::EcdsaP256, MadeEncoding::Pkcs8)
    );
    assert!(!wanted.keep_key, "a new key with every renewal");
    assert_eq!(wanted.lifetime.as_secs(), 3600);
}

#[test]
fn an_identity_is_found_by_its_account() {
    let identity = identity("web");
    assert_eq!(identity.name_any(), "countersign-web");
    assert_eq!(identity.namespace().as_deref(), Some("shop"));
    assert_eq!(identity.spec.secret_name, "countersign-web");
    assert_eq!(identity.labels()[names::IDENTITY_LABEL], "true");
    assert_eq!(identity.annotations()[names::SERVICE_ACCOUNT_ANNOTATION], "web");
}

#[test]
fn the_guard_signs_the_identity_of_every_account_in_its_own_namespace_only() {
    for account in ["web", "default", "a.b-c", &"x".repeat(253)] {
        let identity = identity(account);
        let issuer = IssuerId::of(&identity.spec.issuer_ref);
        let wanted = Wanted::of(&identity.spec).unwrap();
        let verdict = |namespace| {
            let facts = guard::Facts {
                issuer: &issuer,
                namespace,
                request: &wanted.request,
                subject: &NameParts::default(),
                lifetime: wanted.lifetime,
                key: Some(wanted.algorithm),
                requester: Requester::Certificate(&identity),
                own_names: &[],
            };
            guard::check(&settings(), Scope::Identities, &facts)
        };
        assert_eq!(issuer.to_string(), "ClusterIssuer mesh");
        assert_eq!(verdict("shop"), Ok(()), "{account}");
        assert!(verdict("bank").is_err(), "{account}");
    }
}

#[test]
fn what_is_no_kubernetes_name_gets_no_identity() {
    for (namespace, account) in [("shop", "we b"), ("shop", ""), ("shop", "a/b"), ("Shop", "web")] {
        let made = certificate(&settings(), namespace, account, Vec::new());
        assert!(made.is_err(), "{namespace} {account}");
    }
}

#[test]
fn identity_without_its_marks_is_applied_again() {
    let wanted = identity("web");
    assert!(is_as_wanted(&wanted, &wanted));
    let changes: [fn(&mut Certificate); 4] = [
        |found| found.metadata.labels = None,
        |found| found.metadata.annotations = None,
        |found| found.spec.dns_names.clear(),
        |found| found.spec.common_name = Some("till-1".to_owned()),
    ];
    for change in changes {
        let mut found = wanted.clone();
        change(&mut found);
        assert!(!is_as_wanted(&found, &wanted), "{found:?}");
    }
}

#[test]
fn what_another_client_added_to_an_identity_is_removed() {
    let wanted = identity("web");
    assert_eq!(without_additions(&wanted.spec, &wanted.spec), None);
    let mut found = wanted.spec.clone();
    (found.common_name, found.is_ca) = (Some("till-1".to_owned()), Some(true));
    found.uris.push("spiffe://prod.example/ns/bank/sa/teller".to_owned());
    let key = found.private_key.as_mut().unwrap();
    key.rotation_policy = Some(countersign_crds::RotationPolicy::Never);
    let patch = without_additions(&found, &wanted.spec).unwrap();
    let mut patched = json!({ "spec": found });
    json_patch::merge(&mut patched, &patch);
    assert_eq!(patched, json!({ "spec": wanted.spec }));
}
