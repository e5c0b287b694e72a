//! Writes the ConfigMap where it differs from what is served.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use serde_json::json;

use super::CONFIG_MAP;
use crate::context::FIELD_MANAGER;

/// Whether anything had to be written, beside what was found.
pub(super) async fn publish(
    api: &Api<ConfigMap>,
    found: Option<&ConfigMap>,
    wanted: &BTreeMap<String, String>,
) -> kube::Result<bool> {
    let manager = Some(FIELD_MANAGER.to_owned());
    let Some(found) = found else {
        let parameters = PostParams { field_manager: manager, ..PostParams::default() };
        return match api.create(&parameters, &config_map(wanted)).await {
            // The watch brings it, and then it is corrected.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            created => created.map(|_| true),
        };
    };
    let nothing = BTreeMap::new();
    let changes = changes(found.data.as_ref().unwrap_or(&nothing), wanted);
    if changes.is_empty() {
        return Ok(false);
    }
    let parameters = PatchParams { field_manager: manager, ..PatchParams::default() };
    let patch = json!({ "data": changes });
    api.patch(CONFIG_MAP, &parameters, &Patch::Merge(&patch)).await.map(|_| true)
}

fn config_map(data: &BTreeMap<String, String>) -> ConfigMap {
    let metadata = ObjectMeta { name: Some(CONFIG_MAP.to_owned()), ..ObjectMeta::default() };
    ConfigMap { metadata, data: Some(data.clone()), ..ConfigMap::default() }
}

/// The merge patch of the data: also keys that another client added are removed.
fn changes<'a>(
    found: &'a BTreeMap<String, String>,
    wanted: &'a BTreeMap<String, String>,
) -> BTreeMap<&'a str, Option<&'a str>> {
    let gone = found.keys().filter(|key| !wanted.contains_key(*key));
    let set = wanted.iter().filter(|(key, value)| found.get(*key) != Some(*value));
    gone.map(|key| (key.as_str(), None))
        .chain(set.map(|(key, value)| (key.as_str(), Some(value.as_str()))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn patch_holds_what_differs_and_removes_what_is_not_served() {
        let found = map(&[("Same.a.b", "s/Cluster"), ("New.a.b", "x/Cluster"), ("Gone.a.b", "g")]);
        let wanted = map(&[("Same.a.b", "s/Cluster"), ("New.a.b", "n/Cluster")]);
        let expected = [("Gone.a.b", None), ("New.a.b", Some("n/Cluster"))];
        assert_eq!(changes(&found, &wanted), expected.into());
        assert!(changes(&wanted, &wanted).is_empty());
    }
}
