//! Finds pods that should have the sidecar and do not: those that were made while the webhook was
//! away, or before their namespace asked for it, and those that only say that they have it.
//!
//! `scopes` says which pods are followed, by their metadata; `judge` looks at a suspect once it was
//! read; `replace` says which one may go, where its namespace wants them replaced. All three are pure.
//!
//! `unreached` reports pods whose sidecar runs and has no stream to discovery.

mod follow;
mod found;
mod judge;
mod replace;
mod scopes;
mod suspects;
mod unreached;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_contract::{labels, names};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, EvictParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::{Store, store};
use kube::{Api, Resource, ResourceExt};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::found::Found;
use self::judge::{Missed, Remark, judge, remarks};
use self::replace::{Evicted, next, note, readiness};
pub use self::suspects::Suspects;
pub use self::unreached::UNREACHED_AFTER;
use crate::context::Context;
use crate::kept::MeshPod;
use crate::last_word::LastWords;
use crate::metrics::NamespaceLabels;

/// How often is looked whether the next one may be replaced, while any waits.
const LOOK: Duration = Duration::from_secs(10);

/// How long until an API server is asked again that could not answer.
const PAUSE: Duration = Duration::from_secs(3);

/// A pod could not be looked at, or replaced.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("reading {0}")]
    Read(ObjectRef<Pod>, #[source] kube::Error),
    #[error("evicting {0}")]
    Evict(ObjectRef<Pod>, #[source] kube::Error),
}

/// What was found so far.
struct Audit {
    context: Arc<Context>,
    /// Namespaces with the label of injection: as their own watch tells, which wakes whoever reads this.
    asking: Store<PartialObjectMeta<Namespace>>,
    found: Mutex<Found>,
    evicted: Mutex<Evicted>,
    said: LastWords,
    /// What was remarked on pods, by their namespaces and names, and on namespaces, by their names.
    remarked: LastWords,
}

/// Whether a pod says that it has the sidecar, and has not.
#[must_use]
pub fn lies(pod: &MeshPod) -> bool {
    !pod.has_sidecar()
}

/// Runs until `stop` is cancelled.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let (found, evicted, said, remarked) = Default::default();
    let (asking, writer) = store();
    let unreached = unreached::report(context.clone());
    let audit = Arc::new(Audit { context, asking, found, evicted, said, remarked });
    tokio::select! {
        () = follow::follow_pods(&audit, writer) => {}
        () = audit.look_at_all() => {}
        () = unreached => {}
        () = stop.cancelled() => {}
    }
}

impl Audit {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has every pod looked at again that is missed, or that says more than there is to it.
    fn look_again(&self) {
        let keys = self.found().keys();
        keys.iter().for_each(|(namespace, name)| self.context.suspects.put(namespace, name));
        for pod in self.context.seen.pods.state_filter(lies) {
            self.context.suspects.put(&pod.namespace().unwrap_or_default(), &pod.name_any());
        }
    }

    /// Looks at one suspect after the other. Where none comes, and some wait to be replaced, the
    /// next of them may go meanwhile.
    async fn look_at_all(&self) {
        // An error means that the watch has ended, and all of this with it.
        drop(self.asking.wait_until_ready().await);
        loop {
            let waits = !self.found().namespaces().is_empty();
            let looked = tokio::select! {
                (namespace, name) = self.context.suspects.next() => {
                    let looked = self.look(&namespace, &name).await;
                    if looked.is_err() {
                        self.context.suspects.put(&namespace, &name);
                    }
                    looked
                }
                () = tokio::time::sleep(LOOK), if waits => self.replace_some().await,
            };
            if let Err(error) = looked {
                let cause = crate::story::cause(&error);
                warn!(%error, cause, "looking for pods without the sidecar");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn look(&self, namespace: &str, name: &str) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), namespace);
        let read = api.get_opt(name).await;
        let pod = read.map_err(|e| Error::Read(ObjectRef::new(name).within(namespace), e))?;
        let known = self.namespace(namespace);
        let asking = self.asking.get(&ObjectRef::new(namespace));
        let asks = asking.is_some_and(|namespace| follow::asks(&namespace));
        let is_excluded = self.context.settings.is_excluded(namespace);
        let remarks = pod.as_ref().map(|pod| remarks(pod, asks, is_excluded)).unwrap_or_default();
        self.remark(pod.as_ref(), &format!("{namespace}/{name}"), &remarks);
        let missed = pod.as_ref().and_then(|pod| judge(pod, asks, is_excluded));
        if let (Some(pod), Some(missed)) = (&pod, &missed)
            && !missed.is_leaving
            && self.said.is_news(&missed.uid, "missed")
        {
            self.tell(pod, known.as_deref());
        }
        let key = (namespace.to_owned(), name.to_owned());
        let (settled, count) = {
            let mut found = self.found();
            (found.note(&key, missed), found.count(namespace))
        };
        if let Some(settled) = settled {
            self.said.forget(&settled.uid);
        }
        self.count(namespace, count);
        self.replace(namespace).await
    }

    /// Tells of what was remarked on an object, once.
    fn remark<K>(&self, object: Option<&K>, key: &str, remarks: &[Remark])
    where
        K: Resource<DynamicType = ()>,
    {
        let Some(object) = object.filter(|_| !remarks.is_empty()) else {
            return self.remarked.forget(key);
        };
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        let all: Vec<_> = remarks.iter().map(|remark| remark.note.as_str()).collect();
        if self.remarked.is_news(key, &format!("{uid} {}", all.join("; "))) {
            for Remark { reason, note } in remarks {
                self.context.events.warning(object, reason, note.clone());
            }
        }
    }

    /// Tells of namespaces whose labels say nothing.
    fn tell_namespaces(&self) {
        for namespace in self.asking.state() {
            let all = namespace.labels().iter();
            let faults = all.filter_map(|(name, value)| labels::fault(name, value));
            let remark = |note| Remark { reason: "InjectionMistake", note };
            let remarks: Vec<_> = faults.map(remark).collect();
            self.remark(Some(namespace.as_ref()), &namespace.name_any(), &remarks);
        }
    }

    fn namespace(&self, name: &str) -> Option<Arc<PartialObjectMeta<Namespace>>> {
        let reference = ObjectRef::new(name);
        self.asking.get(&reference).or_else(|| self.context.seen.namespaces.get(&reference))
    }

    fn count(&self, namespace: &str, count: usize) {
        let labels = NamespaceLabels { namespace: namespace.to_owned() };
        let family = &self.context.metrics.uninjected_pods;
        if count == 0 {
            family.remove(&labels);
        } else {
            family.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    fn tell(&self, pod: &Pod, namespace: Option<&PartialObjectMeta<Namespace>>) {
        let what = if !self.asks_for_replacement(namespace) {
            "delete it, or have it replaced: annotation countersign.dev/replace-uninjected of its namespace"
        } else if self.context.settings.replaces_uninjected {
            "it is replaced where a controller makes another"
        } else {
            "its namespace wants it replaced, which this installation does not allow (chart: injection.replace)"
        };
        info!(namespace = pod.namespace(), pod = pod.name_any(), "without the sidecar");
        let note = format!(
            "the pod should have the sidecar and does not: nothing protects its connections; {what}"
        );
        self.context.events.warning(pod, "NotInjected", note);
    }

    fn asks_for_replacement(&self, namespace: Option<&PartialObjectMeta<Namespace>>) -> bool {
        let name = names::REPLACE_UNINJECTED_ANNOTATION;
        namespace.is_some_and(|it| it.annotations().get(name).is_some_and(|value| value == "true"))
    }

    async fn replace_some(&self) -> Result<(), Error> {
        let namespaces = self.found().namespaces();
        for namespace in namespaces {
            self.replace(&namespace).await?;
        }
        Ok(())
    }

    /// Evicts one pod, where that is wanted and may be.
    async fn replace(&self, namespace: &str) -> Result<(), Error> {
        let is_wanted = self.asks_for_replacement(self.namespace(namespace).as_deref());
        if !is_wanted || !self.context.settings.replaces_uninjected {
            return Ok(());
        }
        let siblings =
            self.context.seen.pods.state_filter(|pod| pod.is_in(namespace) && !lies(pod));
        let readiness = readiness(siblings.iter().map(AsRef::as_ref));
        let chosen = {
            let evicted = self.evicted.lock().unwrap_or_else(PoisonError::into_inner);
            next(self.found().of(namespace), &readiness, &evicted).cloned()
        };
        match chosen {
            Some(missed) => self.evict(namespace, &missed).await,
            None => Ok(()),
        }
    }

    async fn evict(&self, namespace: &str, missed: &Missed) -> Result<(), Error> {
        let reference: ObjectRef<Pod> = ObjectRef::new(&missed.name).within(namespace);
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), namespace);
        let uid = Some(missed.uid.clone());
        let this_one = Preconditions { uid, resource_version: None };
        let delete = DeleteParams { preconditions: Some(this_one), ..DeleteParams::default() };
        let parameters = EvictParams { delete_options: Some(delete), ..EvictParams::default() };
        match api.evict(&missed.name, &parameters).await {
            Ok(_) => {}
            // A budget forbids it for now, or it went by itself.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 429) => {
                return Ok(());
            }
            Err(error) => return Err(Error::Evict(reference, error)),
        }
        info!(namespace, pod = missed.name, "evicted for the lack of the sidecar");
        {
            let mut evicted = self.evicted.lock().unwrap_or_else(PoisonError::into_inner);
            note(&mut evicted, missed, self.found().of(namespace), self.context.clock.now());
        }
        self.context.suspects.put(namespace, &missed.name);
        let why = "evicted, so that another with the sidecar takes its place";
        self.context.events.normal(&pod_of(&reference, missed), "Replaced", why.to_owned());
        Ok(())
    }
}

/// Enough of a pod for an Event about it.
fn pod_of(reference: &ObjectRef<Pod>, missed: &Missed) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = Some(missed.name.clone());
    pod.metadata.namespace.clone_from(&reference.namespace);
    pod.metadata.uid = Some(missed.uid.clone());
    pod
}
