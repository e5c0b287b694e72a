//! Says on each policy's status how it is, and tells what is new.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_crds::{AccessPolicy, AccessPolicyStatus, ConditionStatus};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use serde_json::json;
use tracing::{info, warn};

use super::bounds::Excess;
use super::compile::pod_selector;
use super::conflict::conflicts;
use super::error::{Error, is_gone};
use super::observe::Observed;
use super::reconcile::Policies;
use super::status::{self, Trouble};
use crate::context::{Context, FIELD_MANAGER};
use crate::kept::MeshPod;

/// So many statuses are written at once.
const AT_ONCE: usize = 16;

/// How often is looked whether denials are old.
const AGEING: Duration = Duration::from_secs(60);

/// Returns when to look again, if nothing happens before.
pub(super) async fn tell_all(
    policies: &Policies,
    seen: &Observed,
    refusal: Option<String>,
) -> Result<Option<Duration>, Error> {
    let now = policies.context.clock.now();
    let conflicts = conflicts_of(seen).await;
    let following = following(policies, seen);
    let mut telling = Vec::new();
    for policy in &seen.policies {
        let conflict = conflicts.get(&policy.name_any());
        let trouble = trouble(seen, refusal.as_ref(), conflict);
        telling.push(tell_one(policies, seen, policy, (trouble, &following), now));
    }
    let mut telling = stream::iter(telling).buffer_unordered(AT_ONCE);
    let (mut ended, mut waits) = (Ok(()), Vec::new());
    while let Some(told) = telling.next().await {
        match told {
            Ok(wait) => waits.extend(wait),
            Err(error) => ended = Err(error),
        }
        if seen.is_outdated(&policies.context) {
            return Ok(Some(Duration::ZERO));
        }
        // Where nothing is written, nothing else would let others have their turn.
        tokio::task::yield_now().await;
    }
    let settles_in = policies.settles_in();
    if !settles_in.is_zero() && !seen.policies.is_empty() {
        waits.push(settles_in);
    }
    ended.map(|()| waits.into_iter().min())
}

/// Where the policies do not fit, that is reported of all of them.
async fn conflicts_of(seen: &Observed) -> BTreeMap<String, String> {
    if seen.compiled.too_large.is_some() {
        return BTreeMap::new();
    }
    let (document, pods) = (seen.compiled.document.clone(), seen.pods.clone());
    let found = tokio::task::spawn_blocking(move || conflicts(&document, &pods)).await;
    found.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => BTreeMap::new(),
    })
}

/// Whether each pod follows what holds now.
fn following(policies: &Policies, seen: &Observed) -> Vec<bool> {
    let fits = seen.compiled.too_large.is_none();
    let follows = |pod: &Arc<MeshPod>| {
        let revision = policies.context.reports.revision(&seen.namespace, &pod.name_any());
        fits && revision.as_deref() == Some(&seen.compiled.document.revision)
    };
    seen.pods.iter().map(follows).collect()
}

/// The worst first.
fn trouble(
    seen: &Observed,
    refusal: Option<&String>,
    conflict: Option<&String>,
) -> Option<Trouble> {
    if seen.is_home {
        return Some(Trouble::NoSidecars);
    }
    let too_large = seen.compiled.too_large.map(Trouble::TooLarge);
    let refused = refusal.cloned().map(Trouble::NotPublished);
    too_large.or(refused).or_else(|| conflict.cloned().map(Trouble::Conflict))
}

async fn tell_one(
    policies: &Policies,
    seen: &Observed,
    policy: &Arc<AccessPolicy>,
    (trouble, following): (Option<Trouble>, &[bool]),
    now: Timestamp,
) -> Result<Option<Duration>, Error> {
    let name = policy.name_any();
    let policy = &*policies.context.seen.own_access_policies.newest(policy.clone());
    let picture = picture(policies, seen, policy, (trouble, following), now);
    let ageing = (!picture.denials.is_empty()).then_some(AGEING);
    let next = status::next(policy, picture, now);
    let last = policies.of(&seen.namespace, |pace| pace.told.get(&name).copied());
    match status::wait(policy.status.as_ref(), &next, last.map(|last| last.elapsed())) {
        None => Ok(ageing),
        Some(wait) if !wait.is_zero() => Ok(Some(wait)),
        Some(_) => {
            write(&policies.context, policy, &next).await?;
            policies.of(&seen.namespace, |pace| pace.told.insert(name, Instant::now()));
            Ok(ageing)
        }
    }
}

/// What is known of a policy. Of one that is too large, nothing is in force.
fn picture(
    policies: &Policies,
    seen: &Observed,
    policy: &AccessPolicy,
    (trouble, following): (Option<Trouble>, &[bool]),
    now: Timestamp,
) -> status::Seen {
    let (reports, name) = (&policies.context.reports, policy.name_any());
    let told = policy.status.as_ref().map_or(&[][..], |status| &status.recent_denials);
    reports.take_up(&seen.namespace, &name, told, now);
    let selector = pod_selector(policy);
    // Beyond the number of policies that a namespace may have, their pods are not counted.
    let is_counted = seen.compiled.too_large != Some(Excess::Policies);
    let pods = seen.pods.iter().zip(following).filter(|_| is_counted);
    let selected: Vec<bool> = pods
        .filter(|(pod, _)| selector.selects(pod.labels()))
        .map(|(_, follows)| *follows)
        .collect();
    status::Seen {
        trouble,
        selected: selected.len(),
        in_force: selected.iter().filter(|follows| **follows).count(),
        is_settled: policies.settles_in().is_zero(),
        denials: reports.denials(&seen.namespace, &name, now),
    }
}

async fn write(
    context: &Context,
    policy: &AccessPolicy,
    status: &AccessPolicyStatus,
) -> Result<(), Error> {
    // Every field, since a merge takes away only what is said to be null.
    let patch = json!({ "status": {
        "observedGeneration": status.observed_generation,
        "conditions": status.conditions,
        "selectedPods": status.selected_pods,
        "inForcePods": status.in_force_pods,
        "recentDenials": status.recent_denials,
    } });
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let api: Api<AccessPolicy> =
        Api::namespaced(context.client.clone(), &policy.namespace().unwrap_or_default());
    match api.patch_status(&policy.name_any(), &parameters, &Patch::Merge(&patch)).await {
        Ok(written) => context.seen.own_access_policies.note(written),
        Err(error) if is_gone(&error) => return Ok(()),
        Err(source) => {
            return Err(Error::WriteStatus { policy: ObjectRef::from_obj(policy), source });
        }
    }
    tell(context, policy, status);
    Ok(())
}

/// Tells of a condition that turned.
fn tell(context: &Context, policy: &AccessPolicy, status: &AccessPolicyStatus) {
    let Some(ready) = status.conditions.first() else { return };
    let before = policy.status.iter().flat_map(|status| &status.conditions);
    let before = before.into_iter().find(|condition| condition.type_ == "Ready");
    let is_same = before
        .is_some_and(|before| before.reason == ready.reason && before.message == ready.message);
    if is_same {
        return;
    }
    let reason = ready.reason.clone().unwrap_or_default();
    let message = ready.message.clone().unwrap_or_default();
    if ready.status == ConditionStatus::False {
        warn!(policy = %ObjectRef::from_obj(policy), reason, message, "policy is not ready");
        context.events.warning(policy, &reason, message);
    } else {
        info!(policy = %ObjectRef::from_obj(policy), reason, "policy is ready");
    }
}
