//! The private keys of requests that are under way. A quick answer finds its key here, and it is
//! never written anywhere before its certificate; one that takes longer is kept in a Secret, so that
//! a restart does not lose what somebody approved.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::pki::PrivateKey;

/// Keys by namespace and name of their request. Nothing of them can be printed.
#[derive(Debug, Default)]
pub struct PendingKeys(Mutex<HashMap<(String, String), PendingKey>>);

/// The key of a request.
#[derive(Clone, Debug)]
pub struct PendingKey {
    /// The key.
    pub key: Arc<PrivateKey>,
    /// Whether it is in a Secret, too.
    pub is_kept: bool,
}

impl PendingKeys {
    /// Remembers the key of a request, which is about to be made; returns that of one before it.
    pub fn keep(&self, namespace: &str, request: &str, key: Arc<PrivateKey>) -> Option<PendingKey> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = PendingKey { key, is_kept: false };
        keys.insert((namespace.to_owned(), request.to_owned()), pending)
    }

    /// The request was not made: it is there already, perhaps, and not seen yet, and the key of before
    /// is its.
    pub fn put_back(&self, namespace: &str, request: &str, before: Option<PendingKey>) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (namespace.to_owned(), request.to_owned());
        match before {
            Some(before) => keys.insert(name, before),
            None => keys.remove(&name),
        };
    }

    /// The key of a request is in a Secret now.
    pub fn is_kept(&self, namespace: &str, request: &str) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pending) = keys.get_mut(&(namespace.to_owned(), request.to_owned())) {
            pending.is_kept = true;
        }
    }

    /// The key of a request.
    #[must_use]
    pub fn of(&self, namespace: &str, request: &str) -> Option<PendingKey> {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(&(namespace.to_owned(), request.to_owned())).cloned()
    }

    /// Forgets the key of a request that is over.
    pub fn forget(&self, namespace: &str, request: &str) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(&(namespace.to_owned(), request.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{KeyAlgorithm, generate_key};

    #[test]
    fn a_request_that_is_there_already_keeps_its_key() {
        let keys = PendingKeys::default();
        let key = || Arc::new(generate_key(KeyAlgorithm::EcdsaP256).unwrap());
        let (first, second) = (key(), key());
        assert!(keys.keep("shop", "web-1", first.clone()).is_none());
        // The watch is late: it is asked for again, which the API server refuses.
        let before = keys.keep("shop", "web-1", second);
        keys.put_back("shop", "web-1", before);
        assert!(Arc::ptr_eq(&keys.of("shop", "web-1").unwrap().key, &first));
        keys.put_back("shop", "web-1", None);
        assert!(keys.of("shop", "web-1").is_none());
    }
}
