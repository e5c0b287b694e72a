//! A namespace of one run: an operator that sees nothing else, an issuer that can sign, and words
//! for what scenarios do and wait for.

use std::fmt::Debug;

use countersign_crds::{Certificate, CertificateRequest, ConditionStatus, Issuer};
use countersign_operator::pki::CertificateFacts;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::authority::Pems;
use crate::history::History;
use crate::operator::Seat;
use crate::scenario::PATIENCE;
use crate::world::World;

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
    pub(crate) name: String,
    pub(crate) client: Client,
    pub(crate) authority: Pems,
    pub(crate) history: History,
    pub(crate) seat: Seat,
}

impl Space {
    /// An empty one, whose operator does not run yet. It sees all, or nothing else.
    pub(crate) async fn new(world: &World, what: &str, sees_nothing_else: bool) -> Self {
        let name = format!("crash-{}", World::number());
        let client = world.client();
        let object = json!({ "metadata": { "name": name, "annotations": { "test": what } } });
        let object: Namespace = serde_json::from_value(object).unwrap();
        let api: Api<Namespace> = Api::all(client.clone());
        api.create(&PostParams::default(), &object).await.expect("a namespace");
        let history = History::of(&client, &name).await;
        let seat = Seat::new(world, &name, sees_nothing_else.then(|| name.clone())).await;
        let authority = world.authority.clone();
        Self { name, client, authority, history, seat }
    }

    /// Objects of a kind in this namespace.
    pub(crate) fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Makes an object.
    pub(crate) async fn make<K: Object>(&self, name: &str, mut rest: Value) {
        rest["apiVersion"] = K::api_version(&()).into();
        rest["kind"] = K::kind(&()).into();
        rest["metadata"]["name"] = name.into();
        let parameters = PatchParams::apply("a-user").force();
        let made = self.api::<K>().patch(name, &parameters, &Patch::Apply(&rest)).await;
        made.unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Changes an object.
    pub(crate) async fn change<K: Object>(&self, name: &str, patch: Value) {
        let patch = Patch::Merge(patch);
        let changed = self.api::<K>().patch(name, &PatchParams::default(), &patch).await;
        changed.unwrap_or_else(|error| panic!("changing {name}: {error}"));
    }

    /// Changes the status of an object.
    pub(crate) async fn say<K: Object>(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        let said = self.api::<K>().patch_status(name, &PatchParams::default(), &patch).await;
        said.unwrap_or_else(|error| panic!("the status of {name}: {error}"));
    }

    /// Issuer `ca`, which can sign.
    pub(crate) async fn issuer(&self) {
        let Pems { crt, key, ca } = &self.authority;
        let secret = json!({ "stringData": { "tls.crt": crt, "tls.key": key, "ca.crt": ca } });
        self.make::<Secret>("authority", secret).await;
        self.make::<Issuer>("ca", json!({ "spec": { "ca": { "secretName": "authority" } } })).await;
        let ready = |issuer: &Issuer| {
            let mut conditions = issuer.status.iter().flat_map(|status| &status.conditions);
            conditions.any(|c| c.type_ == "Ready" && c.status == ConditionStatus::True)
        };
        self.history.until(|seen| seen.issuers.named("ca").as_ref().is_some_and(ready)).await;
    }

    /// Certificate `web` of Issuer `ca`, with some of its fields as they are given.
    pub(crate) async fn web(&self, mut spec: Value) {
        let defaults = json!({
            "secretName": "web", "dnsNames": ["web.test"],
            "privateKey": { "algorithm": "ECDSA" }, "issuerRef": { "name": "ca" },
        });
        for (field, value) in defaults.as_object().unwrap() {
            if spec.get(field).is_none() {
                spec[field] = value.clone();
            }
        }
        self.make::<Certificate>("web", json!({ "spec": spec })).await;
    }

    /// Waits until the history has all that there is: each kind is watched by itself, and the last
    /// word of one may come before that of another.
    pub(crate) async fn is_seen_to_the_end(&self) {
        let secrets = listed(self.api::<Secret>()).await;
        let certificates = listed(self.api::<Certificate>()).await;
        let requests = listed(self.api::<CertificateRequest>()).await;
        let has_all = |seen: &History| {
            seen.secrets.has(&secrets)
                && seen.certificates.has(&certificates)
                && seen.requests.has(&requests)
        };
        let seeing = tokio::time::timeout(PATIENCE, self.history.until(has_all)).await;
        seeing.unwrap_or_else(|_| panic!("{}: the watches fall behind", self.name));
    }

    /// Certificate `web`, issued once.
    pub(crate) async fn issued_web(&self, spec: Value) {
        self.web(spec).await;
        self.history.until(|seen| is_issued(seen, "web", 1)).await;
    }
}

/// The name and version of each object of a kind.
async fn listed<K: Object>(api: Api<K>) -> Vec<(String, Option<String>)> {
    let found = api.list_metadata(&ListParams::default()).await.expect("a list");
    found.iter().map(|object| (object.name_any(), object.resource_version())).collect()
}

/// Whether a Certificate was issued so many times, or more, and its status is all about the Secret
/// that there is.
pub(crate) fn is_issued(seen: &History, name: &str, revision: i64) -> bool {
    let Some(certificate) = seen.certificates.named(name) else { return false };
    let Some(secret) = seen.secrets.named(&certificate.spec.secret_name) else { return false };
    let Ok(leaf) = CertificateFacts::from_pem(text(&secret, "tls.crt")) else { return false };
    let Some(status) = &certificate.status else { return false };
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    ready.is_some_and(|ready| {
        ready.status == ConditionStatus::True
            && ready.observed_generation == certificate.metadata.generation
    }) && !status.conditions.iter().any(|condition| condition.type_ == "Issuing")
        && status.revision >= Some(revision)
        && status.secret_resource_version == secret.resource_version()
        && status.not_after.as_ref().map(|time| time.0) == Some(leaf.validity.not_after)
        && status.next_private_key_secret_name.is_none()
        && status.failed_issuance_attempts.is_none()
}

/// What a key of a Secret holds.
pub(crate) fn text<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[], |bytes| &bytes.0)
}
