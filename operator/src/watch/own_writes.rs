//! What we wrote ourselves a moment ago, until the watch has caught up: who decides upon what was
//! there before would do everything twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use super::versions::is_later;

/// Objects of a kind as the API server last gave them back to us.
#[derive(Debug)]
pub struct OwnWrites<K: Resource<DynamicType = ()>>(Mutex<HashMap<ObjectRef<K>, Arc<K>>>);

impl<K: Resource<DynamicType = ()>> Default for OwnWrites<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Resource<DynamicType = ()>> OwnWrites<K> {
    /// Remembers what the API server answered to a write.
    pub fn note(&self, mut object: K) {
        object.managed_fields_mut().clear();
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(ObjectRef::from_obj(&object), Arc::new(object));
    }

    /// The later one of what the watch says and what we wrote.
    #[must_use]
    pub fn newest(&self, watched: Arc<K>) -> Arc<K> {
        let key = ObjectRef::from_obj(&*watched);
        let version = |object: &K| object.resource_version().unwrap_or_default();
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get(&key) {
            Some(ours)
                if ours.uid() == watched.uid() && is_later(&version(ours), &version(&watched)) =>
            {
                ours.clone()
            }
            Some(_) => {
                written.remove(&key);
                watched
            }
            None => watched,
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, object: &K) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.remove(&ObjectRef::from_obj(object));
    }
}

#[cfg(test)]
mod tests {
    use countersign_crds::Certificate;

    use super::*;

    fn at(version: &str, uid: &str) -> Certificate {
        let mut certificate = Certificate::new("web", Default::default());
        certificate.metadata.namespace = Some("shop".to_owned());
        certificate.metadata.uid = Some(uid.to_owned());
        certificate.metadata.resource_version = Some(version.to_owned());
        certificate
    }

    #[test]
    fn our_own_write_counts_until_the_watch_has_it() {
        let cases = [("10", "a", "11"), ("11", "a", "11"), ("12", "a", "12"), ("9", "b", "9")];
        for (watched, uid, expected) in cases {
            let writes = OwnWrites::default();
            writes.note(at("11", "a"));
            let newest = writes.newest(Arc::new(at(watched, uid)));
            assert_eq!(newest.resource_version().as_deref(), Some(expected), "{watched}");
        }
    }
}
