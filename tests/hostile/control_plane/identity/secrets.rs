//! Who fills the Secrets that sidecars mount as identities, and take their roots from.

use countersign_crds::{Certificate, ConditionStatus};
use countersign_operator::pki::CertificateFacts;
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::approval::{has, refused};
use crate::chart::{apply, rendered};
use crate::space::{Space, condition, facts, identity, identity_spec, leaf, text};
use crate::world::HOME;

/// A Certificate of the attacker's own CA for the Secret of an account.
fn of_another_issuer(space: &Space, name: &str, account: &str) -> Value {
    let mut spec = identity_spec(space, account);
    spec["issuerRef"] = json!({ "name": "ca" });
    json!({ "spec": leaf(name, spec) })
}

/// A pod with the sidecar, and its account.
async fn pod(space: &Space, account: &str) {
    let pod = json!({
        "metadata": { "labels": { "countersign.dev/injected": "true" } },
        "spec": { "serviceAccountName": account, "containers": [{ "name": "a", "image": "a" }] },
    });
    space.make::<ServiceAccount>(account, json!({})).await;
    space.make::<Pod>(account, pod).await;
}

/// The Secret of an account, whose root is that of all identities.
async fn believed(space: &Space, account: &str) -> Secret {
    let name = format!("countersign-{account}");
    space.when::<Certificate>(&name, "is made for the pod", |_| true).await;
    space.ready(&name).await;
    let secret = space.secret(&name).await;
    let home: Api<Secret> = Api::namespaced(space.client.clone(), HOME);
    let root = facts(&home.get("countersign-root").await.unwrap());
    let told = CertificateFacts::all_from_pem(text(&secret, "ca.crt")).unwrap();
    let keys: Vec<_> = told.into_iter().map(|facts| facts.public_key_spki).collect();
    assert_eq!(keys, [root.public_key_spki], "{account}");
    secret
}

/// Another Certificate names the Secret of an account; admission refuses it where the chart's policies are
/// installed, and the operator in any case.
async fn squat(space: &Space, name: &str, account: &str) {
    let object = of_another_issuer(space, name, account);
    if let Err(refusal) = space.try_make::<Certificate>(name, object).await {
        return has(&refusal.to_string(), &["spec.secretName", "is reserved"]);
    }
    let is_refused = |certificate: &Certificate| {
        condition(certificate, "Ready").is_some_and(|ready| {
            ready.status == ConditionStatus::False
                && ready.reason.as_deref() == Some("ReservedSecretName")
        })
    };
    space.certificate_when(name, "is refused", is_refused).await;
}

pub(crate) async fn secret_of_an_identity_is_filled_by_no_other_issuer(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    // Before the account has a pod.
    squat(&space, "aaa", "web").await;
    assert!(space.api::<Secret>().get_opt("countersign-web").await.unwrap().is_none());
    pod(&space, "web").await;
    let before = believed(&space, "web").await;
    // Later, and without the marks of an identity.
    let patch = json!({
        "metadata": { "labels": { "countersign.dev/identity": null },
            "annotations": { "countersign.dev/service-account": null } },
        "spec": { "commonName": "till-1", "issuerRef": { "kind": "Issuer", "name": "ca" } },
    });
    let patched = space
        .api::<Certificate>()
        .patch("countersign-web", &PatchParams::default(), &Patch::Merge(patch))
        .await;
    match patched {
        Ok(patched) => {
            let is_back = |certificate: &Certificate| {
                certificate.metadata.generation > patched.metadata.generation
                    && certificate.spec.issuer_ref.name == "countersign"
                    && certificate.spec.common_name.is_none()
                    && certificate.labels().contains_key("countersign.dev/identity")
            };
            space.certificate_when("countersign-web", "is applied again", is_back).await;
        }
        Err(refusal) => has(&refusal.to_string(), &["spec.secretName", "is reserved"]),
    }
    let after = believed(&space, "web").await;
    assert_eq!(text(&after, "tls.crt"), text(&before, "tls.crt"), "it was issued meanwhile");
}

pub(crate) async fn secret_that_another_certificate_filled_before_is_taken_back(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    // As an earlier version wrote it for Certificate `aaa`.
    let theirs = space.secret("intermediate").await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "data": theirs.data,
        "metadata": { "name": "countersign-web", "labels": { "controller.countersign.dev/fao": "true" },
            "annotations": { "countersign.dev/certificate-name": "aaa" } },
    });
    let parameters = PatchParams::apply("countersign-operator").force();
    space
        .api::<Secret>()
        .patch("countersign-web", &parameters, &Patch::Apply(secret))
        .await
        .unwrap();
    squat(&space, "aaa", "web").await;
    pod(&space, "web").await;
    let taken = believed(&space, "web").await;
    assert_eq!(taken.annotations()["countersign.dev/certificate-name"], "countersign-web");
}

pub(crate) async fn certificate_with_the_secret_of_an_identity_is_refused_at_admission(
    space: Space,
) {
    apply(&space, &rendered(&space, &["policy-identities"], &[]));
    let dry = PatchParams { dry_run: true, ..PatchParams::apply("a-user").force() };
    let apply = async |namespace: &str, name: &str, spec: &Value| {
        let object = json!({ "apiVersion": "countersign.dev/v1", "kind": "Certificate",
            "metadata": { "name": name }, "spec": spec });
        let api: Api<Certificate> = Api::namespaced(space.client.clone(), namespace);
        let applied = api.patch(name, &dry, &Patch::Apply(&object)).await;
        applied.map(|_| ()).map_err(|error| error.to_string())
    };
    let own = space.namespace.as_str();
    let other = of_another_issuer(&space, "aaa", "web")["spec"].clone();
    let said = refused("another issuer", async |_| apply(own, "aaa", &other).await).await;
    has(&said, &["spec.secretName: countersign-web is reserved", "does not begin with"]);
    let with = |field: &str, value: Value| {
        let mut spec = identity_spec(&space, "web");
        spec[field] = value;
        spec
    };
    let uri = |namespace: &str, account: &str| {
        json!([format!("spiffe://cluster.local/ns/{namespace}/sa/{account}")])
    };
    let attempts = [
        with("issuerRef", json!({ "name": "countersign" })),
        with("issuerRef", json!({ "kind": "ClusterIssuer", "name": "other" })),
        with(
            "issuerRef",
            json!({ "kind": "ClusterIssuer", "name": "countersign", "group": "example.org" }),
        ),
        with("uris", uri(own, "api")),
        with("uris", uri("bank", "web")),
        with("uris", json!([])),
        with("isCA", true.into()),
        with("secretName", "countersign-api".into()),
    ];
    for attempt in attempts {
        assert!(apply(own, "countersign-web", &attempt).await.is_err(), "{attempt}");
    }
    assert!(apply(own, "aaa", &identity_spec(&space, "web")).await.is_err(), "another name");
    // Other Secrets, identities as they are, and the operator's own namespace.
    apply(own, "countersign-web", &with("secretName", "web-tls".into())).await.unwrap();
    apply(HOME, "aaa", &other).await.unwrap();
    for account in ["web", &"x".repeat(253)] {
        let name = countersign_contract::names::identity_name(account);
        let mut spec = identity_spec(&space, account);
        spec["secretName"] = name.as_str().into();
        apply(own, &name, &spec).await.unwrap();
    }
    // One that is there is renewed, and changed by nobody.
    identity(&space, "web").await;
    let renew =
        json!({ "metadata": { "annotations": { "countersign.dev/renew-requested-at": "x" } } });
    space.change::<Certificate>("countersign-web", renew).await;
    let patch = json!({ "spec": { "issuerRef": { "kind": "Issuer", "name": "ca" } } });
    let patched = space
        .api::<Certificate>()
        .patch("countersign-web", &PatchParams::default(), &Patch::Merge(patch))
        .await;
    has(&patched.unwrap_err().to_string(), &["countersign-web is reserved"]);
}
