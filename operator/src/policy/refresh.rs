//! Has the kubelets of a namespace look at the volumes of pods that do not follow what is published.

use std::time::{Duration, Instant};

use countersign_contract::names::POLICY_REVISION_ANNOTATION;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::error::{Error, is_gone};
use super::observe::Observed;
use super::reconcile::{Policies, Touched};
use super::touch::{Known, Step, began_with, step};
use crate::context::FIELD_MANAGER;
use crate::kept::MeshPod;
use crate::rate::{Rate, Used};
use crate::watch::Found;

/// So many pods are touched at once.
const AT_ONCE: usize = 16;

/// So long the watch may take to tell of a touch.
const LAG: Duration = Duration::from_secs(1);

/// How often a pod is annotated.
const RATE: Rate = Rate { at_once: 3, interval: Duration::from_secs(3) };

/// Returns when to look again, if nothing happens before.
pub(super) async fn refresh(
    policies: &Policies,
    seen: &Observed,
) -> Result<Option<Duration>, Error> {
    // Where the policies are too large, it is what was there before.
    let published = policies.context.seen.published.of(&seen.namespace);
    let published = published.filter(|_| !seen.is_home);
    let Some(Found { revision: Some(revision), since, .. }) = published else { return Ok(None) };
    let (mut due, mut waits) = (Vec::new(), Vec::new());
    for pod in &seen.pods {
        let made = pod.meta().creation_timestamp.as_ref().map(|made| made.0);
        match of_pod(policies, seen, pod, &revision, began_with(made, since)) {
            Step::Leave => {}
            Step::Wait(left) => waits.push(left),
            Step::Touch(text) => due.push(touch(policies, seen, pod, text)),
        }
    }
    let mut touching = stream::iter(due).buffer_unordered(AT_ONCE);
    let mut ended = Ok(());
    while let Some(touched) = touching.next().await {
        ended = ended.and(touched);
        // A thousand pods take their time, and what follows must be published within seconds.
        if seen.is_outdated(&policies.context) {
            return Ok(Some(Duration::ZERO));
        }
    }
    ended.map(|()| waits.into_iter().min())
}

/// What to do about one pod. Of one that was told before we began, the time begins with us.
fn of_pod(
    policies: &Policies,
    seen: &Observed,
    pod: &MeshPod,
    revision: &str,
    began_with_it: bool,
) -> Step {
    let (name, now) = (pod.name_any(), Instant::now());
    let follows = policies.context.reports.revision(&seen.namespace, &name);
    let annotation = pod.annotations().get(POLICY_REVISION_ANNOTATION);
    policies.of(&seen.namespace, |pace| {
        let touched = pace.touched.get(&name);
        let known = Known {
            annotation: annotation.map(String::as_str),
            follows: follows.as_deref(),
            began_with_it,
            told: touched.map(|touched| touched.at),
        };
        let step = step(revision, known, now);
        match (&step, touched) {
            (Step::Touch(text), Some(touched)) => rest(text, touched, now).map_or(step, Step::Wait),
            (Step::Wait(_), None) => {
                let with = annotation.cloned().unwrap_or_default();
                pace.touched.insert(name, Touched { at: now, with, used: Used::default() });
                step
            }
            _ => step,
        }
    })
}

/// How long until a pod may be annotated with a text.
fn rest(text: &str, touched: &Touched, now: Instant) -> Option<Duration> {
    let lags = LAG.checked_sub(now.saturating_duration_since(touched.at));
    let lags = lags.filter(|left| text == touched.with && !left.is_zero());
    lags.max(RATE.wait(touched.used, now))
}

/// The annotation is written through the status, which is the lesser right: whoever may only write
/// that can change no container.
async fn touch(
    policies: &Policies,
    seen: &Observed,
    pod: &MeshPod,
    with: String,
) -> Result<(), Error> {
    let name = pod.name_any();
    let api: Api<Pod> = Api::namespaced(policies.context.client.clone(), &seen.namespace);
    let patch = json!({ "metadata": { "annotations": { POLICY_REVISION_ANNOTATION: with } } });
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch_status(&name, &parameters, &Patch::Merge(&patch)).await {
        Ok(_) => {}
        Err(error) if is_gone(&error) => return Ok(()),
        Err(source) => return Err(Error::Touch { pod: ObjectRef::from_obj(pod), source }),
    }
    let at = Instant::now();
    policies.of(&seen.namespace, |pace| {
        let used = pace.touched.get(&name).map(|before| before.used).unwrap_or_default();
        pace.touched.insert(name, Touched { at, with, used: RATE.after(used, at) })
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_is_annotated_at_once_and_not_each_time_that_policies_change() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut touched = Touched { at: start, with: String::new(), used: Used::default() };
        let cases = [
            ("a", 0, None),
            ("a", 400, Some(600)),
            ("b", 500, None),
            ("c", 1000, None),
            ("d", 1500, Some(1500)),
            ("d", 3000, None),
            ("e", 4000, Some(2000)),
            ("e", 60_000, None),
        ];
        for (text, after, expected) in cases {
            let at = start + ms(after);
            let found = rest(text, &touched, at);
            assert_eq!(found, expected.map(ms), "{text} {after}");
            if found.is_none() {
                let used = RATE.after(touched.used, at);
                touched = Touched { at, with: text.to_owned(), used };
            }
        }
    }
}
