//! A namespace of a test's own, with authorities, and with words for what tests do.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use countersign_crds::{Certificate, Condition, ConditionStatus};
use countersign_operator::pki::{CertificateFacts, PrivateKey};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event, Namespace, Secret};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::World;

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Any kind of object that stands in a namespace.
pub(crate) trait Object:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
{
}

impl<K> Object for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
{
}

/// A namespace.
pub(crate) struct Space {
    pub(crate) world: Arc<World>,
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Space {
    pub(crate) async fn new(world: &Arc<World>, test: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let client = world.client();
        let object = json!({ "metadata": { "name": namespace, "annotations": { "test": test } } });
        let object: Namespace = serde_json::from_value(object).unwrap();
        let api: Api<Namespace> = Api::all(client.clone());
        api.create(&PostParams::default(), &object).await.expect("a namespace");
        Self { world: world.clone(), client, namespace }
    }

    /// Objects of a kind in this namespace.
    pub(crate) fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes an object.
    pub(crate) async fn make<K: Object>(&self, name: &str, rest: Value) -> K {
        self.try_make(name, rest).await.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Makes an object that may be refused.
    pub(crate) async fn try_make<K: Object>(&self, name: &str, mut rest: Value) -> kube::Result<K> {
        rest["apiVersion"] = K::api_version(&()).into();
        rest["kind"] = K::kind(&()).into();
        rest["metadata"]["name"] = name.into();
        let parameters = PatchParams::apply("a-user").force();
        self.api::<K>().patch(name, &parameters, &Patch::Apply(&rest)).await
    }

    /// Changes an object.
    pub(crate) async fn change<K: Object>(&self, name: &str, patch: Value) -> K {
        let changed = self.api().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        changed.unwrap_or_else(|error| panic!("changing {name}: {error}"))
    }

    /// An authority: a self-signed root `root`, an intermediate under it, and Issuer `ca`.
    pub(crate) async fn authority(&self) {
        let issuer = |spec: Value| json!({ "spec": spec });
        let authority = |secret: &str, issuer: &str| {
            json!({ "spec": {
                "isCA": true, "commonName": format!("{} {secret}", self.namespace),
                "secretName": secret, "duration": "8760h",
                "privateKey": { "algorithm": "ECDSA" }, "issuerRef": { "name": issuer },
            } })
        };
        let ca = |secret: &str| issuer(json!({ "ca": { "secretName": secret } }));
        let made = [
            ("self", issuer(json!({ "selfSigned": {} }))),
            ("root", ca("root")),
            ("ca", ca("intermediate")),
        ];
        for (name, object) in made {
            self.make::<countersign_crds::Issuer>(name, object).await;
        }
        self.make::<Certificate>("root", authority("root", "self")).await;
        self.make::<Certificate>("intermediate", authority("intermediate", "root")).await;
    }

    /// A Certificate of Issuer `ca`, with some of its fields as they are given; waits for it.
    pub(crate) async fn certificate(&self, name: &str, spec: Value) -> Certificate {
        self.make::<Certificate>(name, json!({ "spec": leaf(name, spec) })).await;
        self.ready(name).await
    }

    /// Waits until a Certificate is ready as it now stands.
    pub(crate) async fn ready(&self, name: &str) -> Certificate {
        self.certificate_when(name, "is ready", |certificate| {
            let ready = condition(certificate, "Ready");
            let issuing = condition(certificate, "Issuing");
            ready.is_some_and(|ready| {
                ready.status == ConditionStatus::True
                    && ready.observed_generation == certificate.metadata.generation
            }) && issuing.is_none_or(|issuing| issuing.status != ConditionStatus::True)
        })
        .await
    }

    /// Waits for a Certificate about which something holds.
    pub(crate) async fn certificate_when(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&Certificate) -> bool,
    ) -> Certificate {
        self.when(name, what, holds).await
    }

    /// Waits for an object about which something holds.
    pub(crate) async fn when<K: Object>(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&K) -> bool,
    ) -> K {
        when_in(&self.api(), name, what, holds).await
    }

    /// The Secret of that name.
    pub(crate) async fn secret(&self, name: &str) -> Secret {
        self.api().get(name).await.unwrap_or_else(|error| panic!("Secret {name}: {error}"))
    }

    /// Waits for an Event about an object; it comes after what it tells of.
    pub(crate) async fn event(&self, name: &str, what: &str, is_it: impl Fn(&str) -> bool) {
        event_in(&self.api(), name, what, is_it).await;
    }
}

/// Waits for an Event about an object; those about what stands in no namespace are in `default`.
pub(crate) async fn event_in(
    events: &Api<Event>,
    name: &str,
    what: &str,
    is_it: impl Fn(&str) -> bool,
) {
    let fields = ListParams::default().fields(&format!("involvedObject.name={name}"));
    let looking = async {
        loop {
            let found = events.list(&fields).await.expect("Events");
            if found.iter().filter_map(|event| event.reason.as_deref()).any(&is_it) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, looking).await;
    told.unwrap_or_else(|_| panic!("no Event about {name} {what}"));
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let held = tokio::time::timeout(PATIENCE, looking).await;
    held.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Makes an object, wherever it stands.
pub(crate) async fn make_in<K>(api: &Api<K>, name: &str, mut rest: Value) -> K
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    rest["apiVersion"] = K::api_version(&()).into();
    rest["kind"] = K::kind(&()).into();
    rest["metadata"]["name"] = name.into();
    let parameters = PatchParams::apply("a-user").force();
    let made = api.patch(name, &parameters, &Patch::Apply(&rest)).await;
    made.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Waits for an object about which something holds.
pub(crate) async fn when_in<K: Clone + Debug + DeserializeOwned>(
    api: &Api<K>,
    name: &str,
    what: &str,
    holds: impl Fn(&K) -> bool,
) -> K {
    let last = std::sync::Mutex::new(None);
    let looking = async {
        loop {
            let found = api.get_opt(name).await.expect("the API server answers");
            if let Some(found) = found.as_ref().filter(|found| holds(found)) {
                return found.clone();
            }
            *last.lock().unwrap() = found;
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await;
    found.unwrap_or_else(|_| panic!("{name} never {what}: {:?}", last.lock().unwrap()))
}

/// The spec of the identity of an account, as the operator makes it for its pods.
pub(crate) fn identity_spec(space: &Space, account: &str) -> Value {
    json!({
        "uris": [format!("spiffe://cluster.local/ns/{}/sa/{account}", space.namespace)],
        "duration": "24h",
        "secretName": format!("countersign-{account}"),
        "usages": ["digital signature", "server auth", "client auth"],
        "privateKey": { "algorithm": "ECDSA", "size": 256, "encoding": "PKCS8" },
        "issuerRef": { "name": "countersign", "kind": "ClusterIssuer", "group": "countersign.dev" },
    })
}

/// The Secret with the identity of an account, which needs no pod.
pub(crate) async fn identity(space: &Space, account: &str) -> Secret {
    let name = format!("countersign-{account}");
    let spec = identity_spec(space, account);
    space.make::<Certificate>(&name, json!({ "spec": spec })).await;
    space.ready(&name).await;
    space.secret(&name).await
}

/// The spec of a leaf.
pub(crate) fn leaf(name: &str, mut spec: Value) -> Value {
    let defaults = json!({
        "secretName": name, "dnsNames": [format!("{name}.test")],
        "privateKey": { "algorithm": "ECDSA" }, "issuerRef": { "name": "ca" },
    });
    for (field, value) in defaults.as_object().unwrap() {
        if spec.get(field).is_none() {
            spec[field] = value.clone();
        }
    }
    spec
}

/// A condition of a Certificate.
pub(crate) fn condition<'a>(certificate: &'a Certificate, type_: &str) -> Option<&'a Condition> {
    certificate.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}

/// How often a Certificate was issued.
pub(crate) fn revision(certificate: &Certificate) -> Option<i64> {
    certificate.status.as_ref()?.revision
}

/// What a key of a Secret holds.
pub(crate) fn text<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[], |bytes| &bytes.0)
}

/// The first certificate in a Secret.
pub(crate) fn facts(secret: &Secret) -> CertificateFacts {
    CertificateFacts::from_pem(text(secret, "tls.crt")).expect("a certificate")
}

/// Whether a Secret's certificate and key belong together.
pub(crate) fn is_pair(secret: &Secret) -> bool {
    let key = PrivateKey::from_pem(text(secret, "tls.key"));
    let leaf = CertificateFacts::from_pem(text(secret, "tls.crt"));
    matches!((leaf, key), (Ok(leaf), Ok(key)) if leaf.matches_key(&key))
}

/// Who wrote an object last.
pub(crate) fn last_writer(secret: &Secret) -> Option<String> {
    let entries = secret.managed_fields().iter();
    entries.max_by_key(|entry| entry.time.clone().map(|time| time.0))?.manager.clone()
}
