//! How many pods have a sidecar of which version.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_contract::names;
use kube::ResourceExt;

use super::objects::line;
use crate::kept::MeshPod;

/// The metric.
pub(super) const NAME: &str = "countersign_sidecars";

/// So many versions are told by their names: an annotation can be changed by whoever may change the
/// pod.
const MOST: usize = 16;

/// What is said of a pod whose version is not known: it was injected before they were noted.
const UNKNOWN: &str = "unknown";

/// Its text, in the format of OpenMetrics.
pub(super) fn text(pods: &[Arc<MeshPod>]) -> String {
    let mut text = format!("# HELP {NAME} Injected pods, by the version of their sidecar.\n");
    text.push_str(&format!("# TYPE {NAME} gauge\n"));
    for (version, count) in count(pods.iter().map(AsRef::as_ref)) {
        line(&mut text, NAME, &[("version", &version)], count);
    }
    text
}

/// The versions that most pods have, and how many have others.
fn count<'a>(pods: impl Iterator<Item = &'a MeshPod>) -> Vec<(String, i64)> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for pod in pods {
        let version = pod.annotations().get(names::SIDECAR_VERSION_ANNOTATION);
        *counts.entry(version.map_or(UNKNOWN, String::as_str)).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| -count);
    let others = counts.split_off(counts.len().min(MOST));
    let mut named: Vec<_> =
        counts.into_iter().map(|(version, count)| (version.to_owned(), count)).collect();
    if !others.is_empty() {
        named.push(("other".to_owned(), others.iter().map(|(_, count)| count).sum()));
    }
    named
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(version: &str) -> Arc<MeshPod> {
        let annotations = json!({ names::SIDECAR_VERSION_ANNOTATION: version });
        let annotations = if version.is_empty() { json!({}) } else { annotations };
        let pod = json!({ "metadata": { "annotations": annotations } });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn pods_are_counted_by_version() {
        let text = text(&[pod("0.2.0"), pod(""), pod("0.2.0"), pod("a\"b")]);
        for line in [
            "countersign_sidecars{version=\"0.2.0\"} 2\n",
            "countersign_sidecars{version=\"unknown\"} 1\n",
            "countersign_sidecars{version=\"a\\\"b\"} 1\n",
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
    }

    #[test]
    fn whoever_makes_up_versions_makes_no_more_series() {
        let mut pods: Vec<_> = (0..100).map(|number| pod(&format!("v{number:03}"))).collect();
        pods.push(pod("v000"));
        let counted = count(pods.iter().map(AsRef::as_ref));
        assert_eq!(counted.len(), MOST + 1);
        assert_eq!(counted[0], ("v000".to_owned(), 2));
        assert_eq!(counted[MOST], ("other".to_owned(), 84));
    }
}
