//! Which Certificates name which Secret, so that nobody need look through all of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock};

use tokio::sync::broadcast;

/// A namespace, and a name in it.
type Key = (String, String);

/// So many changes are kept for a listener that is slow; one that misses some is told so.
const MOST_CHANGES: usize = 2048;

/// Which Certificates name which Secret.
#[derive(Debug)]
pub struct Claims(RwLock<Inner>, broadcast::Sender<Key>);

impl Default for Claims {
    fn default() -> Self {
        Self(RwLock::default(), broadcast::Sender::new(MOST_CHANGES))
    }
}

#[derive(Debug, Default)]
struct Inner {
    certificates: HashMap<Key, BTreeSet<String>>,
    secret_of: HashMap<Key, String>,
}

impl Claims {
    /// Every Certificate that comes, goes, or names another Secret from now on.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Key> {
        self.1.subscribe()
    }

    /// A Certificate names a Secret; returns the one that it named before, if that was another.
    pub fn note(&self, namespace: &str, certificate: &str, secret: &str) -> Option<String> {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), certificate.to_owned());
        let before = inner.secret_of.insert(key.clone(), secret.to_owned());
        if before.as_deref() != Some(secret) {
            // An error means that nothing listens.
            let _ = self.1.send(key);
        }
        let before = before.filter(|before| before != secret);
        if let Some(before) = &before {
            inner.withdraw(namespace, certificate, before);
        }
        let claimed = (namespace.to_owned(), secret.to_owned());
        inner.certificates.entry(claimed).or_default().insert(certificate.to_owned());
        before
    }

    /// A Certificate is gone; returns the Secret that it named.
    pub fn forget(&self, namespace: &str, certificate: &str) -> Option<String> {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), certificate.to_owned());
        let secret = inner.secret_of.remove(&key)?;
        inner.withdraw(namespace, certificate, &secret);
        let _ = self.1.send(key);
        Some(secret)
    }

    /// The Certificates that name a Secret, by their names.
    #[must_use]
    pub fn of(&self, namespace: &str, secret: &str) -> Vec<String> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = inner.certificates.get(&(namespace.to_owned(), secret.to_owned()));
        found.into_iter().flatten().cloned().collect()
    }
}

impl Inner {
    fn withdraw(&mut self, namespace: &str, certificate: &str, secret: &str) {
        let key = (namespace.to_owned(), secret.to_owned());
        if let Some(names) = self.certificates.get_mut(&key) {
            names.remove(certificate);
            if names.is_empty() {
                self.certificates.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_knows_who_names_it() {
        let claims = Claims::default();
        assert_eq!(claims.note("shop", "web", "tls"), None);
        assert_eq!(claims.note("shop", "api", "tls"), None);
        assert_eq!(claims.note("bank", "web", "tls"), None);
        assert_eq!(claims.of("shop", "tls"), ["api", "web"]);
        assert_eq!(claims.note("shop", "web", "tls"), None, "the same again");
        assert_eq!(claims.note("shop", "web", "other").as_deref(), Some("tls"));
        assert_eq!(
            (claims.of("shop", "tls"), claims.of("shop", "other")),
            (vec!["api".to_owned()], vec!["web".to_owned()],)
        );
        assert_eq!(claims.forget("shop", "api").as_deref(), Some("tls"));
        assert_eq!(claims.forget("shop", "api"), None);
        assert!(claims.of("shop", "tls").is_empty());
        assert_eq!(claims.of("bank", "tls"), ["web"]);
    }
}
