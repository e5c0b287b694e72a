//! Which pod is to be replaced next; pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::jiff::Timestamp;

use super::judge::Missed;
use crate::kept::MeshPod;

/// Who makes another pod in the place of one that was evicted. A Job would count it as a failure,
/// and its pod ends by itself.
const KEEPERS: [&str; 4] = ["DaemonSet", "ReplicaSet", "ReplicationController", "StatefulSet"];

/// When a pod of each owner was first evicted, by the owner's uid.
pub(super) type Evicted = HashMap<String, Eviction>;

/// The first eviction of an owner's pods.
#[derive(Clone, Debug)]
pub(super) struct Eviction {
    at: Timestamp,
    /// The uids of those that were missed by then.
    known: BTreeSet<String>,
}

/// A pod was evicted.
pub(super) fn note<'a>(
    evicted: &mut Evicted,
    gone: &Missed,
    missed: impl Iterator<Item = &'a Missed>,
    at: Timestamp,
) {
    let Some((_, owner)) = &gone.owner else { return };
    let known = || missed.filter(|pod| pod.owner == gone.owner).map(|pod| pod.uid.clone());
    evicted.entry(owner.clone()).or_insert_with(|| Eviction { at, known: known().collect() });
}

/// Whether a pod came after a sibling was evicted. An object knows when it was created to the second.
fn is_anew(pod: &Missed, eviction: &Eviction) -> bool {
    let created = pod.created.map(Timestamp::as_second);
    !eviction.known.contains(&pod.uid) && created >= Some(eviction.at.as_second())
}

/// The pod of a namespace that may go now, the oldest first. None while another still goes, none
/// whose siblings are not ready again, and none that came without the sidecar although its
/// predecessor was evicted for the lack of it: that would go on for ever.
pub(super) fn next<'a>(
    missed: impl Iterator<Item = &'a Missed> + Clone,
    readiness: &BTreeMap<String, bool>,
    evicted: &Evicted,
) -> Option<&'a Missed> {
    if missed.clone().any(|pod| pod.is_leaving) {
        return None;
    }
    let may_go = |pod: &&Missed| {
        let Some((kind, owner)) = &pod.owner else { return false };
        let is_anew = evicted.get(owner).is_some_and(|eviction| is_anew(pod, eviction));
        KEEPERS.contains(&kind.as_str())
            && !is_anew
            && readiness.get(owner).copied().unwrap_or(true)
    };
    missed.filter(may_go).min_by_key(|pod| (pod.created, &pod.name))
}

/// Whether all injected pods of each owner are ready, by the owner's uid.
pub(super) fn readiness<'a>(pods: impl Iterator<Item = &'a MeshPod>) -> BTreeMap<String, bool> {
    let mut all = BTreeMap::new();
    for pod in pods {
        if let Some(owner) = &pod.controller {
            *all.entry(owner.to_string()).or_insert(true) &= pod.is_ready;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(minute: u32) -> Timestamp {
        format!("2026-01-01T00:{minute:02}:00Z").parse().unwrap()
    }

    fn missed(name: &str, kind: &str, minute: u32) -> Missed {
        Missed {
            name: name.to_owned(),
            uid: name.to_owned(),
            owner: (!kind.is_empty()).then(|| (kind.to_owned(), format!("of-{name}"))),
            created: Some(at(minute)),
            is_leaving: false,
        }
    }

    #[test]
    fn the_oldest_that_somebody_makes_again_goes_first_and_one_at_a_time() {
        let (none, never) = (BTreeMap::new(), Evicted::default());
        let all = [
            missed("alone", "", 0),
            missed("job", "Job", 1),
            missed("web", "ReplicaSet", 3),
            missed("db", "StatefulSet", 2),
        ];
        let name = |missed: Option<&Missed>| missed.map(|missed| missed.name.clone());
        assert_eq!(name(next(all.iter(), &none, &never)).as_deref(), Some("db"));
        assert_eq!(next(all[..2].iter(), &none, &never), None);
        let mut leaving = all;
        leaving[0].is_leaving = true;
        assert_eq!(next(leaving.iter(), &none, &never), None);
    }

    #[test]
    fn no_pod_goes_while_its_siblings_are_not_ready_or_where_that_was_in_vain() {
        let all = [missed("web", "ReplicaSet", 3)];
        let ready = |ready| BTreeMap::from([("of-web".to_owned(), ready)]);
        let evicted = |minute, known: &[Missed]| {
            let mut evicted = Evicted::default();
            let gone = Missed { uid: "other".to_owned(), ..missed("web", "ReplicaSet", 0) };
            note(&mut evicted, &gone, known.iter(), at(minute));
            // Only the first counts: what came between two of them came anew.
            note(&mut evicted, &gone, all.iter(), at(59));
            evicted
        };
        let cases = [
            (ready(true), Evicted::default(), true),
            (ready(false), Evicted::default(), false),
            (ready(true), evicted(4, &[]), true),
            (ready(true), evicted(3, &[]), false),
            (ready(true), evicted(3, &all), true),
            (ready(true), evicted(2, &[]), false),
        ];
        for (readiness, evicted, expected) in cases {
            let found = next(all.iter(), &readiness, &evicted);
            assert_eq!(found.is_some(), expected, "{readiness:?} {evicted:?}");
        }
    }

    #[test]
    fn an_owner_is_ready_when_all_its_pods_are() {
        let pod = |owner: &str, status: &str| -> MeshPod {
            serde_json::from_value(json!({
                "metadata": { "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet",
                    "name": owner, "uid": owner, "controller": true }] },
                "status": { "conditions": [{ "type": "Ready", "status": status }] },
            }))
            .unwrap()
        };
        let pods = [pod("a", "True"), pod("a", "False"), pod("a", "True"), pod("b", "True")];
        let expected = BTreeMap::from([("a".to_owned(), false), ("b".to_owned(), true)]);
        assert_eq!(readiness(pods.iter().chain([&MeshPod::default()])), expected);
    }
}
