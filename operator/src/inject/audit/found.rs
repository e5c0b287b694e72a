//! The pods that lack the sidecar, by their namespaces.

use std::collections::BTreeMap;

use super::judge::Missed;
use super::suspects::Key;

/// The pods that lack the sidecar.
#[derive(Debug, Default)]
pub(super) struct Found(BTreeMap<String, BTreeMap<String, Missed>>);

impl Found {
    /// Notes what is known of a pod now; returns the one that is no longer missed, if it was.
    pub(super) fn note(&mut self, (namespace, name): &Key, now: Option<Missed>) -> Option<Missed> {
        let pods = self.0.entry(namespace.clone()).or_default();
        let before = pods.remove(name);
        let uid = now.as_ref().map(|now| now.uid.clone());
        if let Some(now) = now {
            pods.insert(name.clone(), now);
        }
        if pods.is_empty() {
            self.0.remove(namespace);
        }
        before.filter(|before| Some(&before.uid) != uid.as_ref())
    }

    /// The pods of a namespace.
    pub(super) fn of(&self, namespace: &str) -> impl Iterator<Item = &Missed> + Clone {
        self.0.get(namespace).into_iter().flat_map(BTreeMap::values)
    }

    /// How many of a namespace there are that are not about to go.
    pub(super) fn count(&self, namespace: &str) -> usize {
        self.of(namespace).filter(|missed| !missed.is_leaving).count()
    }

    /// The namespaces in which there are any.
    pub(super) fn namespaces(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// All of them.
    pub(super) fn keys(&self) -> Vec<Key> {
        let key = |(namespace, pods): (&String, &BTreeMap<String, Missed>)| {
            pods.keys().map(|name| (namespace.clone(), name.clone())).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(uid: &str, is_leaving: bool) -> Option<Missed> {
        let (name, uid) = ("web".to_owned(), uid.to_owned());
        Some(Missed { name, uid, owner: None, created: None, is_leaving })
    }

    #[test]
    fn a_pod_is_counted_until_it_goes_and_forgotten_once_it_is_gone() {
        let mut found = Found::default();
        let key = ("shop".to_owned(), "web".to_owned());
        assert_eq!(found.note(&key, missed("u-1", false)), None);
        assert_eq!((found.count("shop"), found.count("bank")), (1, 0));
        assert_eq!(found.note(&key, missed("u-1", true)), None);
        assert_eq!((found.count("shop"), found.of("shop").count()), (0, 1));
        assert_eq!(found.note(&key, missed("u-2", false)), missed("u-1", true), "of the same name");
        assert_eq!(found.keys(), std::slice::from_ref(&key));
        assert_eq!(found.note(&key, None), missed("u-2", false));
        assert_eq!(found.note(&key, None), None);
        assert!(found.namespaces().is_empty());
    }
}
