//! caBundles of webhook configurations, APIServices and conversion webhooks.

use countersign_crds::{Certificate, Issuer};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{Event, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::space::{Space, event_in, leaf, make_in, text, when_in};

pub(crate) const FROM_CERTIFICATE: &str = "countersign.dev/inject-ca-from";
const FROM_SECRET: &str = "countersign.dev/inject-ca-from-secret";
const FROM_API_SERVER: &str = "countersign.dev/inject-apiserver-ca";

/// Objects of a kind that stands in no namespace.
fn all<K: Resource<DynamicType = ()>>(space: &Space) -> Api<K> {
    Api::all(space.client.clone())
}

fn annotated(annotation: &str, value: &str) -> Value {
    json!({ "metadata": { "annotations": { annotation: value } } })
}

/// Somebody's Service, which nobody ever calls.
fn service() -> Value {
    json!({ "service": { "name": "web", "namespace": "nowhere" } })
}

/// Two webhooks about a kind of a test's own.
fn hooks(space: &Space, mut object: Value) -> Value {
    let group = format!("{}.example.org", space.namespace);
    let hook = |name: &str| {
        json!({
            "name": format!("{name}.example.org"), "clientConfig": service(),
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
            "rules": [{ "apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["inks"] }],
        })
    };
    object["webhooks"] = json!([hook("one"), hook("two")]);
    object
}

/// What the bundles of a configuration hold.
fn bundles(configuration: &ValidatingWebhookConfiguration) -> Vec<Option<&[u8]>> {
    let hooks = configuration.webhooks.iter().flatten();
    hooks.map(|hook| hook.client_config.ca_bundle.as_ref().map(|it| it.0.as_slice())).collect()
}

/// A configuration with an annotation.
pub(crate) async fn configuration(
    space: &Space,
    name: &str,
    annotation: &str,
    value: &str,
) -> String {
    let name = format!("{}-{name}", space.namespace);
    let object = hooks(space, annotated(annotation, value));
    make_in(&all::<ValidatingWebhookConfiguration>(space), &name, object).await;
    name
}

/// Waits until both bundles of a configuration hold this.
pub(crate) async fn filled(
    space: &Space,
    name: &str,
    with: &[u8],
) -> ValidatingWebhookConfiguration {
    when_in(&all(space), name, "is filled", |found: &ValidatingWebhookConfiguration| {
        bundles(found) == [Some(with), Some(with)]
    })
    .await
}

/// Waits until the bundle at a path of an object holds this.
async fn holds<K>(space: &Space, name: &str, path: &str, with: &[u8])
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    let expected = serde_json::to_value(k8s_openapi::ByteString(with.to_vec())).unwrap();
    when_in(&all::<K>(space), name, "is filled", |found| {
        json!(found).pointer(path) == Some(&expected)
    })
    .await;
}

async fn away<K>(space: &Space, name: &str)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    all::<K>(space).delete(name, &DeleteParams::default()).await.expect("it is deleted");
}

/// One object of each kind, and where its bundle is.
async fn one_of_each(space: &Space, annotation: &str, value: &str) -> [String; 4] {
    let group = format!("{}.example.org", space.namespace);
    let (api_service, definition) = (format!("v1.{group}"), format!("inks.{group}"));
    let validating = configuration(space, "each", annotation, value).await;
    let mutating: Api<MutatingWebhookConfiguration> = all(space);
    make_in(&mutating, &validating, hooks(space, annotated(annotation, value))).await;
    let mut object = annotated(annotation, value);
    object["spec"] = service();
    for (field, value) in [("groupPriorityMinimum", 1), ("versionPriority", 1)] {
        object["spec"][field] = value.into();
    }
    (object["spec"]["group"], object["spec"]["version"]) = (group.as_str().into(), "v1".into());
    make_in(&all::<APIService>(space), &api_service, object).await;
    // Of a group of its own: that of the APIService is answered by others.
    let (group, definition) = (format!("crd.{group}"), definition.replacen(".", ".crd.", 1));
    let mut object = annotated(annotation, value);
    object["spec"] = json!({
        "group": group, "scope": "Cluster",
        "names": { "kind": "Ink", "plural": "inks", "singular": "ink", "listKind": "InkList" },
        "versions": [{ "name": "v1", "served": true, "storage": true,
            "schema": { "openAPIV3Schema": { "type": "object" } } }],
        "conversion": { "strategy": "Webhook", "webhook": {
            "clientConfig": service(), "conversionReviewVersions": ["v1"] } },
    });
    make_in(&all::<CustomResourceDefinition>(space), &definition, object).await;
    [validating.clone(), validating, api_service, definition]
}

pub(crate) async fn every_kind_is_filled_from_a_certificate_and_again_when_its_authority_changes(
    space: Space,
) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let from = format!("{}/web", space.namespace);
    let names = one_of_each(&space, FROM_CERTIFICATE, &from).await;
    let [validating, mutating, api_service, definition] = &names;
    let conversion = "/spec/conversion/webhook/clientConfig/caBundle";
    let other = json!({ "spec": { "isCA": true, "commonName": "Another root",
        "secretName": "other", "privateKey": { "algorithm": "ECDSA" },
        "issuerRef": { "name": "self" } } });
    space.make::<Certificate>("other", other).await;
    space.make::<Issuer>("other", json!({ "spec": { "ca": { "secretName": "other" } } })).await;
    let mut before = Vec::new();
    for issuer in ["ca", "other"] {
        let signed = json!({ "spec": { "issuerRef": { "name": issuer } } });
        space.change::<Certificate>("web", signed).await;
        space.ready("web").await;
        let authority = text(&space.secret("web").await, "ca.crt").to_vec();
        assert_ne!(authority, before);
        filled(&space, validating, &authority).await;
        let second = "/webhooks/1/clientConfig/caBundle";
        holds::<MutatingWebhookConfiguration>(&space, mutating, second, &authority).await;
        holds::<APIService>(&space, api_service, "/spec/caBundle", &authority).await;
        holds::<CustomResourceDefinition>(&space, definition, conversion, &authority).await;
        before = authority;
    }
    away::<ValidatingWebhookConfiguration>(&space, validating).await;
    away::<MutatingWebhookConfiguration>(&space, mutating).await;
    away::<APIService>(&space, api_service).await;
    away::<CustomResourceDefinition>(&space, definition).await;
}

/// A Secret with an authority that is not signed by anybody here.
async fn plain_secret(space: &Space, name: &str, annotations: Value) -> Vec<u8> {
    let authority = std::fs::read(space.world.authority_of_the_api_server()).unwrap();
    let data = k8s_openapi::ByteString(authority.clone());
    let object = json!({ "metadata": { "annotations": annotations }, "data": { "ca.crt": data } });
    space.make::<Secret>(name, object).await;
    authority
}

pub(crate) async fn what_forbids_it_is_told_and_nothing_is_written(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    plain_secret(&space, "plain", json!({})).await;
    let waits = json!({ "secretName": "plain", "issuerRef": { "name": "nobody" } });
    space.make::<Certificate>("waits", json!({ "spec": leaf("waits", waits) })).await;
    let own = |name: &str| format!("{}/{name}", space.namespace);
    let cases = [
        ("missing", FROM_CERTIFICATE, own("nobody"), "CertificateNotFound"),
        ("no-secret", FROM_SECRET, own("nothing"), "SecretNotFound"),
        ("others", FROM_CERTIFICATE, own("waits"), "InjectionNotAllowed"),
        ("closed", FROM_SECRET, own("plain"), "InjectionNotAllowed"),
        ("of-a-certificate", FROM_SECRET, own("web"), "InjectionNotAllowed"),
        ("half", FROM_SECRET, "plain".to_owned(), "InvalidAnnotation"),
        ("switch", FROM_API_SERVER, "yes".to_owned(), "InvalidAnnotation"),
    ];
    let events: Api<Event> = Api::namespaced(space.client.clone(), "default");
    for (name, annotation, value, reason) in cases {
        let name = configuration(&space, name, annotation, &value).await;
        event_in(&events, &name, &format!("says {reason}"), |told| told == reason).await;
        let found: ValidatingWebhookConfiguration = all(&space).get(&name).await.unwrap();
        assert_eq!(bundles(&found), [None, None], "{name}");
        away::<ValidatingWebhookConfiguration>(&space, &name).await;
    }
}

pub(crate) async fn a_secret_that_allows_it_and_the_api_server_itself_are_sources_too(
    space: Space,
) {
    let closed = json!({ "countersign.dev/allow-direct-injection": "false" });
    let authority = plain_secret(&space, "plain", closed).await;
    let from = format!("{}/plain", space.namespace);
    let direct = configuration(&space, "direct", FROM_SECRET, &from).await;
    let own = configuration(&space, "own", FROM_API_SERVER, "true").await;
    filled(&space, &own, &authority).await;
    let open = json!({ "countersign.dev/allow-direct-injection": "true" });
    space.change::<Secret>("plain", json!({ "metadata": { "annotations": open } })).await;
    filled(&space, &direct, &authority).await;
    // Whoever takes it away has it back at once.
    let hooks = hooks(&space, json!({}));
    let api: Api<ValidatingWebhookConfiguration> = all(&space);
    api.patch(&own, &PatchParams::default(), &Patch::Merge(hooks)).await.unwrap();
    filled(&space, &own, &authority).await;
    away::<ValidatingWebhookConfiguration>(&space, &direct).await;
    away::<ValidatingWebhookConfiguration>(&space, &own).await;
}

pub(crate) async fn nothing_is_written_where_nothing_differs(space: Space) {
    let authority = std::fs::read(space.world.authority_of_the_api_server()).unwrap();
    let first = configuration(&space, "first", FROM_API_SERVER, "true").await;
    filled(&space, &first, &authority).await;
    let api: Api<ValidatingWebhookConfiguration> = all(&space);
    let label = json!({ "metadata": { "labels": { "an": "edit" } } });
    let edited = api.patch(&first, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    // What comes later is done, hence the edit was looked at.
    let second = configuration(&space, "second", FROM_API_SERVER, "true").await;
    filled(&space, &second, &authority).await;
    let found = api.get(&first).await.unwrap();
    assert_eq!(found.resource_version(), edited.resource_version());
    away::<ValidatingWebhookConfiguration>(&space, &first).await;
    away::<ValidatingWebhookConfiguration>(&space, &second).await;
}

pub(crate) async fn our_own_webhook_is_left_alone(space: Space) {
    let api: Api<MutatingWebhookConfiguration> = all(&space);
    let object = || hooks(&space, annotated(FROM_API_SERVER, "true"));
    make_in(&api, "countersign", object()).await;
    let later = format!("{}-later", space.namespace);
    make_in(&api, &later, object()).await;
    when_in(&api, &later, "is filled", |found| {
        found.webhooks.iter().flatten().all(|hook| hook.client_config.ca_bundle.is_some())
    })
    .await;
    let ours = api.get("countersign").await.unwrap();
    assert!(ours.webhooks.iter().flatten().all(|hook| hook.client_config.ca_bundle.is_none()));
    away::<MutatingWebhookConfiguration>(&space, "countersign").await;
    away::<MutatingWebhookConfiguration>(&space, &later).await;
}
