//! Certificates of an issuer of ours.

use countersign_crds::{Certificate, Issuer};
use countersign_operator::clock::Clock;
use countersign_operator::pki::{CertificateFacts, Request};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::authority::Pems;
use crate::history::History;
use crate::scenario::Scenario;
use crate::space::{Space, is_issued, text};

/// A Certificate comes, and becomes a Secret.
#[derive(Clone, Copy)]
pub(crate) struct First;

impl Scenario for First {
    async fn prepare(self, space: &Space) {
        space.issuer().await;
    }

    async fn begin(self, space: &Space) {
        space.web(json!({})).await;
    }

    fn is_done(self, seen: &History) -> bool {
        is_issued(seen, "web", 1)
    }
}

/// A Certificate that was issued is issued again.
#[derive(Clone, Copy)]
pub(crate) enum Again {
    /// Somebody asks for it by condition Issuing.
    Asked,
    /// The spec changes.
    Changed,
    /// It is nearly over.
    Due,
    /// Its key is another's.
    Damaged,
    /// Its Secret is deleted.
    Deleted,
}

impl Scenario for Again {
    async fn prepare(self, space: &Space) {
        space.issuer().await;
        space.issued_web(json!({})).await;
    }

    async fn begin(self, space: &Space) {
        match self {
            Self::Asked => space.say::<Certificate>("web", asked()).await,
            Self::Changed => {
                let names = json!({ "spec": { "dnsNames": ["web.test", "www.test"] } });
                space.change::<Certificate>("web", names).await;
            }
            Self::Due => {
                let dns_names = vec!["web.test".to_owned()];
                let old = space.authority.old_leaf(Request { dns_names, ..Request::default() });
                space.change::<Secret>("web", holding(&old)).await;
            }
            Self::Damaged => {
                let others = json!({ "stringData": { "tls.key": space.authority.key } });
                space.change::<Secret>("web", others).await;
            }
            Self::Deleted => {
                let secrets = space.api::<Secret>();
                secrets.delete("web", &DeleteParams::default()).await.expect("it goes");
            }
        }
    }

    fn is_done(self, seen: &History) -> bool {
        is_issued(seen, "web", 2)
    }
}

/// What `kubectl countersign renew` writes.
fn asked() -> Value {
    json!({ "conditions": [{
        "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "now",
        "lastTransitionTime": Time(Clock::system().now()),
    }] })
}

fn holding(pems: &Pems) -> Value {
    let Pems { crt, key, ca } = pems;
    json!({ "stringData": { "tls.crt": crt, "tls.key": key, "ca.crt": ca } })
}

/// The Secret shall go with its Certificate.
#[derive(Clone, Copy)]
pub(crate) struct GoesToo;

impl Scenario for GoesToo {
    async fn prepare(self, space: &Space) {
        Again::Asked.prepare(space).await;
    }

    async fn begin(self, space: &Space) {
        let policy = json!({ "spec": { "secretDeletionPolicy": "Delete" } });
        space.change::<Certificate>("web", policy).await;
    }

    fn is_done(self, seen: &History) -> bool {
        let secret = seen.secrets.named("web");
        let owners = secret.and_then(|secret| secret.metadata.owner_references);
        owners.is_some_and(|owners| owners.len() == 1) && is_issued(seen, "web", 1)
    }
}

/// A Certificate with key stores, whose password stands in another Secret.
#[derive(Clone, Copy)]
pub(crate) struct KeyStores;

const PASSWORD: &str = "changeit";

impl Scenario for KeyStores {
    async fn prepare(self, space: &Space) {
        space.issuer().await;
        space.make::<Secret>("passwords", json!({ "stringData": { "jks": "opensesame" } })).await;
    }

    async fn begin(self, space: &Space) {
        space
            .web(json!({ "keystores": {
                "jks": { "create": true, "passwordSecretRef": { "name": "passwords", "key": "jks" } },
                "pkcs12": { "create": true, "profile": "Modern2023", "password": PASSWORD },
            } }))
            .await;
    }

    fn is_done(self, seen: &History) -> bool {
        is_issued(seen, "web", 1)
    }

    fn judge(self, space: &Space) {
        let versions = space.history.secrets.versions();
        for secret in versions.iter().filter(|secret| !text(secret, "keystore.p12").is_empty()) {
            for name in ["keystore.jks", "truststore.jks", "truststore.p12"] {
                assert!(!text(secret, name).is_empty(), "no {name} beside the others");
            }
            let leaf = CertificateFacts::from_pem(text(secret, "tls.crt")).expect("a leaf");
            assert_eq!(leaf_of_key_store(space, secret).serial, leaf.serial);
        }
        let now = space.history.secrets.named("web").expect("its Secret");
        assert!(!text(&now, "keystore.p12").is_empty(), "no key store");
    }
}

/// The certificate in `keystore.p12`, as openssl reads it.
fn leaf_of_key_store(space: &Space, secret: &Secret) -> CertificateFacts {
    let file = space.seat.log.with_extension("p12");
    std::fs::write(&file, text(secret, "keystore.p12")).expect("a file");
    let password = format!("pass:{PASSWORD}");
    let read = std::process::Command::new("openssl")
        .args(["pkcs12", "-nokeys", "-clcerts", "-passin", &password, "-in"])
        .arg(&file)
        .output()
        .expect("openssl runs");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let text = String::from_utf8(read.stdout).expect("PEM");
    let (_, pem) = text.split_once("-----BEGIN").expect("a certificate");
    CertificateFacts::from_pem(format!("-----BEGIN{pem}").as_bytes()).expect("a certificate")
}

/// A root, an intermediate under it and a leaf, with their issuers, all at once.
#[derive(Clone, Copy)]
pub(crate) struct Chain;

impl Scenario for Chain {
    async fn prepare(self, _: &Space) {}

    async fn begin(self, space: &Space) {
        let authority = |secret: &str, issuer: &str| {
            json!({ "spec": {
                "isCA": true, "commonName": secret, "secretName": secret, "duration": "8760h",
                "privateKey": { "algorithm": "ECDSA" }, "issuerRef": { "name": issuer },
            } })
        };
        let ca = |secret: &str| json!({ "spec": { "ca": { "secretName": secret } } });
        space.web(json!({})).await;
        space.make::<Certificate>("intermediate", authority("intermediate", "root")).await;
        space.make::<Certificate>("root", authority("root", "self")).await;
        space.make::<Issuer>("ca", ca("intermediate")).await;
        space.make::<Issuer>("root", ca("root")).await;
        space.make::<Issuer>("self", json!({ "spec": { "selfSigned": {} } })).await;
    }

    fn is_done(self, seen: &History) -> bool {
        ["root", "intermediate", "web"].iter().all(|name| is_issued(seen, name, 1))
    }
}
