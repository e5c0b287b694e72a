//! What is compiled of each namespace, for everybody who asks: on every replica, from what its
//! watch saw, and never from what another one wrote.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_contract::access::NamespaceDocument;
use countersign_crds::AccessPolicy;
use futures::FutureExt;
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use tokio::sync::broadcast;

use super::compile::{closed, compile, text};
use crate::context::{Settings, Watched};
use crate::pki::sha256_hex;
use crate::watch::Key;

/// A ConfigMap holds one MiB, of which its key is a part.
const LARGEST: usize = 1024 * 1024 - 1024;

/// So many changes are kept for who is slow to hear of them; who misses some is told so.
const MOST_CHANGES: usize = 1024;

/// The document of a namespace, as its policies are now; pure but for reading what was watched.
#[must_use]
pub fn document(seen: &Watched, settings: &Settings, namespace: &str) -> NamespaceDocument {
    let policies = policies_of(&seen.access_policies, namespace);
    compile(policies.iter().map(AsRef::as_ref), settings)
}

pub(super) fn policies_of(store: &Store<AccessPolicy>, namespace: &str) -> Vec<Arc<AccessPolicy>> {
    store.state_filter(|policy| policy.namespace().as_deref() == Some(namespace))
}

/// The document of each namespace, compiled once for each change of its policies.
#[derive(Debug)]
pub struct Documents {
    policies: Store<AccessPolicy>,
    settings: Settings,
    without_policies: Compiled,
    compiled: Mutex<HashMap<String, Kept>>,
    /// Namespaces that have no policy: nobody looks through those of all others for each answer.
    without: Mutex<HashSet<String>>,
    specs: Mutex<HashMap<Key, Spec>>,
    changes: broadcast::Sender<String>,
}

/// What was compiled.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) document: Arc<NamespaceDocument>,
    /// The SHA-256 of its text.
    pub(super) digest: Arc<str>,
    /// How long the text would be, where that is too long; the document is then the one before.
    pub(super) too_large: Option<usize>,
}

/// Which spec a policy has.
#[derive(Debug, PartialEq, Eq)]
struct Spec {
    uid: Option<String>,
    generation: Option<i64>,
}

#[derive(Debug, Default)]
struct Kept {
    now: Option<Compiled>,
    good: Option<Compiled>,
}

impl Compiled {
    fn of(document: NamespaceDocument) -> (Self, usize) {
        let text = text(&document);
        let digest = sha256_hex(text.as_bytes()).into();
        (Self { document: Arc::new(document), digest, too_large: None }, text.len())
    }
}

impl Documents {
    /// Nothing is compiled before somebody asks.
    #[must_use]
    pub fn new(seen: &Watched, settings: &Settings) -> Self {
        Self {
            policies: seen.access_policies.clone(),
            settings: settings.clone(),
            without_policies: Compiled::of(compile([], settings)).0,
            compiled: Mutex::default(),
            without: Mutex::default(),
            specs: Mutex::default(),
            changes: broadcast::Sender::new(MOST_CHANGES),
        }
    }

    /// Whether every policy was read once. Who asks for documents before would take a namespace for
    /// one without policies.
    #[must_use]
    pub fn were_read(&self) -> bool {
        self.policies.wait_until_ready().now_or_never().is_some()
    }

    /// Waits for that; for ever where the kind is not installed.
    pub async fn wait_until_read(&self) {
        // An error means that the watch has ended, as it does with the operator.
        let _ = self.policies.wait_until_ready().await;
    }

    /// What holds for the pods of a namespace.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Arc<NamespaceDocument> {
        self.compiled_of(namespace).document
    }

    /// The namespaces whose policies change from now on.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<String> {
        self.changes.subscribe()
    }

    /// A policy came or changed, and the store has it. Where only its status changed, nothing did.
    pub fn there(&self, policy: &AccessPolicy) {
        let spec = || Spec { uid: policy.uid(), generation: policy.metadata.generation };
        let before = self.specs().insert(key(policy), spec());
        if before != Some(spec()) {
            self.changed(&policy.namespace().unwrap_or_default());
        }
    }

    /// A policy went.
    pub fn gone(&self, policy: &AccessPolicy) {
        self.specs().remove(&key(policy));
        self.changed(&policy.namespace().unwrap_or_default());
    }

    fn changed(&self, namespace: &str) {
        {
            let mut all = self.kept();
            self.without().remove(namespace);
            if let Some(kept) = all.get_mut(namespace) {
                kept.now = None;
            }
        }
        // An error means that nobody listens.
        let _ = self.changes.send(namespace.to_owned());
    }

    /// A namespace is gone.
    pub fn forget(&self, namespace: &str) {
        self.kept().remove(namespace);
        self.without().remove(namespace);
    }

    /// The lock is held meanwhile: what is compiled of an older state is then taken away by the
    /// change that follows, and never put in its place.
    pub(super) fn compiled_of(&self, namespace: &str) -> Compiled {
        let mut all = self.kept();
        if let Some(compiled) = all.get(namespace).and_then(|kept| kept.now.as_ref()) {
            return compiled.clone();
        }
        if self.without().contains(namespace) {
            return self.without_policies.clone();
        }
        let policies = policies_of(&self.policies, namespace);
        if policies.is_empty() {
            all.remove(namespace);
            // Before all were read, there may be some all the same.
            if self.were_read() {
                self.without().insert(namespace.to_owned());
            }
            return self.without_policies.clone();
        }
        let compiled = Compiled::of(compile(policies.iter().map(AsRef::as_ref), &self.settings));
        all.entry(namespace.to_owned()).or_default().next(compiled, LARGEST)
    }

    fn without(&self) -> MutexGuard<'_, HashSet<String>> {
        self.without.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn specs(&self) -> MutexGuard<'_, HashMap<Key, Spec>> {
        self.specs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(policy: &AccessPolicy) -> Key {
    (policy.namespace().unwrap_or_default(), policy.name_any())
}

impl Kept {
    /// What holds after something was compiled: that, or what held before where it is too large, or
    /// what lets nobody in where nothing did.
    fn next(&mut self, (compiled, size): (Compiled, usize), largest: usize) -> Compiled {
        let next = if size <= largest {
            self.good = Some(compiled.clone());
            compiled
        } else {
            let before = self.good.clone().unwrap_or_else(|| Compiled::of(closed()).0);
            Compiled { too_large: Some(size), ..before }
        };
        self.now = Some(next.clone());
        next
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::policy::support::{policy, settings};

    #[test]
    fn a_change_is_told_and_compiled_once() {
        let (policies, mut writer) = store();
        let documents = Documents {
            policies,
            settings: settings(),
            without_policies: Compiled::of(compile([], &settings())).0,
            compiled: Mutex::default(),
            without: Mutex::default(),
            specs: Mutex::default(),
            changes: broadcast::Sender::new(4),
        };
        let mut changes = documents.changes();
        assert!(!documents.were_read());
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        assert!(documents.were_read());
        let before = documents.of("shop");
        let one = policy("web", json!({ "allow": [{}] }));
        writer.apply_watcher_event(&Event::Apply(one.clone()));
        documents.there(&one);
        assert_eq!(changes.try_recv().as_deref(), Ok("shop"));
        documents.there(&one);
        assert!(changes.try_recv().is_err(), "its status changed");
        let after = documents.of("shop");
        assert_ne!(before.revision, after.revision);
        assert!(Arc::ptr_eq(&after, &documents.of("shop")), "it is compiled once");
        assert_eq!(*documents.of("bank"), *before, "others are not concerned");
        assert!(documents.without().contains("bank") && !documents.without().contains("shop"));
        writer.apply_watcher_event(&Event::Delete(one.clone()));
        documents.gone(&one);
        assert_eq!(changes.try_recv().as_deref(), Ok("shop"));
        assert_eq!(*documents.of("shop"), *before);
        assert!(documents.kept().is_empty(), "nothing is kept of what has no policies");
    }

    #[test]
    fn what_is_too_large_leaves_in_place_what_was_there_before_or_lets_nobody_in() {
        let compiled = |name: &str| Compiled::of(compile([&policy(name, json!({}))], &settings()));
        let (mut kept, largest) = (Kept::default(), compiled("web").1);
        let first = kept.next(compiled("webweb"), largest);
        assert_eq!((&*first.document, first.too_large), (&closed(), Some(largest + 3)));
        let good = kept.next(compiled("web"), largest);
        assert_eq!(good.too_large, None);
        let third = kept.next(compiled("webweb"), largest);
        assert_eq!((&third.document, &third.digest), (&good.document, &good.digest));
        assert_eq!(third.too_large, Some(largest + 3));
    }
}
