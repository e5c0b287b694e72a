//! Has the kubelet read the credentials of pods again that were renewed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign_contract::names;
use countersign_crds::Certificate;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use serde_json::json;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use crate::context::{Context, FIELD_MANAGER};
use crate::kept::MeshPod;
use crate::rate::{Rate, Used};
use crate::story::story;
use crate::watch::Key;

/// How often the pods of one identity are annotated.
const RATE: Rate = Rate { at_once: 2, interval: Duration::from_secs(5) };

/// So many pods are annotated at once. Identities take turns: each annotates one pod at a time.
const AT_ONCE: usize = 16;

/// When the pods of each identity were annotated.
#[derive(Debug)]
pub struct Refreshes {
    paces: Mutex<HashMap<Key, Pace>>,
    turns: Semaphore,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    used: Used,
    /// A refresh waits for its time; it writes the revision that is the newest then.
    waits: bool,
}

/// When pods are annotated.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Now,
    After(Duration),
    /// Another refresh is about to do it.
    Never,
}

impl Default for Refreshes {
    fn default() -> Self {
        Self { paces: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }
}

impl Refreshes {
    fn begin(&self, identity: &Key, now: Instant) -> Step {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces.retain(|_, pace| pace.waits || pace.lasts(now));
        paces.entry(identity.clone()).or_default().step(now)
    }

    fn goes_on(&self, identity: &Key) {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces.entry(identity.clone()).or_default().waits = false;
    }
}

impl Pace {
    fn step(&mut self, now: Instant) -> Step {
        if self.waits {
            return Step::Never;
        }
        let wait = RATE.wait(self.used, now);
        let at = now + wait.unwrap_or_default();
        self.used = RATE.after(self.used, at);
        self.waits = wait.is_some();
        wait.map_or(Step::Now, Step::After)
    }

    /// Whether it says more than nothing does.
    fn lasts(self, now: Instant) -> bool {
        let fresh = Used::default();
        RATE.after(self.used, now) != RATE.after(fresh, now)
    }
}

/// A pod could not be annotated.
#[derive(Debug, thiserror::Error)]
#[error("annotating {pod}")]
struct Error {
    pod: ObjectRef<MeshPod>,
    #[source]
    source: kube::Error,
}

/// After an identity was renewed, changes an annotation of the pods that use it: the kubelet looks
/// at the volumes of a pod that changed at once, and at those of others only every minute or so.
/// The annotation is written through the status, which is the lesser right: whoever may only write
/// that can change no container.
///
/// A task of its own does it, so that an identity with a thousand pods holds up no other.
pub fn refresh_pods(context: &Context, certificate: &Certificate) {
    let Some(account) = account_of(certificate) else { return };
    let identity = (certificate.namespace().unwrap_or_default(), certificate.name_any());
    let revision = revision_of(certificate) + 1;
    let wait = match context.refreshes.begin(&identity, Instant::now()) {
        Step::Never => return,
        Step::Now => None,
        Step::After(wait) => Some(wait),
    };
    let (context, account) = (Arc::new(context.clone()), account.clone());
    tokio::spawn(async move {
        if let Some(wait) = wait {
            tokio::time::sleep(wait).await;
            context.refreshes.goes_on(&identity);
        }
        refresh(&context, &identity, &account, revision).await;
    });
}

fn account_of(certificate: &Certificate) -> Option<&String> {
    let is_identity = certificate.labels().contains_key(names::IDENTITY_LABEL);
    certificate.annotations().get(names::SERVICE_ACCOUNT_ANNOTATION).filter(|_| is_identity)
}

fn revision_of(certificate: &Certificate) -> i64 {
    certificate.status.as_ref().and_then(|status| status.revision).unwrap_or(0)
}

async fn refresh(context: &Context, (namespace, name): &Key, account: &str, revision: i64) {
    let newest = context.seen.certificates.get(&ObjectRef::new(name).within(namespace));
    let revision = newest.map_or(revision, |newest| revision.max(revision_of(&newest)));
    let reads_it =
        |pod: &MeshPod| pod.is_in(namespace) && *pod.service_account == *account && reads(pod);
    for pod in context.seen.pods.state_filter(reads_it) {
        // An error means that the semaphore was closed, which nothing does.
        let _turn = context.refreshes.turns.acquire().await;
        if let Err(error) = touch(context, &pod, revision).await {
            let error = story(&error);
            warn!(error, "pods will see the new credentials with the kubelet's next look");
            return;
        }
    }
}

/// Whether a pod has credentials mounted: one that has no node yet mounts them when it starts.
fn reads(pod: &MeshPod) -> bool {
    pod.has_sidecar() && pod.node.is_some() && !pod.has_ended
}

async fn touch(context: &Context, pod: &MeshPod, revision: i64) -> Result<(), Error> {
    let api: Api<Pod> =
        Api::namespaced(context.client.clone(), &pod.namespace().unwrap_or_default());
    let annotations = json!({ names::CREDENTIALS_REVISION_ANNOTATION: revision.to_string() });
    let patch = json!({ "metadata": { "annotations": annotations } });
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch_status(&pod.name_any(), &parameters, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            debug!(pod = pod.name_any(), "pod is gone meanwhile");
            Ok(())
        }
        Err(source) => Err(Error { pod: ObjectRef::from_obj(pod), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_of_an_identity_are_annotated_at_once_and_then_every_five_seconds() {
        let (refreshes, start) = (Refreshes::default(), Instant::now());
        let identity = |name: &str| ("shop".to_owned(), name.to_owned());
        let after = |ms| Step::After(Duration::from_millis(ms));
        let cases = [
            ("web", 0, Step::Now),
            ("web", 100, Step::Now),
            ("web", 200, after(4800)),
            ("web", 300, Step::Never),
            ("web", 4900, Step::Never),
            ("db", 300, Step::Now),
        ];
        for (name, ms, expected) in cases {
            let found = refreshes.begin(&identity(name), start + Duration::from_millis(ms));
            assert_eq!(found, expected, "{name} {ms}");
        }
        refreshes.goes_on(&identity("web"));
        let found = refreshes.begin(&identity("web"), start + Duration::from_secs(6));
        assert_eq!(found, after(4000));
    }

    #[test]
    fn identities_at_rest_are_forgotten() {
        let (refreshes, start) = (Refreshes::default(), Instant::now());
        let identity = |name: &str| ("shop".to_owned(), name.to_owned());
        assert_eq!(refreshes.begin(&identity("web"), start), Step::Now);
        let later = start + Duration::from_secs(60);
        assert_eq!(refreshes.begin(&identity("db"), later), Step::Now);
        assert!(!refreshes.paces.lock().unwrap().contains_key(&identity("web")));
    }
}
