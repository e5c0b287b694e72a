//! What the status of an AccessPolicy should say, and when it may be written; pure.

use std::time::Duration;

use countersign_crds::{
    AccessEnforcement, AccessPolicy, AccessPolicyStatus, Condition, ConditionStatus, RecentDenial,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::bounds::Excess;

/// So far apart two writes of one status are at least,
const APART: Duration = Duration::from_secs(2);

/// and so far where only the same are denied again: each of them may be denied for ever.
const APART_COUNTS: Duration = Duration::from_secs(10);

/// Why a policy does not hold as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Another policy says something else of the same port.
    Conflict(String),
    /// There are too many policies in the namespace, or they do not fit into its ConfigMap.
    TooLarge(Excess),
    /// The API server does not take what was compiled.
    NotPublished(String),
    /// Pods of the operator's own namespace have no sidecar.
    NoSidecars,
}

/// What was seen of a policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) trouble: Option<Trouble>,
    pub(super) selected: usize,
    pub(super) in_force: usize,
    /// Whether every pod had the time to say what it follows since we began.
    pub(super) is_settled: bool,
    pub(super) denials: Vec<RecentDenial>,
}

/// What the status should say.
pub(super) fn next(policy: &AccessPolicy, seen: Seen, now: Timestamp) -> AccessPolicyStatus {
    let before = policy.status.clone().unwrap_or_default();
    let generation = policy.metadata.generation;
    let (selected, in_force) = (count(seen.selected), count(seen.in_force));
    // A restart makes no pod less safe: until all had time to speak, what was known is told.
    let known = if seen.is_settled || before.observed_generation != generation {
        in_force
    } else {
        in_force.max(before.in_force_pods.min(selected))
    };
    let others = before.conditions.iter().filter(|condition| condition.type_ != "Ready").cloned();
    let ready = ready(policy, &before, seen.trouble.as_ref(), Time(now));
    AccessPolicyStatus {
        observed_generation: generation,
        conditions: std::iter::once(ready).chain(others).collect(),
        selected_pods: selected,
        in_force_pods: known,
        recent_denials: seen.denials,
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn ready(
    policy: &AccessPolicy,
    before: &AccessPolicyStatus,
    trouble: Option<&Trouble>,
    now: Time,
) -> Condition {
    use ConditionStatus::{False, True};
    let (status, reason, message) = match (trouble, policy.spec.enforcement) {
        (Some(Trouble::Conflict(message)), _) => (False, "Conflict", message.clone()),
        (Some(Trouble::TooLarge(excess)), _) => {
            (False, "TooLarge", format!("{excess}: what held before holds"))
        }
        (Some(Trouble::NotPublished(message)), _) => (False, "NotPublished", message.clone()),
        (Some(Trouble::NoSidecars), _) => {
            let message = "pods of the operator's own namespace have no sidecar".to_owned();
            (False, "NoSidecars", message)
        }
        (None, AccessEnforcement::Enforce) => {
            (True, "Enforced", "what it does not allow is refused".to_owned())
        }
        (None, AccessEnforcement::Audit) => {
            (True, "Audited", "what it would not allow passes, and is told".to_owned())
        }
    };
    let mut same = before.conditions.iter().filter(|c| c.type_ == "Ready" && c.status == status);
    Condition {
        type_: "Ready".to_owned(),
        status,
        last_transition_time: same
            .next()
            .and_then(|c| c.last_transition_time.clone())
            .or(Some(now)),
        reason: Some(reason.to_owned()),
        message: Some(message),
        observed_generation: policy.metadata.generation,
    }
}

/// How long a status waits until it may be written; `None` where nothing is new.
pub(super) fn wait(
    before: Option<&AccessPolicyStatus>,
    next: &AccessPolicyStatus,
    since_last: Option<Duration>,
) -> Option<Duration> {
    if before == Some(next) {
        return None;
    }
    let apart =
        if before.is_some_and(|before| counts_only(before, next)) { APART_COUNTS } else { APART };
    Some(since_last.map_or(Duration::ZERO, |since| apart.saturating_sub(since)))
}

/// Whether two statuses differ only in how often, and when last, somebody was denied.
fn counts_only(before: &AccessPolicyStatus, next: &AccessPolicyStatus) -> bool {
    let without_counts = |status: &AccessPolicyStatus| {
        let who = |denial: &RecentDenial| (denial.peer.clone(), denial.port, denial.audited);
        let mut denied: Vec<_> = status.recent_denials.iter().map(who).collect();
        denied.sort();
        (AccessPolicyStatus { recent_denials: Vec::new(), ..status.clone() }, denied)
    };
    without_counts(before) == without_counts(next)
}

#[cfg(test)]
mod tests;
