//! What people and their programs see of Certificates, requests and issuers.

use std::process::Command;
use std::time::Duration;

use countersign_crds::{Certificate, CertificateRequest, ClusterIssuer, Issuer};
use countersign_operator::pki::{CertificateFacts, parse_csr};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::issuance::folder;
use crate::space::{Object, Space, condition, facts, leaf, make_in, revision, text, when_in};
use crate::world::{HOME, PLURALS};

/// What kubectl prints, in this namespace.
fn kubectl(space: &Space, arguments: &[&str]) -> String {
    let mut kubectl = space.world.command("kubectl");
    // Another test's kubectl may remember kinds that are gone by now.
    kubectl.env("KUBECACHEDIR", folder(space).join("kubectl"));
    let said =
        kubectl.args(["-n", &space.namespace]).args(arguments).output().expect("kubectl runs");
    assert!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).expect("text")
}

/// The words of the first line.
fn columns(printed: &str) -> Vec<&str> {
    printed.lines().next().unwrap_or_default().split_whitespace().collect()
}

pub(crate) async fn kubectl_prints_what_people_are_used_to(space: Space) {
    let _plurals = PLURALS.read().await;
    space.authority().await;
    space.certificate("web", json!({})).await;
    let certificate = ["NAME", "READY", "SECRET", "AGE"];
    let wide = ["NAME", "READY", "SECRET", "ISSUER", "STATUS", "EXPIRATION", "AGE"];
    let request = ["NAME", "APPROVED", "DENIED", "READY", "ISSUER", "REQUESTER", "AGE"];
    for name in ["certificates", "certificate", "cert", "certs"] {
        let printed = kubectl(&space, &["get", name, "web"]);
        assert_eq!(columns(&printed), certificate, "{name}");
        assert!(printed.contains("True"), "{printed}");
    }
    assert_eq!(columns(&kubectl(&space, &["get", "cert", "web", "-o", "wide"])), wide);
    let spec = json!({ "request": ByteString(b"garbage".to_vec()), "issuerRef": { "name": "ca" } });
    space.make::<CertificateRequest>("laptop", json!({ "spec": spec })).await;
    for name in ["certificaterequests", "cr", "crs"] {
        assert_eq!(columns(&kubectl(&space, &["get", name, "laptop"])), request, "{name}");
    }
    for name in ["issuers", "iss"] {
        let printed = kubectl(&space, &["get", name, "ca"]);
        assert_eq!(columns(&printed), ["NAME", "READY", "AGE"], "{name}");
    }
    let wide = kubectl(&space, &["get", "iss", "ca", "-o", "wide"]);
    assert_eq!(columns(&wide)[..3], ["NAME", "READY", "STATUS"]);
    assert!(wide.contains("Signing CA verified"), "{wide}");
    kubectl(&space, &["get", "ciss"]);
    let all = kubectl(&space, &["get", "countersign"]);
    for name in ["certificate.countersign.dev/web", "issuer.countersign.dev/ca"] {
        assert!(all.contains(name), "{all}");
    }
    let selector = "--field-selector=spec.issuerRef.name=root,spec.secretName=";
    let found = kubectl(&space, &["get", "cert", selector.split_once(',').unwrap().0]);
    assert!(found.contains("intermediate") && !found.contains("web"), "{found}");
    let explained = kubectl(&space, &["explain", "certificate.spec.duration"]);
    assert!(explained.contains("Go duration"), "{explained}");
    std::fs::remove_dir_all(folder(&space)).unwrap();
}

async fn say<K: Object>(space: &Space, name: &str, manager: &str, conditions: Value) {
    let status = json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": { "name": name }, "status": { "conditions": conditions } });
    let parameters = PatchParams::apply(manager).force();
    space.api::<K>().patch_status(name, &parameters, &Patch::Apply(&status)).await.unwrap();
}

pub(crate) async fn what_others_say_on_a_status_stays(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let theirs = |status: &str| json!([{ "type": "Reloaded", "status": status, "reason": "Test" }]);
    say::<Certificate>(&space, "web", "a-reloader", theirs("True")).await;
    say::<Issuer>(&space, "ca", "a-reloader", theirs("True")).await;
    // Who renews by server-side apply takes nothing from others either.
    let asked = json!([{ "type": "Issuing", "status": "True", "reason": "ManuallyTriggered" }]);
    say::<Certificate>(&space, "web", "a-renewer", asked).await;
    let renewed = |certificate: &Certificate| revision(certificate) == Some(2);
    space.certificate_when("web", "is renewed", renewed).await;
    let certificate = space.ready("web").await;
    let kept = condition(&certificate, "Reloaded").expect("it is kept");
    assert_eq!(kept.reason.as_deref(), Some("Test"));
    space.change::<Secret>("intermediate", json!({ "data": { "tls.key": "" } })).await;
    let ready = |issuer: &Issuer| {
        let conditions = issuer.status.iter().flat_map(|status| &status.conditions);
        let mut of_ready = conditions.filter(|condition| condition.type_ == "Ready");
        of_ready.any(|condition| condition.observed_generation == issuer.metadata.generation)
    };
    let issuer = space.when::<Issuer>("ca", "was looked at", ready).await;
    let conditions = issuer.status.unwrap().conditions;
    assert!(conditions.iter().any(|condition| condition.type_ == "Reloaded"), "{conditions:?}");
}

pub(crate) async fn a_label_that_others_wrote_stays_once_a_template_has_it(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let label = |value: &str| {
        json!({ "metadata": { "labels": { "team": value },
        "annotations": { "note": value } } })
    };
    space.make::<Secret>("web", label("shop")).await;
    let template = json!({ "labels": { "team": "shop" }, "annotations": { "note": "shop" } });
    let spec = json!({ "spec": { "secretTemplate": template } });
    space.change::<Certificate>("web", spec).await;
    let is_ours = |secret: &Secret| {
        let mut ours = secret
            .managed_fields()
            .iter()
            .filter(|entry| entry.manager.as_deref() == Some("countersign-operator"));
        ours.any(|entry| {
            let fields = &entry.fields_v1.as_ref().unwrap().0["f:metadata"];
            fields["f:labels"]["f:team"].is_object()
                && fields["f:annotations"]["f:note"].is_object()
        })
    };
    let before = space.when::<Secret>("web", "is ours too", is_ours).await;
    // They take away what is theirs.
    space.make::<Secret>("web", json!({})).await;
    let after = space.secret("web").await;
    assert_eq!(after.labels()["team"], "shop");
    assert_eq!(after.annotations()["note"], "shop");
    assert_eq!(facts(&before).serial, facts(&after).serial);
}

pub(crate) async fn a_request_says_what_its_certificate_says(space: Space) {
    let issuer = json!({ "name": "theirs", "kind": "StepIssuer", "group": "example.org" });
    for (name, encodes) in [("said", true), ("unsaid", false)] {
        let spec = leaf(
            name,
            json!({ "issuerRef": issuer, "usages": ["server auth"],
            "encodeUsagesInRequest": encodes, "duration": "2h" }),
        );
        let annotations = json!({ "kubectl.kubernetes.io/a": "b", "fluxcd.io/a": "b",
            "argocd.argoproj.io/a": "b", "example.org/a": "b" });
        let object = json!({ "metadata": { "annotations": annotations, "labels": { "a": "b" } },
            "spec": spec });
        space.make::<Certificate>(name, object).await;
        let made = format!("{name}-1");
        let request = space.when::<CertificateRequest>(&made, "is made", |_| true).await;
        let csr = parse_csr(&request.spec.request.0).expect("a CSR");
        assert_eq!(csr.encodes_usages, encodes, "{name}");
        assert_eq!(csr.request.dns_names, [format!("{name}.test")]);
        assert_eq!(request.spec.usages.len(), 1);
        assert_eq!(Duration::from(request.spec.duration.unwrap()), Duration::from_secs(7200));
        assert_eq!(request.labels()["a"], "b");
        let noted: Vec<_> = request.annotations().keys().map(String::as_str).collect();
        assert_eq!(noted.last(), Some(&"example.org/a"));
        let ours = noted.iter().filter(|name| name.starts_with("countersign.dev/")).count();
        assert_eq!(ours + 1, noted.len(), "{noted:?}");
        let [owner] = request.owner_references() else { panic!("one owner") };
        assert_eq!((owner.name.as_str(), owner.controller), (name, Some(true)));
    }
}

pub(crate) async fn a_literal_subject_stands_in_the_order_that_it_says(space: Space) {
    space.authority().await;
    let subject = r#"CN=James \"Jim\" Smith\, III,UID=jamessmith,serialNumber=1234512345,OU=Admins,OU=IT,DC=net,DC=dc,O=Acme,street=La Rambla,L=Barcelona,C=Spain"#;
    let spec = json!({ "literalSubject": subject, "dnsNames": [], "subject": {} });
    space.certificate("web", spec).await;
    let folder = folder(&space);
    std::fs::write(folder.join("tls.crt"), text(&space.secret("web").await, "tls.crt")).unwrap();
    let arguments = ["x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in", "tls.crt"];
    let said = Command::new("openssl").args(arguments).current_dir(&folder).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), format!("subject={subject}"));
    let long = json!({ "literalSubject": format!("CN={}", "a".repeat(65)), "dnsNames": [] });
    space.make::<Certificate>("long", json!({ "spec": leaf("long", long) })).await;
    let told = |certificate: &Certificate| {
        let message = condition(certificate, "Ready").and_then(|ready| ready.message.as_deref());
        message
            .is_some_and(|text| text.contains("spec.literalSubject") && text.contains("64 bytes"))
    };
    space.certificate_when("long", "is told", told).await;
}

pub(crate) async fn an_authority_may_be_written_in_any_order(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let (root, middle) = (space.secret("root").await, space.secret("intermediate").await);
    let (root, above) = (text(&root, "tls.crt"), text(&middle, "tls.crt"));
    let orders = [
        ("as-usual", [above, root].concat()),
        ("upside-down", [root, above].concat()),
        ("twice", [above, root, b"\n# a comment\n \n", above, root].concat()),
    ];
    for (name, tls_crt) in orders {
        let data = json!({ "tls.crt": ByteString(tls_crt), "tls.key": middle.data.as_ref().unwrap()["tls.key"] });
        space.make::<Secret>(&format!("ca-{name}"), json!({ "data": data })).await;
        let issuer = json!({ "spec": { "ca": { "secretName": format!("ca-{name}") } } });
        space.make::<Issuer>(name, issuer).await;
        space.certificate(name, json!({ "issuerRef": { "name": name } })).await;
        let secret = space.secret(name).await;
        let chain = CertificateFacts::all_from_pem(text(&secret, "tls.crt")).unwrap();
        let [leaf, signer] = &chain[..] else { panic!("{name}: {}", chain.len()) };
        assert!(leaf.verify_issued_by(signer), "{name}");
        assert_eq!(text(&secret, "ca.crt"), root, "{name}");
    }
}

pub(crate) async fn an_authority_without_a_subject_signs(space: Space) {
    space.authority().await;
    let nameless =
        json!({ "isCA": true, "dnsNames": ["example.com"], "issuerRef": { "name": "self" } });
    space.certificate("nameless", nameless).await;
    let issuer = json!({ "spec": { "ca": { "secretName": "nameless" } } });
    space.make::<Issuer>("nameless", issuer).await;
    space.certificate("web", json!({ "issuerRef": { "name": "nameless" } })).await;
    let (secret, authority) = (space.secret("web").await, space.secret("nameless").await);
    assert!(facts(&secret).verify_issued_by(&facts(&authority)));
    assert_eq!(text(&secret, "ca.crt"), text(&authority, "tls.crt"));
}

pub(crate) async fn a_secret_that_cannot_be_written_is_told(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let template = json!({ "spec": { "secretTemplate": { "labels": { "no name": "a" } } } });
    space.change::<Certificate>("web", template).await;
    space.event("web", "says why", |reason| reason == "InvalidSpec").await;
    let template =
        json!({ "spec": { "secretTemplate": { "labels": { "no name": null, "a": "b" } } } });
    space.change::<Certificate>("web", template).await;
    space.ready("web").await;
    assert_eq!(space.secret("web").await.labels()["a"], "b");
}

pub(crate) async fn a_cluster_issuer_waits_for_its_secret_in_the_operators_namespace(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let name = format!("{}-late", space.namespace);
    let issuers: Api<ClusterIssuer> = Api::all(space.client.clone());
    make_in(&issuers, &name, json!({ "spec": { "ca": { "secretName": name } } })).await;
    let says = |reason: &'static str| {
        move |issuer: &ClusterIssuer| {
            let mut conditions = issuer.status.iter().flat_map(|status| &status.conditions);
            conditions.any(|condition| condition.reason.as_deref() == Some(reason))
        }
    };
    when_in(&issuers, &name, "has no Secret", says("ErrGetKeyPair")).await;
    let data = json!({ "data": space.secret("intermediate").await.data });
    // One in another namespace is none of its.
    space.make::<Secret>(&name, data.clone()).await;
    let home: Api<Secret> = Api::namespaced(space.client.clone(), HOME);
    assert!(home.get_opt(&name).await.unwrap().is_none());
    let issuer = json!({ "name": name, "kind": "ClusterIssuer" });
    let spec = leaf("web", json!({ "issuerRef": issuer }));
    space.make::<Certificate>("web", json!({ "spec": spec })).await;
    space.event("web", "says that it waits", |reason| reason == "IssuerNotReady").await;
    make_in(&home, &name, data).await;
    when_in(&issuers, &name, "is ready", says("KeyPairVerified")).await;
    space.ready("web").await;
}
