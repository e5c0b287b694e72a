//! Brings the bundles of one object to what they should be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use kube::api::{Api, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tracing::{info, instrument, warn};

use super::decide::{Decision, Problem, decide};
use super::observe::{ObserveError, observe};
use super::source::{Source, asked};
use super::targets::Target;
use crate::context::{Context, FIELD_MANAGER};
use crate::last_word::LastWords;
use crate::metrics::ReasonLabels;
use crate::retry;
use crate::story::story;

/// A Secret of a user's own is not watched, nor is a file: both are looked at again by themselves.
const RECHECK_UNWATCHED: Duration = Duration::from_secs(60);

/// Whatever is watched tells of itself; this is for what was missed.
const RECHECK_WATCHED: Duration = Duration::from_secs(600);

/// While something is missing.
const RECHECK_MISSING: Duration = Duration::from_secs(5);

/// What the reconcilers of all kinds share.
pub(super) struct Injection {
    pub(super) context: Arc<Context>,
    pub(super) said: LastWords,
}

/// An object's bundles could not be brought to what they should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("reading {target}")]
    Read {
        target: String,
        #[source]
        source: kube::Error,
    },
    #[error("finding the authority for {target}")]
    Observe {
        target: String,
        #[source]
        source: ObserveError,
    },
    #[error("writing caBundle of {target}")]
    Write {
        target: String,
        #[source]
        source: kube::Error,
    },
}

/// Brings the bundles of one object to what they should be.
#[instrument(skip_all, fields(target = %ObjectRef::from_obj(&*seen)))]
pub(super) async fn reconcile<K: Target>(
    seen: Arc<PartialObjectMeta<K>>,
    injection: Arc<Injection>,
) -> Result<Action, Error> {
    let is_going = seen.metadata.deletion_timestamp.is_some();
    if is_going || is_kept_elsewhere::<K>(&seen.name_any()) {
        return Ok(Action::await_change());
    }
    let source = match asked(seen.annotations()) {
        Ok(None) => {
            injection.said.forget(&seen.uid().unwrap_or_default());
            return Ok(Action::await_change());
        }
        Ok(Some(source)) => source,
        Err(problem) => return Ok(injection.complain(&*seen, &problem)),
    };
    let context = &injection.context;
    let api: Api<K> = Api::all(context.client.clone());
    let target = || ObjectRef::from_obj(&*seen).to_string();
    let read = api.get_opt(&seen.name_any()).await;
    let read = read.map_err(|source| Error::Read { target: target(), source })?;
    // What it asks for may have changed since: the watch will tell.
    let is_same = |object: &K| same(object.annotations(), seen.annotations());
    let Some(object) = read.filter(is_same) else { return Ok(Action::await_change()) };
    let bundles = object.bundles();
    if bundles.is_empty() {
        return Ok(Action::await_change());
    }
    let found = observe(context, &source).await;
    let found = found.map_err(|source| Error::Observe { target: target(), source })?;
    match decide(&source, &found, &bundles) {
        Ok(Decision::Keep) => {}
        Ok(Decision::Fill { paths, authority }) => {
            let written = fill(&api, &object, &paths, &authority).await;
            written.map_err(|source| Error::Write { target: target(), source })?;
        }
        Err(problem) => return Ok(injection.complain(&object, &problem)),
    }
    injection.said.forget(&object.uid().unwrap_or_default());
    Ok(Action::requeue(match source {
        Source::Certificate(_) => RECHECK_WATCHED,
        Source::Secret(_) | Source::ApiServer => RECHECK_UNWATCHED,
    }))
}

/// The configuration of our own webhook has its bundle from its own certificate, which is made
/// before any issuer can sign.
fn is_kept_elsewhere<K: Target>(name: &str) -> bool {
    K::kind(&()) == "MutatingWebhookConfiguration" && name == "countersign"
}

type Annotations = BTreeMap<String, String>;

fn same(read: &Annotations, seen: &Annotations) -> bool {
    asked(read) == asked(seen)
}

/// Writes the bundles, unless the object has changed since it was read.
async fn fill<K: Target>(
    api: &Api<K>,
    object: &K,
    paths: &[String],
    authority: &str,
) -> kube::Result<()> {
    let version = object.resource_version().unwrap_or_default();
    let bundle = ByteString(authority.as_bytes().to_vec());
    let write = |path: &String| json!({ "op": "add", "path": path, "value": bundle });
    let unchanged = json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version });
    let operations: Vec<Value> =
        std::iter::once(unchanged).chain(paths.iter().map(write)).collect();
    let operations = serde_json::from_value(operations.into()).map_err(kube::Error::SerdeError)?;
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(&object.name_any(), &parameters, &Patch::<()>::Json(operations)).await?;
    info!(bundles = paths.len(), "caBundle written");
    Ok(())
}

impl Injection {
    /// Says what is wrong, once.
    fn complain<K>(&self, object: &K, problem: &Problem) -> Action
    where
        K: Resource<DynamicType = ()>,
    {
        let (reason, message) = (problem.reason(), problem.to_string());
        if self.said.is_news(&object.uid().unwrap_or_default(), &message) {
            warn!(reason, message, "caBundle not written");
            self.context.events.warning(object, reason, message);
        }
        if problem.is_passing() { Action::requeue(RECHECK_MISSING) } else { Action::await_change() }
    }
}

/// After an error of the API server's, a little later.
pub(super) fn error_policy<K: Target>(
    object: Arc<PartialObjectMeta<K>>,
    error: &Error,
    injection: Arc<Injection>,
) -> Action {
    let (reason, message) = ("InjectAuthorityError", story(error));
    warn!(reason, error = message, "reconciliation failed");
    if retry::is_lasting(error)
        && injection.said.is_news(&object.uid().unwrap_or_default(), &message)
    {
        injection.context.events.warning(&*object, reason, message);
    }
    injection.context.metrics.reconcile_errors.get_or_create(&ReasonLabels { reason }).inc();
    Action::requeue(retry::after(error, Duration::from_secs(1)))
}
