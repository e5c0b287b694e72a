//! Who may have what signed.

use std::process::Command;

use countersign_crds::{
    Certificate, CertificateRequest, ClusterIssuer, Condition, ConditionStatus, Issuer,
};
use countersign_tests::cluster::repository;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::issuance::folder;
use crate::requests::{openssl_csr, request};
use crate::space::{Space, condition, leaf, text};
use crate::world::HOME;

/// An Issuer `strict` with this policy, and with the authority of Issuer `ca`.
async fn strict(space: &Space, policy: Value) {
    space.authority().await;
    let spec = json!({ "ca": { "secretName": "intermediate", "policy": policy } });
    space.make::<Issuer>("strict", json!({ "spec": spec })).await;
}

fn of(issuer: &Value, mut spec: Value) -> Value {
    spec["issuerRef"] = issuer.clone();
    spec
}

/// Asks for a certificate that is not signed, and returns what is said.
async fn denied(space: &Space, name: &str, spec: Value) -> String {
    space.make::<Certificate>(name, json!({ "spec": leaf(name, spec) })).await;
    let message = denial(space, name).await;
    assert!(space.api::<Secret>().get_opt(name).await.unwrap().is_none(), "{name}");
    message
}

/// What a Certificate says that was denied.
async fn denial(space: &Space, name: &str) -> String {
    let is_denied = |certificate: &Certificate| {
        condition(certificate, "Issuing").is_some_and(|issuing| {
            issuing.status == ConditionStatus::False && issuing.reason.as_deref() == Some("Denied")
        })
    };
    let found = space.certificate_when(name, "is denied", is_denied).await;
    space.event(name, "says Denied", |reason| reason == "Denied").await;
    condition(&found, "Issuing").unwrap().message.clone().unwrap()
}

pub(crate) async fn what_is_inside_a_policy_is_signed_and_what_is_outside_is_denied_with_the_rule(
    space: Space,
) {
    let rule = json!({
        "name": "web",
        "dnsNames": ["*.$(namespace).test"],
        "uris": ["spiffe://$(trustDomain)/ns/$(namespace)/sa/*"],
        "ipAddresses": ["192.0.2.0/24"],
        "emailAddresses": ["*@shop.test"],
        "commonNames": ["The *"],
        "subject": { "organizations": ["Shop"] },
        "usages": ["digital signature", "key encipherment", "server auth"],
        "maxDuration": "24h",
        "keys": [{ "algorithm": "ECDSA", "minSize": 256, "maxSize": 384 }],
    });
    strict(&space, json!({ "allow": [rule] })).await;
    let issuer = json!({ "name": "strict" });
    let (own, identity) = (format!("web.{}.test", space.namespace), |namespace: &str| {
        format!("spiffe://cluster.local/ns/{namespace}/sa/web")
    });
    let inside = json!({
        "dnsNames": [own], "uris": [identity(&space.namespace)], "ipAddresses": ["192.0.2.7"],
        "emailAddresses": ["web@shop.test"], "commonName": "The shop",
        "subject": { "organizations": ["Shop"] }, "usages": ["digital signature", "server auth"],
        "duration": "24h", "privateKey": { "algorithm": "ECDSA", "size": 384 },
        "issuerRef": issuer,
    });
    space.certificate("inside", inside.clone()).await;
    let names = format!("*.{}.test", space.namespace);
    let identities = format!("{}/sa/*", identity(&space.namespace).trim_end_matches("/sa/web"));
    let cases = [
        ("dnsNames", json!([own, "web.bank.test"]), "web.bank.test", names.as_str()),
        ("uris", json!([identity("bank")]), &identity("bank"), &identities),
        ("ipAddresses", json!(["192.0.3.7"]), "192.0.3.7", "192.0.2.0/24"),
        ("emailAddresses", json!(["a@bank.test"]), "a@bank.test", "*@shop.test"),
        ("commonName", json!("A bank"), "A bank", "The *"),
        ("subject", json!({ "organizations": ["Bank"] }), "Bank", "Shop"),
        ("usages", json!(["code signing"]), "code signing", "server auth"),
        ("duration", json!("25h"), "25h", "24h at most"),
        ("privateKey", json!({ "algorithm": "RSA" }), "RSA 2048", "ECDSA of 256 to 384 bits"),
        ("isCA", json!(true), "true", "no authority"),
    ];
    for (field, value, offending, allowed) in cases {
        let mut outside = inside.clone();
        outside[field] = value;
        let said = denied(&space, &format!("outside-{}", field.to_lowercase()), outside).await;
        for part in
            ["signing: Issuer strict", field, &format!("{offending:?}"), allowed, "rule web"]
        {
            assert!(said.contains(part), "{field}: no {part} in {said}");
        }
    }
}

pub(crate) async fn a_csr_is_held_to_the_policy_too(space: Space) {
    let rule = json!({ "name": "web", "dnsNames": ["*.shop.test"], "commonNames": ["laptop"] });
    strict(&space, json!({ "allow": [rule] })).await;
    let decided = async |name: &str, dns_name: &str| {
        let mut csr = request(openssl_csr(&space, dns_name));
        csr["spec"]["issuerRef"] = json!({ "name": "strict" });
        space.make::<CertificateRequest>(name, csr).await;
        let is_decided = |request: &CertificateRequest| {
            of_type(request, "Ready")
                .is_some_and(|ready| ready.reason.as_deref() != Some("Pending"))
        };
        space.when::<CertificateRequest>(name, "is decided", is_decided).await
    };
    let inside = decided("inside", "laptop.shop.test").await;
    assert_eq!(of_type(&inside, "Ready").unwrap().status, ConditionStatus::True, "{inside:?}");
    let outside = decided("outside", "laptop.bank.test").await;
    let said = of_type(&outside, "Denied").unwrap();
    assert_eq!(said.status, ConditionStatus::True);
    let said = said.message.clone().unwrap();
    assert!(said.contains("dnsNames \"laptop.bank.test\"") && said.contains("rule web"), "{said}");
    assert!(outside.status.unwrap().certificate.is_none());
}

fn of_type<'a>(request: &'a CertificateRequest, type_: &str) -> Option<&'a Condition> {
    let conditions = &request.status.as_ref()?.conditions;
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// The authority of this test, as a Secret in the operator's own namespace.
async fn authority_at_home(space: &Space, secret: &str) {
    space.authority().await;
    let is_there = |secret: &Secret| secret.data.is_some();
    let authority = space.when::<Secret>("intermediate", "is there", is_there).await;
    let object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": secret },
        "data": authority.data });
    let home: Api<Secret> = Api::namespaced(space.client.clone(), HOME);
    home.patch(secret, &PatchParams::apply("a-user"), &Patch::Apply(&object)).await.unwrap();
}

pub(crate) async fn namespaces_are_selected_by_their_labels(space: Space) {
    let name = format!("of-{}", space.namespace);
    authority_at_home(&space, &name).await;
    let issuer = json!({
        "apiVersion": "countersign.dev/v1", "kind": "ClusterIssuer", "metadata": { "name": name },
        "spec": { "ca": { "secretName": name, "policy": { "namespaces": {
            "matchLabels": { "team": "payments" },
            "matchExpressions": [{ "key": "stage", "operator": "NotIn", "values": ["test"] }],
        } } } },
    });
    let issuers: Api<ClusterIssuer> = Api::all(space.client.clone());
    let apply = PatchParams::apply("a-user");
    issuers.patch(&name, &apply, &Patch::Apply(&issuer)).await.unwrap();
    let issuer = json!({ "kind": "ClusterIssuer", "name": name });
    let said = denied(&space, "before", of(&issuer, json!({}))).await;
    let wanted = "namespaces with labels team=payments,stage notin (test)";
    assert!(said.contains(wanted) && said.contains(&space.namespace), "{said}");
    let label = async |labels: Value| {
        let namespaces: Api<Namespace> = Api::all(space.client.clone());
        let patch = json!({ "metadata": { "labels": labels } });
        let patch = Patch::Merge(&patch);
        namespaces.patch(&space.namespace, &PatchParams::default(), &patch).await.unwrap();
    };
    label(json!({ "team": "payments", "stage": "test" })).await;
    denied(&space, "in-test", of(&issuer, json!({}))).await;
    label(json!({ "stage": "live" })).await;
    // The watch may tell of the label after the Certificate: a changed spec is tried at once.
    space.certificate("after", of(&issuer, json!({}))).await;
    let authority = denied(&space, "authority", of(&issuer, json!({ "isCA": true }))).await;
    assert!(authority.contains("isCA: true"), "{authority}");
}

/// The blocks of a kind in a page of the documentation, with this test's namespace for theirs.
pub(crate) fn blocks(space: &Space, page: &str, kind: &str) -> Vec<String> {
    let path = repository().join("docs").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let fence = format!("```{kind}\n");
    let blocks = text.split(&fence).skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap().trim().to_owned());
    blocks.map(|block| block.replace("shop", &space.namespace)).collect()
}

pub(crate) async fn every_example_of_the_docs_holds(space: Space) {
    authority_at_home(&space, "internal-ca").await;
    let examples = blocks(&space, "policy.md", "yaml");
    assert_eq!(examples.len(), 6);
    for example in &examples {
        let applied = space.world.apply(example);
        assert!(applied.is_ok(), "{example}: {applied:?}");
    }
    space.ready("web").await;
    let said = denial(&space, "vault").await;
    let said = said.trim_start_matches("signing: ").split("; the next try is at").next();
    assert_eq!(blocks(&space, "policy.md", "text"), [said.unwrap_or_default()]);
}

pub(crate) async fn where_more_is_to_be_found_stands_in_what_is_signed(space: Space) {
    space.authority().await;
    let spec = json!({ "ca": {
        "secretName": "intermediate",
        "crlDistributionPoints": ["http://crl.test/one.crl", "http://crl.test/two.crl"],
        "ocspServers": ["http://ocsp.test"],
        "issuingCertificateURLs": ["http://ca.test/ca.der"],
    } });
    space.make::<Issuer>("pointing", json!({ "spec": spec })).await;
    space.certificate("web", json!({ "issuerRef": { "name": "pointing" } })).await;
    let folder = folder(&space);
    std::fs::write(folder.join("tls.crt"), text(&space.secret("web").await, "tls.crt")).unwrap();
    let arguments = ["x509", "-in", "tls.crt", "-noout", "-text"];
    let output = Command::new("openssl").args(arguments).current_dir(&folder).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let wanted = [
        "URI:http://crl.test/one.crl",
        "URI:http://crl.test/two.crl",
        "OCSP - URI:http://ocsp.test",
        "CA Issuers - URI:http://ca.test/ca.der",
    ];
    for part in wanted {
        assert!(said.contains(part), "no {part} in {said}");
    }
}

pub(crate) async fn a_policy_may_want_somebodys_approval_first(space: Space) {
    strict(&space, json!({ "approval": "Required" })).await;
    let spec = |name: &str| leaf(name, json!({ "issuerRef": { "name": "strict" } }));
    for name in ["first", "second"] {
        space.make::<Certificate>(name, json!({ "spec": spec(name) })).await;
        let waits = |one: &Certificate| {
            let issuing = condition(one, "Issuing").and_then(|issuing| issuing.message.as_deref());
            issuing.is_some_and(|message| message.contains("waits for approval"))
        };
        space.certificate_when(name, "waits for approval", waits).await;
    }
    let approved = json!({ "status": { "conditions": [{
        "type": "Approved", "status": "True", "reason": "Seen", "message": "by a test",
    }] } });
    let requests = space.api::<CertificateRequest>();
    let patch = Patch::Merge(&approved);
    requests.patch_status("second-1", &PatchParams::default(), &patch).await.unwrap();
    space.ready("second").await;
    // The other was asked for before it, and nobody has approved it.
    let waiting = requests.get("first-1").await.unwrap().status.unwrap_or_default();
    assert!(waiting.certificate.is_none() && waiting.conditions.is_empty(), "{waiting:?}");
    assert!(space.api::<Secret>().get_opt("first").await.unwrap().is_none());
}
