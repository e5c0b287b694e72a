//! Whether a pod should have the sidecar and does not; pure.

use countersign_contract::{labels, names};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

/// What a mirror of a static pod bears: the kubelet runs that from a file, and nobody admits it.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// So many remarks are made about one pod.
const MOST_REMARKS: usize = 8;

/// A pod that lacks the sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) name: String,
    pub(super) uid: String,
    /// What keeps it, and would make another in its place: kind and uid.
    pub(super) owner: Option<(String, String)>,
    pub(super) created: Option<Timestamp>,
    /// Whether it is about to go.
    pub(super) is_leaving: bool,
}

/// What is to be told of a pod's owner, beside that it lacks the sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remark {
    pub(super) reason: &'static str,
    pub(super) note: String,
}

/// Judges a pod, whose namespace asks for the sidecar or does not; nothing is wrong with most.
pub(super) fn judge(pod: &Pod, namespace_asks: bool, is_excluded: bool) -> Option<Missed> {
    let spec = pod.spec.as_ref()?;
    let is_exempt = !could_have_it(pod, is_excluded) || spec.host_network == Some(true);
    (wants(pod, namespace_asks) && !is_exempt).then(|| missed(pod))
}

/// Why a pod that wants the sidecar has none, where that is no fault of the webhook's, and which of
/// its labels say nothing.
pub(super) fn remarks(pod: &Pod, namespace_asks: bool, is_excluded: bool) -> Vec<Remark> {
    let faults = pod.labels().iter().filter_map(|(name, value)| labels::fault(name, value));
    let faults = faults.map(|note| Remark { reason: "InjectionMistake", note });
    let on_host = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true))
        && wants(pod, namespace_asks)
        && could_have_it(pod, is_excluded);
    let why = "the sidecar was not injected: the pod uses the host's network, whose connections are not its own to redirect";
    let skipped = on_host.then(|| Remark { reason: "InjectionSkipped", note: why.to_owned() });
    faults.chain(skipped).take(MOST_REMARKS).collect()
}

fn wants(pod: &Pod, namespace_asks: bool) -> bool {
    match pod.labels().get(names::INJECT_LABEL).map(String::as_str) {
        Some("enabled") => true,
        Some("disabled") => false,
        _ => namespace_asks,
    }
}

/// Whether a pod has no sidecar, still runs, and was admitted.
fn could_have_it(pod: &Pod, is_excluded: bool) -> bool {
    let mut inits = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !is_excluded
        && !inits.any(|container| container.name == names::SIDECAR_CONTAINER)
        && !pod.annotations().contains_key(MIRROR)
        && !matches!(phase, Some("Succeeded" | "Failed"))
}

fn missed(pod: &Pod) -> Missed {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
    Missed {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        owner: owner.map(|owner| (owner.kind.clone(), owner.uid.clone())),
        created: pod.creation_timestamp().map(|time| time.0),
        is_leaving: pod.metadata.deletion_timestamp.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    fn labels(value: &str) -> BTreeMap<String, String> {
        let label = (!value.is_empty()).then(|| (names::INJECT_LABEL.to_owned(), value.to_owned()));
        label.into_iter().collect()
    }

    fn pod(label: &str, change: impl FnOnce(&mut Value)) -> Pod {
        let mut pod = json!({
            "metadata": { "name": "web", "uid": "u-1", "labels": labels(label) },
            "spec": { "containers": [{ "name": "app" }] },
        });
        change(&mut pod);
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_pod_is_missed_where_its_namespace_or_itself_asks_and_nothing_forbids_it() {
        let cases = [
            (true, "", true),
            (true, "enabled", true),
            (true, "other", true),
            (false, "enabled", true),
            (true, "disabled", false),
            (false, "", false),
            (false, "other", false),
        ];
        for (namespace, label, expected) in cases {
            let found = judge(&pod(label, |_| {}), namespace, false);
            assert_eq!(found.is_some(), expected, "{namespace:?} {label:?}");
            assert_eq!(judge(&pod(label, |_| {}), namespace, true), None, "it is excluded");
        }
    }

    #[test]
    fn a_pod_that_could_not_have_it_or_is_over_is_not_missed() {
        type Change = fn(&mut Value);
        let changes: [(Change, bool); 8] = [
            (|_| {}, true),
            (|pod| pod["spec"]["hostNetwork"] = json!(true), false),
            (|pod| pod["status"] = json!({ "phase": "Succeeded" }), false),
            (|pod| pod["status"] = json!({ "phase": "Failed" }), false),
            (|pod| pod["status"] = json!({ "phase": "Pending" }), true),
            (|pod| pod["metadata"]["annotations"] = json!({ MIRROR: "x" }), false),
            (
                |pod| pod["spec"]["initContainers"] = json!([{ "name": "countersign-sidecar" }]),
                false,
            ),
            // A label proves nothing.
            (|pod| pod["metadata"]["labels"][names::INJECTED_LABEL] = json!("true"), true),
        ];
        for (change, expected) in changes {
            let pod = pod("", change);
            assert_eq!(judge(&pod, true, false).is_some(), expected, "{pod:?}");
        }
    }

    #[test]
    fn a_pod_is_told_why_it_was_skipped_and_which_label_says_nothing() {
        let on_host = |pod: &mut Value| pod["spec"]["hostNetwork"] = json!(true);
        type Change = fn(&mut Value);
        let cases: [(&str, Change, bool, &[&str]); 7] = [
            ("", |_| {}, true, &[]),
            ("", on_host, true, &["InjectionSkipped"]),
            ("enabled", on_host, false, &["InjectionSkipped"]),
            ("disabled", on_host, true, &[]),
            ("", on_host, false, &[]),
            ("true", |_| {}, false, &["InjectionMistake"]),
            ("true", on_host, true, &["InjectionMistake", "InjectionSkipped"]),
        ];
        for (label, change, asks, expected) in cases {
            let found = remarks(&pod(label, change), asks, false);
            let reasons: Vec<_> = found.iter().map(|remark| remark.reason).collect();
            assert_eq!(reasons, expected, "{label} {asks}");
        }
        let misspelt = pod("", |pod| {
            pod["metadata"]["labels"]["countersign.dev/injection"] = json!("enabled")
        });
        assert!(remarks(&misspelt, false, false)[0].note.contains("countersign.dev/injection"));
        assert_eq!(remarks(&pod("", on_host), true, true), [], "it is excluded");
    }

    #[test]
    fn it_is_known_who_keeps_it_and_whether_it_goes() {
        let found = judge(
            &pod("enabled", |pod| {
                pod["metadata"]["ownerReferences"] = json!([
                    { "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u-2" },
                    { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u-3",
                      "controller": true },
                ]);
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }),
            false,
            false,
        );
        let found = found.unwrap();
        assert_eq!(found.owner, Some(("ReplicaSet".to_owned(), "u-3".to_owned())));
        assert!(found.is_leaving);
    }
}
