//! Requests: to issuers of others, to ours, and of Kubernetes' own kind.

use std::collections::BTreeSet;

use countersign_crds::{Certificate, CertificateRequest};
use countersign_operator::pki::{Request, make_csr, parse_csr};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::authority::new_key;
use crate::history::History;
use crate::scenario::Scenario;
use crate::space::{Space, is_issued, text};

/// A CSR for `laptop.test`.
pub(crate) fn csr() -> ByteString {
    let request = Request { dns_names: vec!["laptop.test".to_owned()], ..Request::default() };
    ByteString(make_csr(&request, &new_key()).expect("a CSR").into_bytes())
}

fn foreign() -> Value {
    json!({ "name": "theirs", "kind": "StepIssuer", "group": "example.org" })
}

/// An issuer of somebody else's signs.
#[derive(Clone, Copy)]
pub(crate) enum Others {
    /// At once.
    Quick,
    /// Only once the operator has kept the key, since it takes so long.
    Slow,
}

impl Scenario for Others {
    async fn prepare(self, _: &Space) {}

    async fn begin(self, space: &Space) {
        space.web(json!({ "issuerRef": foreign() })).await;
    }

    async fn meanwhile(self, space: &Space) {
        match self {
            Self::Quick => sign_all(space, |_, _| true).await,
            Self::Slow => sign_all(space, key_is_kept).await,
        }
    }

    fn is_done(self, seen: &History) -> bool {
        is_issued(seen, "web", 1)
    }
}

/// Signs each request once, when it is time.
async fn sign_all(space: &Space, is_time: impl Fn(&History, &CertificateRequest) -> bool) {
    let mut signed = BTreeSet::new();
    loop {
        let next = |seen: &History| {
            let is_next =
                |it: &CertificateRequest| !signed.contains(&it.uid()) && is_time(seen, it);
            seen.requests.now().into_iter().find(is_next)
        };
        space.history.until(|seen| next(seen).is_some()).await;
        let Some(request) = next(&space.history) else { continue };
        sign(space, &request).await;
        signed.insert(request.uid());
    }
}

/// Whether the status tells of a Secret with the key of this very request.
fn key_is_kept(seen: &History, request: &CertificateRequest) -> bool {
    let status = seen.certificates.named("web").and_then(|certificate| certificate.status);
    let name = status.and_then(|status| status.next_private_key_secret_name);
    let secret = name.and_then(|name| seen.secrets.named(&name));
    secret.is_some_and(|secret: Secret| {
        let mut owners = secret.owner_references().iter();
        !text(&secret, "tls.key").is_empty()
            && owners.any(|owner| Some(&owner.uid) == request.uid().as_ref())
    })
}

/// What is asked for changes while an answer is waited for: the first request goes, and another one
/// of its name has a key of its own.
#[derive(Clone, Copy)]
pub(crate) struct Replaced;

impl Scenario for Replaced {
    async fn prepare(self, space: &Space) {
        Others::Slow.begin(space).await;
        let request = |seen: &History| seen.requests.named("web-1");
        let is_kept = |seen: &History| request(seen).is_some_and(|it| key_is_kept(seen, &it));
        space.history.until(is_kept).await;
    }

    async fn begin(self, space: &Space) {
        space.change::<Certificate>("web", json!({ "spec": { "dnsNames": ["www.test"] } })).await;
    }

    async fn meanwhile(self, space: &Space) {
        sign_all(space, |seen, request| {
            let asked = parse_csr(&request.spec.request.0).expect("a CSR");
            asked.request.dns_names == ["www.test"] && key_is_kept(seen, request)
        })
        .await;
    }

    fn is_done(self, seen: &History) -> bool {
        is_issued(seen, "web", 1)
    }
}

/// Signs, unless the request is gone meanwhile.
async fn sign(space: &Space, request: &CertificateRequest) {
    let (certificate, ca) = space.authority.answer(&request.spec.request.0);
    let saying = |type_: &str, reason: &str| json!({ "type": type_, "status": "True", "reason": reason, "message": "so it is" });
    let status = json!({
        "conditions": [saying("Approved", "Human"), saying("Ready", "Issued")],
        "certificate": certificate, "ca": ca,
    });
    let its = json!({ "metadata": { "uid": request.uid() }, "status": status });
    let api = space.api::<CertificateRequest>();
    let name = request.name_any();
    match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(its)).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
        Err(error) => panic!("signing {name}: {error}"),
    }
}

/// A Certificate of another issuer is issued for the third time, and two requests are kept.
#[derive(Clone, Copy)]
pub(crate) struct Pruning;

impl Scenario for Pruning {
    async fn prepare(self, space: &Space) {
        space.issued_web(json!({ "issuerRef": foreign(), "revisionHistoryLimit": 2 })).await;
        space.change::<Certificate>("web", json!({ "spec": { "dnsNames": ["two.test"] } })).await;
        space.history.until(|seen| is_issued(seen, "web", 2)).await;
    }

    async fn begin(self, space: &Space) {
        space.change::<Certificate>("web", json!({ "spec": { "dnsNames": ["three.test"] } })).await;
    }

    async fn meanwhile(self, space: &Space) {
        Others::Quick.meanwhile(space).await;
    }

    fn is_done(self, seen: &History) -> bool {
        let requests: BTreeSet<_> = seen.requests.now().iter().map(ResourceExt::name_any).collect();
        requests == ["web-2", "web-3"].map(str::to_owned).into() && is_issued(seen, "web", 3)
    }
}

/// A CertificateRequest of somebody's, to an issuer of ours.
#[derive(Clone, Copy)]
pub(crate) struct Csr;

impl Scenario for Csr {
    async fn prepare(self, space: &Space) {
        space.issuer().await;
    }

    async fn begin(self, space: &Space) {
        let spec = json!({ "request": csr(), "issuerRef": { "name": "ca" } });
        space.make::<CertificateRequest>("laptop", json!({ "spec": spec })).await;
    }

    fn is_done(self, seen: &History) -> bool {
        let status = seen.requests.named("laptop").and_then(|request| request.status);
        status.is_some_and(|status| status.certificate.is_some())
    }
}

/// A CertificateSigningRequest of Kubernetes.
#[derive(Clone, Copy)]
pub(crate) struct KubernetesCsr;

impl Scenario for KubernetesCsr {
    async fn prepare(self, space: &Space) {
        space.issuer().await;
    }

    async fn begin(self, space: &Space) {
        let object = json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": { "name": space.name },
            "spec": { "request": csr(), "expirationSeconds": 3600,
                "signerName": format!("issuers.countersign.dev/{}.ca", space.name),
                "usages": ["digital signature", "server auth"] },
        });
        let requests: Api<CertificateSigningRequest> = Api::all(space.client.clone());
        let object = serde_json::from_value(object).expect("a CSR");
        requests.create(&PostParams::default(), &object).await.expect("it is accepted");
        let said = json!({ "type": "Approved", "status": "True", "reason": "Test", "message": "" });
        let patch = Patch::Merge(json!({ "status": { "conditions": [said] } }));
        let approved = requests.patch_approval(&space.name, &PatchParams::default(), &patch).await;
        approved.expect("it is approved");
    }

    fn is_done(self, seen: &History) -> bool {
        let requests = seen.signing_requests.now();
        let status = requests.into_iter().next().and_then(|request| request.status);
        status.is_some_and(|status| status.certificate.is_some())
    }
}
