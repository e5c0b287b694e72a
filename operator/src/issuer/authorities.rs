//! The authorities of `ca` issuers in memory, so that signing reads nothing: each is kept until its
//! Secret changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::pki::Authority;
use crate::watch::Key;

/// Authorities by namespace and name of their Secret.
#[derive(Debug, Default)]
pub struct Authorities(Mutex<HashMap<Key, Entry>>);

#[derive(Debug, Default)]
struct Entry {
    /// How often the Secret changed since it was first asked for.
    changes: u64,
    loaded: Option<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    /// What `changes` was before the Secret was read.
    at: u64,
    authority: Arc<Authority>,
    fingerprint: String,
}

/// That a Secret is about to be read. What changes from here on, the reader may not have seen.
#[derive(Clone, Copy, Debug)]
pub struct Reading(u64);

impl Authorities {
    /// An authority is about to be read.
    pub fn reading(&self, key: &Key) -> Reading {
        self.with(|entries| Reading(entries.entry(key.clone()).or_default().changes))
    }

    /// What was read.
    pub fn put(&self, key: &Key, Reading(at): Reading, authority: &Arc<Authority>) {
        let fingerprint = authority.fingerprint();
        let loaded = Loaded { at, authority: authority.clone(), fingerprint };
        self.with(|entries| entries.entry(key.clone()).or_default().loaded = Some(loaded));
    }

    /// Nothing that can sign was found.
    pub fn remove(&self, key: &Key) {
        self.with(|entries| entries.entry(key.clone()).or_default().loaded = None);
    }

    /// The authority as it was read after the last change that is known of.
    #[must_use]
    pub fn fresh(&self, key: &Key) -> Option<Arc<Authority>> {
        self.with(|entries| {
            let Entry { changes, loaded } = entries.get(key)?;
            let loaded = loaded.as_ref().filter(|loaded| loaded.at == *changes)?;
            Some(loaded.authority.clone())
        })
    }

    /// The authority that was read last, be it old by now.
    #[must_use]
    pub fn last(&self, key: &Key) -> Option<Arc<Authority>> {
        self.with(|entries| Some(entries.get(key)?.loaded.as_ref()?.authority.clone()))
    }

    /// Which authority was read last, be it old by now.
    #[must_use]
    pub fn fingerprint(&self, key: &Key) -> Option<String> {
        self.with(|entries| Some(entries.get(key)?.loaded.as_ref()?.fingerprint.clone()))
    }

    /// A Secret changed, came or went.
    pub fn changed(&self, key: &Key) {
        self.with(|entries| {
            if let Some(entry) = entries.get_mut(key) {
                entry.changes += 1;
            }
        });
    }

    /// No other Secret is an authority's any more; keys of others are not kept.
    pub fn keep_only(&self, wanted: &BTreeSet<Key>) {
        self.with(|entries| entries.retain(|key, _| wanted.contains(key)));
    }

    fn with<T>(&self, look: impl FnOnce(&mut HashMap<Key, Entry>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::support::Press;

    fn key() -> Key {
        ("shop".to_owned(), "ink".to_owned())
    }

    #[test]
    fn an_authority_is_kept_until_its_secret_changes() {
        let (authorities, press) = (Authorities::default(), Arc::new(Press::new().into_inner()));
        assert!(authorities.fresh(&key()).is_none());
        let reading = authorities.reading(&key());
        authorities.put(&key(), reading, &press);
        assert!(authorities.fresh(&key()).is_some());
        authorities.changed(&key());
        assert!(authorities.fresh(&key()).is_none());
        assert_eq!(authorities.fingerprint(&key()), Some(press.fingerprint()), "it is still told");
        authorities.keep_only(&BTreeSet::new());
        assert_eq!(authorities.fingerprint(&key()), None);
    }

    #[test]
    fn what_changed_while_it_was_read_is_read_again() {
        let (authorities, press) = (Authorities::default(), Arc::new(Press::new().into_inner()));
        let reading = authorities.reading(&key());
        authorities.changed(&key());
        authorities.put(&key(), reading, &press);
        assert!(authorities.fresh(&key()).is_none());
    }

    #[test]
    fn what_cannot_sign_is_not_kept() {
        let (authorities, press) = (Authorities::default(), Arc::new(Press::new().into_inner()));
        let reading = authorities.reading(&key());
        authorities.put(&key(), reading, &press);
        authorities.remove(&key());
        assert!(authorities.fresh(&key()).is_none());
    }
}
