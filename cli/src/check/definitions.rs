//! The definitions of our kinds: there, established, and those that this program knows; pure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use serde_json::Value;

use super::{Finding, Part};
use crate::cluster::Found;

type Pair = (CustomResourceDefinition, Found<CustomResourceDefinition>);

pub(super) fn judge(pairs: &[Pair]) -> Part {
    let findings: Vec<_> = pairs.iter().filter_map(fault).collect();
    let good = pairs.len() - findings.len();
    let summary = format!(
        "{good} of {} established, as version {} knows them",
        pairs.len(),
        env!("CARGO_PKG_VERSION")
    );
    Part { name: "definitions", summary, findings }
}

fn fault((wanted, found): &Pair) -> Option<Finding> {
    const APPLY: &str = "apply those of your version: kubectl apply -f crds/";
    let object = format!("CustomResourceDefinition {}", wanted.name_any());
    let found = match found {
        Found::There(found) => found,
        Found::Missing => {
            return Some(Finding::new("definitionMissing", object, "does not exist", APPLY));
        }
        Found::Unknown(why) => return Some(Finding::unread(&object, why)),
    };
    if !is_established(found) {
        let advice =
            format!("see what its conditions say: kubectl describe crd {}", wanted.name_any());
        return Some(Finding::new("notEstablished", object, "is not established", advice));
    }
    if versions(found) != versions(wanted) {
        let message = format!(
            "is not the one that version {} knows: it is older, newer, or was changed",
            env!("CARGO_PKG_VERSION")
        );
        return Some(Finding::new("otherVersion", object, message, APPLY));
    }
    None
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.type_ == "Established" && it.status == "True")
}

/// What a definition says of each version, in the form in which the API server gives it back.
fn versions(definition: &CustomResourceDefinition) -> Value {
    normalised(serde_json::to_value(&definition.spec.versions).unwrap_or_default())
}

/// Numbers have one form, and what is empty counts as left out.
fn normalised(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, normalised(value)));
            let is_said = |value: &Value| !value.is_null() && value != &Value::Array(Vec::new());
            Value::Object(fields.filter(|(_, value)| is_said(value)).collect())
        }
        Value::Array(all) => all.into_iter().map(normalised).collect(),
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        other => other,
    }
}
