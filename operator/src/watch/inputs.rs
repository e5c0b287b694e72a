//! Secrets that Certificates only read or wait for: passwords of key stores, and a Secret that was not
//! handed over yet. They bear no label of ours, so that they are followed by their names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::versions::Key;

/// Which Certificates read which Secrets, and which of those changed since.
#[derive(Debug, Default)]
pub struct Inputs(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    readers: BTreeMap<Key, BTreeSet<String>>,
    of: BTreeMap<Key, BTreeSet<String>>,
    /// How often an input of a Certificate changed since it was reconciled.
    changes: BTreeMap<Key, u64>,
}

impl Inputs {
    /// A Certificate reads these Secrets of its namespace; returns whether that is news.
    pub fn note(&self, namespace: &str, certificate: &str, secrets: BTreeSet<String>) -> bool {
        let mut inner = self.lock();
        let key = (namespace.to_owned(), certificate.to_owned());
        if inner.of.get(&key).map_or(secrets.is_empty(), |before| *before == secrets) {
            return false;
        }
        inner.withdraw(&key);
        for secret in &secrets {
            let read = (namespace.to_owned(), secret.clone());
            inner.readers.entry(read).or_default().insert(certificate.to_owned());
        }
        if !secrets.is_empty() {
            inner.of.insert(key, secrets);
        }
        true
    }

    /// A Certificate is gone; returns whether it read any.
    pub fn forget(&self, namespace: &str, certificate: &str) -> bool {
        let mut inner = self.lock();
        let key = (namespace.to_owned(), certificate.to_owned());
        inner.changes.remove(&key);
        inner.withdraw(&key)
    }

    /// A Secret changed, came or went: the Certificates that read it.
    pub fn changed(&self, secret: &Key) -> Vec<String> {
        let mut inner = self.lock();
        let readers: Vec<_> = inner.readers.get(secret).into_iter().flatten().cloned().collect();
        for reader in &readers {
            *inner.changes.entry((secret.0.clone(), reader.clone())).or_default() += 1;
        }
        readers
    }

    /// How often inputs of a Certificate changed since it was reconciled.
    #[must_use]
    pub fn changes(&self, certificate: &Key) -> u64 {
        self.lock().changes.get(certificate).copied().unwrap_or(0)
    }

    /// A Certificate was reconciled that began when so much had changed.
    pub fn reconciled(&self, certificate: &Key, changes: u64) {
        let mut inner = self.lock();
        if inner.changes.get(certificate) == Some(&changes) {
            inner.changes.remove(certificate);
        }
    }

    /// The Secrets that a Certificate reads.
    #[must_use]
    pub fn of(&self, certificate: &Key) -> Vec<Key> {
        let inner = self.lock();
        let secrets = inner.of.get(certificate).into_iter().flatten();
        secrets.map(|secret| (certificate.0.clone(), secret.clone())).collect()
    }

    /// Every Secret that is read.
    #[must_use]
    pub fn all(&self) -> BTreeSet<Key> {
        self.lock().readers.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn withdraw(&mut self, certificate: &Key) -> bool {
        let Some(before) = self.of.remove(certificate) else { return false };
        for secret in before {
            let read = (certificate.0.clone(), secret);
            if let Some(readers) = self.readers.get_mut(&read) {
                readers.remove(&certificate.1);
                if readers.is_empty() {
                    self.readers.remove(&read);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("shop".to_owned(), name.to_owned())
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_changed_password_concerns_the_certificates_that_read_it() {
        let inputs = Inputs::default();
        assert!(!inputs.note("shop", "plain", names(&[])));
        assert!(inputs.note("shop", "web", names(&["passwords"])));
        assert!(!inputs.note("shop", "web", names(&["passwords"])), "the same again");
        assert!(inputs.note("shop", "api", names(&["passwords", "more"])));
        assert_eq!(inputs.changed(&key("passwords")), ["api", "web"]);
        assert!(inputs.changed(&("bank".to_owned(), "passwords".to_owned())).is_empty());
        assert_eq!(inputs.all(), BTreeSet::from([key("more"), key("passwords")]));
        assert!(inputs.note("shop", "api", names(&[])));
        assert_eq!(inputs.all(), BTreeSet::from([key("passwords")]));
        assert!(inputs.forget("shop", "web") && !inputs.forget("shop", "web"));
        assert!(inputs.all().is_empty());
    }

    #[test]
    fn a_change_while_a_certificate_is_reconciled_is_not_lost() {
        let inputs = Inputs::default();
        inputs.note("shop", "web", names(&["passwords"]));
        inputs.changed(&key("passwords"));
        let began = inputs.changes(&key("web"));
        inputs.changed(&key("passwords"));
        inputs.reconciled(&key("web"), began);
        assert_eq!(inputs.changes(&key("web")), 2);
        inputs.reconciled(&key("web"), 2);
        assert_eq!(inputs.changes(&key("web")), 0);
    }
}
