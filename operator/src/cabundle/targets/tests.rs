//! Which bundles each kind has.

use serde_json::{Value, json};

use super::*;

fn paths<K: Target>(mut object: Value) -> Vec<String> {
    object["metadata"] = json!({ "name": "it" });
    let object: K = serde_json::from_value(object).unwrap();
    let told = |bundle: Bundle| match (bundle.holds, bundle.obstacle) {
        (_, Some(_)) => format!("{} blocked", bundle.path),
        (Some(_), None) => format!("{} full", bundle.path),
        (None, None) => bundle.path,
    };
    object.bundles().into_iter().map(told).collect()
}

fn hook(config: Value) -> Value {
    json!({ "name": "it.example.org", "clientConfig": config, "sideEffects": "None",
        "admissionReviewVersions": ["v1"] })
}

#[test]
fn every_webhook_has_a_bundle() {
    let hooks = json!({ "webhooks": [
        hook(json!({ "service": { "name": "web", "namespace": "shop" } })),
        hook(json!({ "url": "https://web.example.org", "caBundle": "eA==" })),
        hook(json!({ "url": "https://web.example.org", "caBundle": "" })),
    ] });
    let expected = [
        "/webhooks/0/clientConfig/caBundle",
        "/webhooks/1/clientConfig/caBundle full",
        "/webhooks/2/clientConfig/caBundle",
    ];
    assert_eq!(paths::<ValidatingWebhookConfiguration>(hooks.clone()), expected);
    assert_eq!(paths::<MutatingWebhookConfiguration>(hooks), expected);
    assert!(paths::<MutatingWebhookConfiguration>(json!({})).is_empty());
}

#[test]
fn an_api_service_has_a_bundle_where_a_service_answers() {
    let spec = |mut spec: Value| {
        spec["groupPriorityMinimum"] = 1.into();
        spec["versionPriority"] = 1.into();
        json!({ "spec": spec })
    };
    let service = json!({ "name": "web", "namespace": "shop" });
    let cases = [
        (spec(json!({})), vec![]),
        (spec(json!({ "service": service })), vec!["/spec/caBundle"]),
        (
            spec(json!({ "service": service, "insecureSkipTLSVerify": true })),
            vec!["/spec/caBundle blocked"],
        ),
    ];
    for (object, expected) in cases {
        assert_eq!(paths::<APIService>(object), expected);
    }
}

#[test]
fn a_definition_has_a_bundle_where_a_webhook_converts() {
    let spec = |conversion: Value| {
        json!({ "spec": {
            "group": "example.org", "scope": "Cluster", "versions": [], "conversion": conversion,
            "names": { "kind": "Ink", "plural": "inks" },
        } })
    };
    let config = json!({ "service": { "name": "web", "namespace": "shop" } });
    let webhook = json!({ "clientConfig": config, "conversionReviewVersions": ["v1"] });
    let without = json!({ "conversionReviewVersions": ["v1"] });
    let cases = [
        (Value::Null, vec![]),
        (json!({ "strategy": "None" }), vec![]),
        (json!({ "strategy": "Webhook", "webhook": without }), vec![]),
        (
            json!({ "strategy": "Webhook", "webhook": webhook }),
            vec!["/spec/conversion/webhook/clientConfig/caBundle"],
        ),
    ];
    for (conversion, expected) in cases {
        assert_eq!(paths::<CustomResourceDefinition>(spec(conversion)), expected);
    }
}
