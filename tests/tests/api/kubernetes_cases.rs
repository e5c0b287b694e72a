//! What users of cert-manager ask of CertificateSigningRequests of Kubernetes.

use std::collections::BTreeSet;

use countersign_operator::pki::{CertificateFacts, KeyAlgorithm, Request};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::conformance::issuers;
use crate::self_signed::csr;
use crate::space::{Space, when_in};

/// What a CSR asks for, the annotations, the rest of the spec, and how long it shall last.
struct Case {
    name: &'static str,
    key: KeyAlgorithm,
    request: Request,
    annotations: Value,
    spec: Value,
    seconds: i64,
}

const NINETY_DAYS: i64 = 90 * 24 * 3600;

fn case(name: &'static str, request: Request) -> Case {
    let key = KeyAlgorithm::EcdsaP256;
    let spec = json!({ "usages": ["digital signature", "key encipherment"] });
    Case { name, key, request, annotations: json!({}), spec, seconds: NINETY_DAYS }
}

fn cases() -> Vec<Case> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let dns = |names: &[&str]| Request { dns_names: texts(names), ..Request::default() };
    let called = |request: Request| Request { common_name: Some("a name".to_owned()), ..request };
    let uri = || Request {
        uris: texts(&["spiffe://partner.test/ns/sandbox/sa/foo"]),
        ..Request::default()
    };
    let addresses = ["127.0.0.1", "8.8.8.8"].map(|text| text.parse().unwrap()).to_vec();
    let emails = texts(&["alice@example.com", "bob@example.org"]);
    let rsa = KeyAlgorithm::Rsa { bits: 2048 };
    let long = || json!({ "experimental.countersign.dev/request-duration": "896h" });
    let authority = json!({ "experimental.countersign.dev/request-is-ca": "true" });
    let usages = ["server auth", "client auth", "digital signature", "data encipherment"];
    let signing = ["digital signature", "key encipherment", "cert sign"];
    vec![
        Case { key: rsa, ..case("dns-rsa", dns(&["web.test"])) },
        case("dns-ecdsa", dns(&["web.test"])),
        Case { key: KeyAlgorithm::Ed25519, ..case("dns-ed25519", dns(&["web.test"])) },
        Case { key: rsa, ..case("cn-rsa", called(Request::default())) },
        case("cn-ecdsa", called(Request::default())),
        Case { key: KeyAlgorithm::Ed25519, ..case("cn-ed25519", called(Request::default())) },
        case("cn-and-ip", called(Request { ip_addresses: addresses, ..Request::default() })),
        case("email", Request { email_addresses: emails, ..Request::default() }),
        case("cn-and-uri", called(uri())),
        case("uri", uri()),
        case("cn-beside-dns", called(dns(&["web.test", "www.test"]))),
        case("wildcard", dns(&["*.web.test"])),
        Case { annotations: long(), seconds: 896 * 3600, ..case("duration", dns(&["web.test"])) },
        Case {
            spec: json!({ "usages": ["server auth"], "expirationSeconds": 3333 }),
            seconds: 3333,
            ..case("seconds", dns(&["web.test"]))
        },
        Case { spec: json!({ "usages": usages }), ..case("usages", called(dns(&["web.test"]))) },
        Case {
            annotations: authority,
            spec: json!({ "usages": signing, "expirationSeconds": 4000 * 3600 }),
            seconds: 4000 * 3600,
            ..case("authority", called(Request::default()))
        },
    ]
}

/// Makes a request, and approves it.
async fn ask(
    space: &Space,
    api: &Api<CertificateSigningRequest>,
    case: &Case,
    signer: &str,
) -> String {
    let name = format!("{}-{}", space.namespace, case.name);
    let mut spec = case.spec.clone();
    spec["request"] = json!(csr(case.key, &case.request).1);
    spec["signerName"] = signer.into();
    let object =
        json!({ "metadata": { "name": name, "annotations": case.annotations }, "spec": spec });
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.expect("it is accepted");
    let condition =
        json!({ "type": "Approved", "status": "True", "reason": "Test", "message": "" });
    let patch = Patch::Merge(json!({ "status": { "conditions": [condition] } }));
    api.patch_approval(&name, &PatchParams::default(), &patch).await.unwrap();
    name
}

pub(crate) async fn a_csr_may_ask_for_all_that_users_ask_for(space: Space) {
    let [_, _, (_, cluster), _] = issuers(&space).await;
    let cluster = cluster["name"].as_str().unwrap();
    let api: Api<CertificateSigningRequest> = Api::all(space.client.clone());
    let is_signed = |request: &CertificateSigningRequest| {
        request.status.as_ref().is_some_and(|status| status.certificate.is_some())
    };
    for signer in [
        format!("issuers.countersign.dev/{}.ca", space.namespace),
        format!("clusterissuers.countersign.dev/{cluster}"),
    ] {
        for case in cases() {
            let name = ask(&space, &api, &case, &signer).await;
            let done = when_in(&api, &name, "is signed", is_signed).await;
            api.delete(&name, &DeleteParams::default()).await.unwrap();
            let status = done.status.unwrap();
            let chain = CertificateFacts::all_from_pem(&status.certificate.unwrap().0).unwrap();
            assert!(chain[0].verify_issued_by(&chain[1]), "{name}");
            is_as_asked(&case, &chain[0]);
            let types: Vec<_> = status.conditions.unwrap().into_iter().map(|it| it.type_).collect();
            assert_eq!(types, ["Approved"], "{name}");
        }
    }
}

fn is_as_asked(case: &Case, leaf: &CertificateFacts) {
    let (name, asked, says) = (case.name, &case.request, &leaf.says);
    assert_eq!(says.common_name, asked.common_name, "{name}");
    assert_eq!(says.dns_names, asked.dns_names, "{name}");
    assert_eq!(says.ip_addresses, asked.ip_addresses, "{name}");
    assert_eq!(says.uris, asked.uris, "{name}");
    assert_eq!(says.email_addresses, asked.email_addresses, "{name}");
    assert_eq!(says.is_ca, name == "authority", "{name}");
    assert_eq!(leaf.key_algorithm, Some(case.key), "{name}");
    let usages: BTreeSet<_> = says.usages.iter().map(|usage| usage.name()).collect();
    let asked = case.spec["usages"].as_array().unwrap().iter().filter_map(Value::as_str);
    assert_eq!(usages, asked.collect(), "{name}");
    let lasts = leaf.validity.not_after.duration_since(leaf.validity.not_before);
    assert_eq!(lasts.as_secs(), case.seconds, "{name}");
}
