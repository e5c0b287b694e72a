//! What is compiled of each namespace, for everybody who asks: on every replica, from what its
//! watch saw, and never from what another one wrote.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_contract::access::{Authorities, NamespaceDocument};
use countersign_crds::{AccessPolicy, ClusterIssuer};
use futures::FutureExt;
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use tokio::sync::broadcast;

use super::authorities::authorities;
use super::bounds::{Excess, MAX_BYTES, MAX_POLICIES};
use super::compile::{compile_for, compile_within};
use super::compiled::{Compiled, Slot};
use crate::context::{Settings, Watched};
use crate::watch::Key;

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
    store.state_filter(|policy| policy.metadata.namespace.as_deref() == Some(namespace))
}

/// The same, where there are not too many; one more than there may be, where there are.
fn some_policies_of(store: &Store<AccessPolicy>, namespace: &str) -> Vec<Arc<AccessPolicy>> {
    let found = Cell::new(0);
    store.state_filter(|policy| {
        let is_wanted =
            found.get() <= MAX_POLICIES && policy.metadata.namespace.as_deref() == Some(namespace);
        found.set(found.get() + usize::from(is_wanted));
        is_wanted
    })
}

/// The document of each namespace, compiled once for each change of its policies.
#[derive(Debug)]
pub struct Documents {
    policies: Store<AccessPolicy>,
    issuers: Store<ClusterIssuer>,
    settings: Settings,
    told: Mutex<Told>,
    compiled: Mutex<HashMap<String, Arc<Slot>>>,
    /// Namespaces that have no policy: nobody looks through those of all others for each answer.
    without: Mutex<HashSet<String>>,
    specs: Mutex<HashMap<Key, Spec>>,
    changes: broadcast::Sender<String>,
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
            let all = self.slots();
            self.without().remove(namespace);
            if let Some(slot) = all.get(namespace) {
                slot.change();
            }
        }
        // An error means that nobody listens.
        let _ = self.changes.send(namespace.to_owned());
    }

    /// A ClusterIssuer changed; whether every document has to be compiled anew for it.
    pub fn issuer_changed(&self) -> bool {
        let authorities = authorities(&self.issuers, &self.settings);
        let all = self.slots();
        let mut told = self.told();
        if told.authorities == authorities {
            return false;
        }
        *told = Told::of(authorities, &self.settings);
        all.values().for_each(|slot| slot.change());
        true
    }

    /// A namespace is gone.
    pub fn forget(&self, namespace: &str) {
        self.slots().remove(namespace);
        self.without().remove(namespace);
    }

    /// What was compiled for a namespace, with how its ports speak TLS.
    #[must_use]
    pub fn compiled_of(&self, namespace: &str) -> Compiled {
        if self.without().contains(namespace) {
            return self.told().without_policies.clone();
        }
        let slot = self.slots().entry(namespace.to_owned()).or_default().clone();
        // Others who want this namespace wait for the same compilation; other namespaces do not.
        let mut kept = slot.lock();
        // Counted before policies are read: what changes meanwhile makes it old.
        let changes = slot.changes();
        if let Some(compiled) = kept.after(changes) {
            return compiled.clone();
        }
        let policies = some_policies_of(&self.policies, namespace);
        if policies.is_empty() {
            self.has_none(namespace, &slot, changes);
            return self.told().without_policies.clone();
        }
        kept.next(changes, self.compile(&policies))
    }

    fn compile(&self, policies: &[Arc<AccessPolicy>]) -> Result<Compiled, Excess> {
        let authorities = self.told().authorities.clone();
        let policies = policies.iter().map(AsRef::as_ref).collect();
        let (compiled, bytes) =
            Compiled::of(compile_within(policies, &self.settings, authorities)?);
        if bytes > MAX_BYTES { Err(Excess::Bytes(bytes)) } else { Ok(compiled) }
    }

    /// Notes that a namespace has no policies, unless one came meanwhile.
    fn has_none(&self, namespace: &str, slot: &Arc<Slot>, changes: u64) {
        let mut all = self.slots();
        let is_same = all.get(namespace).is_some_and(|it| Arc::ptr_eq(it, slot));
        if !is_same || slot.changes() != changes {
            return;
        }
        all.remove(namespace);
        // Before all were read, there may be some all the same.
        if self.were_read() {
            self.without().insert(namespace.to_owned());
        }
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

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Arc<Slot>>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(policy: &AccessPolicy) -> Key {
    (policy.namespace().unwrap_or_default(), policy.name_any())
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::policy::support::{policy, settings};

    fn documents(policies: Store<AccessPolicy>, issuers: Store<ClusterIssuer>) -> Documents {
        Documents {
            policies,
            issuers,
            settings: settings(),
            told: Mutex::new(Told::of(Authorities::default(), &settings())),
            compiled: Mutex::default(),
            without: Mutex::default(),
            specs: Mutex::default(),
            changes: broadcast::Sender::new(4),
        }
    }

    #[test]
    fn a_change_is_told_and_compiled_once() {
        let (policies, mut writer) = store();
        let documents = documents(policies, store().0);
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
        assert!(documents.slots().is_empty(), "nothing is kept of what has no policies");
    }

    #[test]
    fn every_document_is_compiled_anew_once_the_ca_of_devices_is_another() {
        let ((policies, _), (issuers, mut writer)) = (store(), store());
        let documents = documents(policies, issuers);
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
    fn policies_beyond_the_bound_leave_in_force_what_was_there_and_are_not_compiled() {
        let (policies, mut writer) = store();
        let documents = documents(policies, store().0);
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        let mut add = |name: &str| {
            let policy = policy(name, json!({ "ports": [{ "port": 80, "mode": "off" }] }));
            writer.apply_watcher_event(&Event::Apply(policy.clone()));
            documents.there(&policy);
        };
        (0..MAX_POLICIES).for_each(|number| add(&format!("p{number}")));
        let before = documents.compiled_of("shop");
        assert_eq!((before.document.policies.len(), before.too_large), (MAX_POLICIES, None));
        (0..MAX_POLICIES).for_each(|number| add(&format!("q{number}")));
        let after = documents.compiled_of("shop");
        assert_eq!(after.too_large, Some(Excess::Policies));
        assert!(Arc::ptr_eq(&before.document, &after.document));
        assert_eq!(some_policies_of(&documents.policies, "shop").len(), MAX_POLICIES + 1);
    }

    #[test]
    fn a_namespace_that_is_compiled_holds_up_neither_others_nor_changes() {
        let (policies, mut writer) = store();
        let documents = documents(policies, store().0);
        let one = policy("web", json!({}));
        writer.apply_watcher_event(&Event::Apply(one));
        let before = documents.of("shop");
        let slot = documents.slots()["shop"].clone();
        let compiling = slot.lock();
        assert!(documents.of("bank").policies.is_empty());
        let other = policy("web", json!({ "allow": [{}] }));
        writer.apply_watcher_event(&Event::Apply(other.clone()));
        documents.there(&other);
        drop(compiling);
        assert_ne!(documents.of("shop").revision, before.revision, "the change is not lost");
    }
}
