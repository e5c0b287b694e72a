//! The private keys of requests that are under way. A quick answer finds its key here, and it is
//! never written anywhere before its certificate; one that takes longer is kept in a Secret, so that
//! a restart does not lose what somebody approved.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_crds::CertificateRequest;
use kube::ResourceExt;

use crate::pki::{PrivateKey, parse_csr};

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

    /// Forgets the key of a request that is gone, unless another of the same name was made since.
    pub fn gone(&self, request: &CertificateRequest) {
        let namespace = request.namespace().unwrap_or_default();
        let Some(pending) = self.of(&namespace, &request.name_any()) else { return };
        let asked = parse_csr(&request.spec.request.0);
        if asked.is_ok_and(|asked| asked.public_key_spki == pending.key.public_key_spki()) {
            self.forget(&namespace, &request.name_any());
        }
    }

    /// Forgets the key of a request that is over.
    pub fn forget(&self, namespace: &str, request: &str) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(&(namespace.to_owned(), request.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pki::{CsrOptions, KeyAlgorithm, Request, generate_key, make_csr_with};

    #[test]
    fn key_of_a_request_that_is_gone_is_forgotten() {
        let keys = PendingKeys::default();
        let key = || Arc::new(generate_key(KeyAlgorithm::EcdsaP256).unwrap());
        let (old, new) = (key(), key());
        let names = Request { common_name: Some("web".to_owned()), ..Request::default() };
        let csr = make_csr_with(&names, &old, &CsrOptions::default()).unwrap();
        let request = json!({
            "apiVersion": "countersign.dev/v1", "kind": "CertificateRequest",
            "metadata": { "namespace": "shop", "name": "web-1" },
            "spec": { "request": k8s_openapi::ByteString(csr.into_bytes()), "issuerRef": { "name": "ca" } },
        });
        let request: CertificateRequest = serde_json::from_value(request).unwrap();
        keys.gone(&request);
        keys.keep("shop", "web-1", old);
        keys.gone(&request);
        assert!(keys.of("shop", "web-1").is_none());
        // The watch tells late: a request of the same name was made since.
        keys.keep("shop", "web-1", new);
        keys.gone(&request);
        assert!(keys.of("shop", "web-1").is_some());
    }

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
