//! Brings the policies of a namespace to its pods, and says on their status whether they are there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::broadcast::error::RecvError;
use tracing::{instrument, warn};

use super::error::Error;
use super::observe::{Observed, observe};
use super::publish::{self, Written};
use super::refresh::refresh;
use super::tell::tell_all;
use crate::context::Context;
use crate::metrics::ReasonLabels;
use crate::rate::Used;
use crate::watch::Queue;

/// Where the kind is not installed, its policies are never read, and nothing is said.
const UNREAD: Duration = Duration::from_secs(1);

/// For so long after a start, pods may still be on their way to tell what they follow.
const SETTLING: Duration = Duration::from_secs(30);

/// What the reconciler is given.
pub struct Policies {
    pub(super) context: Arc<Context>,
    since: Instant,
    paces: Mutex<HashMap<String, Pace>>,
}

/// What was done last in a namespace.
#[derive(Default)]
pub(super) struct Pace {
    written: Option<Written>,
    pub(super) touched: HashMap<String, Touched>,
    /// When the status of each policy was written.
    pub(super) told: HashMap<String, Instant>,
}

/// How a pod was touched.
pub(super) struct Touched {
    pub(super) at: Instant,
    pub(super) with: String,
    pub(super) used: Used,
}

impl Policies {
    /// It begins now.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, since: Instant::now(), paces: Mutex::default() }
    }

    fn paces(&self) -> MutexGuard<'_, HashMap<String, Pace>> {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was done last in a namespace, to be read and noted.
    pub(super) fn of<T>(&self, namespace: &str, look: impl FnOnce(&mut Pace) -> T) -> T {
        look(self.paces().entry(namespace.to_owned()).or_default())
    }

    /// For how long pods may still be on their way to tell what they follow.
    pub(super) fn settles_in(&self) -> Duration {
        SETTLING.saturating_sub(self.since.elapsed())
    }
}

/// Sees to one namespace.
///
/// # Errors
/// When the API server cannot be written.
#[instrument(skip_all, fields(namespace = namespace.name_any()))]
pub async fn reconcile(
    namespace: Arc<PartialObjectMeta<Namespace>>,
    policies: Arc<Policies>,
) -> Result<Action, Error> {
    if namespace.metadata.deletion_timestamp.is_some() {
        policies.paces().remove(&namespace.name_any());
        return Ok(Action::await_change());
    }
    // Who decided before would open what policies close.
    if !policies.context.documents.were_read() {
        return Ok(Action::requeue(UNREAD));
    }
    let seen = observe(&policies.context, &namespace);
    let again = see_to(&policies, &seen).await?;
    Ok(again.map_or_else(Action::await_change, Action::requeue))
}

/// Returns when to look again, if nothing happens before.
async fn see_to(policies: &Policies, seen: &Observed) -> Result<Option<Duration>, Error> {
    let publishing = publish(policies, seen).await;
    if publishing.as_ref().is_err_and(Error::is_an_ending_namespace) {
        return Ok(None);
    }
    let refusal = publishing.as_ref().err().and_then(Error::refusal);
    let refreshing = refresh(policies, seen).await;
    if seen.is_outdated(&policies.context) {
        return Ok(Some(Duration::ZERO));
    }
    let telling = tell_all(policies, seen, refusal).await;
    policies.of(&seen.namespace, |pace| pace.forget(seen));
    let waits = [publishing?, refreshing?, telling?];
    Ok(waits.into_iter().flatten().min())
}

async fn publish(policies: &Policies, seen: &Observed) -> Result<Option<Duration>, Error> {
    let now = Instant::now();
    match policies.of(&seen.namespace, |pace| publish::step(seen, pace.written.as_ref(), now)) {
        publish::Step::Keep => Ok(None),
        publish::Step::Wait(wait) => Ok(Some(wait)),
        publish::Step::Apply => {
            let written = publish::apply(&policies.context, seen).await?;
            policies.of(&seen.namespace, |pace| {
                pace.written = Some(written.after(pace.written.as_ref()));
            });
            Ok(None)
        }
    }
}

impl Pace {
    /// Nothing is remembered of what is gone.
    fn forget(&mut self, seen: &Observed) {
        if self.touched.len() > seen.pods.len() {
            self.touched.retain(|name, _| seen.pods.iter().any(|pod| pod.name_any() == *name));
        }
        if self.told.len() > seen.policies.len() {
            self.told.retain(|name, _| seen.policies.iter().any(|one| one.name_any() == *name));
        }
    }
}

/// Has a namespace looked at whenever its sidecars report something new, for as long as it is polled.
pub async fn wake(context: &Context, queue: &Queue<PartialObjectMeta<Namespace>>) {
    let mut changes = context.reports.changes();
    loop {
        match changes.recv().await {
            Ok(namespace) => queue.put_reference(ObjectRef::new(&namespace)),
            // So many at once that some were missed.
            Err(RecvError::Lagged(_)) => {
                context.seen.namespaces.state().iter().for_each(|namespace| queue.put(namespace));
            }
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// After an error of the API server's, a little later.
#[must_use]
pub fn error_policy(
    _: Arc<PartialObjectMeta<Namespace>>,
    error: &Error,
    policies: Arc<Policies>,
) -> Action {
    let reason = error.reason();
    let cause = crate::story::cause(error);
    warn!(reason, %error, cause, "reconciliation failed");
    policies.context.metrics.reconcile_errors.get_or_create(&ReasonLabels { reason }).inc();
    Action::requeue(crate::retry::after(error, Duration::from_secs(1)))
}
