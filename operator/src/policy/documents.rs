//! What is compiled of each namespace, for everybody who asks: on every replica, from what its
//! watch saw, and never from what another one wrote.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_contract::access::{Authorities, NamespaceDocument};
use countersign_crds::{AccessPolicy, ClusterIssuer};
use futures::FutureExt;
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use tokio::sync::broadcast;

use super::authorities::authorities;
use super::compile::{closed, compile_for, text};
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
    let authorities = authorities(&seen.cluster_issuers, settings);
    compile_for(policies.iter().map(AsRef::as_ref), settings, authorities)
}

pub(super) fn policies_of(store: &Store<AccessPolicy>, namespace: &str) -> Vec<Arc<AccessPolicy>> {
    store.state_filter(|policy| policy.namespace().as_deref() == Some(namespace))
}

/// The document of each namespace, compiled once for each change of its policies.
#[derive(Debug)]
pub struct Documents {
    policies: Store<AccessPolicy>,
    issuers: Store<ClusterIssuer>,
    settings: Settings,
    told: Mutex<Told>,
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

/// What stands in every document, and the one of namespaces without policies.
#[derive(Debug)]
struct Told {
    authorities: Authorities,
    without_policies: Compiled,
}

impl Told {
    fn of(authorities: Authorities, settings: &Settings) -> Self {
        let document = compile_for([], settings, authorities.clone());
        Self { authorities, without_policies: Compiled::of(document).0 }
    }
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
        let told = Told::of(authorities(&seen.cluster_issuers, settings), settings);
        Self {
            policies: seen.access_policies.clone(),
            issuers: seen.cluster_issuers.clone(),
            settings: settings.clone(),
            told: Mutex::new(told),
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

    /// A ClusterIssuer changed; whether every document has to be compiled anew for it.
    pub fn issuer_changed(&self) -> bool {
        let authorities = authorities(&self.issuers, &self.settings);
        let mut all = self.kept();
        let mut told = self.told();
        if told.authorities == authorities {
            return false;
        }
        *told = Told::of(authorities, &self.settings);
        all.values_mut().for_each(|kept| kept.now = None);
        true
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
            return self.told().without_policies.clone();
        }
        let policies = policies_of(&self.policies, namespace);
        if policies.is_empty() {
            all.remove(namespace);
            // Before all were read, there may be some all the same.
            if self.were_read() {
                self.without().insert(namespace.to_owned());
            }
            return self.told().without_policies.clone();
        }
        let authorities = self.told().authorities.clone();
        let policies = policies.iter().map(AsRef::as_ref);
        let compiled = Compiled::of(compile_for(policies, &self.settings, authorities));
        all.entry(namespace.to_owned()).or_default().next(compiled, LARGEST)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
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
    use crate::policy::compile;
    use crate::policy::support::{policy, settings};

    #[test]
    fn a_change_is_told_and_compiled_once() {
        let (policies, mut writer) = store();
        let documents = Documents {
            policies,
            issuers: store().0,
            settings: settings(),
            told: Mutex::new(Told::of(Authorities::default(), &settings())),
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
    fn every_document_is_compiled_anew_once_the_ca_of_devices_is_another() {
        let ((policies, _), (issuers, mut writer)) = (store(), store());
        let documents = Documents {
            policies,
            issuers,
            settings: settings(),
            told: Mutex::new(Told::of(Authorities::default(), &settings())),
            compiled: Mutex::default(),
            without: Mutex::default(),
            specs: Mutex::default(),
            changes: broadcast::Sender::new(4),
        };
        let issuer = |name: &str| -> ClusterIssuer {
            let chain = crate::certificate::support::Press::new().into_inner().chain_pem();
            serde_json::from_value(json!({ "metadata": { "name": name },
                "spec": { "ca": { "secretName": name } }, "status": { "caChain": chain } }))
            .unwrap()
        };
        documents.issuer_changed();
        let before = documents.of("shop");
        writer.apply_watcher_event(&Event::Apply(issuer("mesh")));
        assert!(!documents.issuer_changed(), "no device is told by that alone");
        writer.apply_watcher_event(&Event::Apply(issuer("devices")));
        assert!(documents.issuer_changed() && !documents.issuer_changed());
        let after = documents.of("shop");
        assert_ne!(before.revision, after.revision);
        let authorities = after.authorities.clone().unwrap();
        assert!(authorities.device_keys.len() == 2 && !authorities.device_roots.is_empty());
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
