//! Makes RSA keys, which take up to minutes of a core: two at a time, apart from the reconcilers, and
//! in turn for each namespace, so that nothing waits behind the keys of one tenant but that tenant.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_crds::Certificate;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::warn;

use crate::pki::{KeyAlgorithm, PrivateKey, generate_key};

/// So many keys are made at the same time.
const AT_ONCE: usize = 2;

/// RSA keys to be made, and those that were made and not used yet.
#[derive(Debug, Default)]
pub struct KeyMaker {
    inner: Mutex<Inner>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Turns,
    /// What is made for each Certificate, by its uid, be it waiting or under way.
    wanted: HashMap<String, KeyAlgorithm>,
    made: HashMap<String, Arc<PrivateKey>>,
}

/// A key to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    uid: String,
    certificate: ObjectRef<Certificate>,
    algorithm: KeyAlgorithm,
}

/// A key that is not made yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotYet {
    /// How many keys wait to be made, this one included.
    pub waiting: usize,
}

impl KeyMaker {
    /// The key for a Certificate, if it is made; it is asked for otherwise.
    ///
    /// # Errors
    /// When it is not made yet. The Certificate is reconciled again once it is.
    pub fn take(
        &self,
        certificate: &Certificate,
        algorithm: KeyAlgorithm,
    ) -> Result<Arc<PrivateKey>, NotYet> {
        let uid = certificate.uid().unwrap_or_default();
        let mut inner = self.lock();
        match inner.made.remove(&uid) {
            Some(key) if key.algorithm() == algorithm => return Ok(key),
            _ => {}
        }
        if inner.wanted.get(&uid) != Some(&algorithm) {
            inner.wanted.insert(uid.clone(), algorithm);
            inner.waiting.put(Job {
                uid,
                certificate: ObjectRef::from_obj(certificate),
                algorithm,
            });
            self.came.notify_one();
        }
        Err(NotYet { waiting: inner.wanted.len() })
    }

    /// A Certificate needs no key, or is gone.
    pub fn forget(&self, uid: &str) {
        let mut inner = self.lock();
        inner.wanted.remove(uid);
        inner.made.remove(uid);
    }

    /// Makes keys for as long as it is polled; `made` is called with each Certificate that can go on.
    pub async fn run(&self, made: impl Fn(ObjectRef<Certificate>)) {
        let mut making = JoinSet::new();
        loop {
            while making.len() < AT_ONCE {
                let Some(job) = self.lock().next() else { break };
                making.spawn_blocking(move || {
                    let key = generate_key(job.algorithm);
                    (job, key)
                });
            }
            tokio::select! {
                Some(Ok((job, key))) = making.join_next() => {
                    if self.done(&job, key.map(Arc::new)) {
                        made(job.certificate);
                    }
                }
                () = self.came.notified() => {}
            }
        }
    }

    /// Keeps a key until it is used; false where nothing wants it any more.
    fn done(&self, job: &Job, key: Result<Arc<PrivateKey>, crate::pki::KeyError>) -> bool {
        let mut inner = self.lock();
        if inner.wanted.get(&job.uid) != Some(&job.algorithm) {
            return false;
        }
        inner.wanted.remove(&job.uid);
        match key {
            Ok(key) => drop(inner.made.insert(job.uid.clone(), key)),
            Err(error) => warn!(certificate = %job.certificate, %error, "private key not made"),
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The next key to make; what is not wanted any more is passed over.
    fn next(&mut self) -> Option<Job> {
        loop {
            let job = self.waiting.take()?;
            if self.wanted.get(&job.uid) == Some(&job.algorithm) {
                return Some(job);
            }
        }
    }
}

/// Jobs by namespace. Namespaces take turns; within one, the first comes first.
#[derive(Debug, Default)]
struct Turns {
    jobs: BTreeMap<String, VecDeque<Job>>,
    order: VecDeque<String>,
}

impl Turns {
    fn put(&mut self, job: Job) {
        let namespace = job.certificate.namespace.clone().unwrap_or_default();
        let jobs = self.jobs.entry(namespace.clone()).or_default();
        if jobs.is_empty() {
            self.order.push_back(namespace);
        }
        jobs.push_back(job);
    }

    fn take(&mut self) -> Option<Job> {
        let namespace = self.order.pop_front()?;
        let jobs = self.jobs.get_mut(&namespace)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.jobs.remove(&namespace);
        } else {
            self.order.push_back(namespace);
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::support::certificate;

    const RSA: KeyAlgorithm = KeyAlgorithm::Rsa { bits: 2048 };

    fn in_namespace(namespace: &str, name: &str) -> Certificate {
        let mut certificate = certificate(name);
        certificate.metadata.namespace = Some(namespace.to_owned());
        certificate.metadata.uid = Some(format!("{namespace}-{name}"));
        certificate
    }

    fn order(maker: &KeyMaker) -> Vec<String> {
        std::iter::from_fn(|| maker.lock().next()).map(|job| job.uid).collect()
    }

    #[test]
    fn namespaces_take_turns() {
        let maker = KeyMaker::default();
        for (namespace, name) in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("c", "1")] {
            assert!(maker.take(&in_namespace(namespace, name), RSA).is_err());
        }
        assert_eq!(order(&maker), ["a-1", "b-1", "c-1", "a-2", "a-3"]);
    }

    #[test]
    fn a_key_that_is_asked_for_again_is_made_once_and_not_for_what_is_gone() {
        let maker = KeyMaker::default();
        let (web, api) = (in_namespace("a", "web"), in_namespace("a", "api"));
        for _ in 0..2 {
            assert_eq!(maker.take(&web, RSA).unwrap_err().waiting, 1);
        }
        assert_eq!(maker.take(&api, RSA).unwrap_err().waiting, 2);
        maker.forget("a-api");
        assert_eq!(order(&maker), ["a-web"]);
    }

    #[tokio::test]
    async fn a_key_is_taken_once_and_only_if_it_is_of_the_algorithm_that_is_asked_for() {
        let (maker, web) = (Arc::new(KeyMaker::default()), in_namespace("a", "web"));
        assert!(maker.take(&web, RSA).is_err());
        let (made, mut was_made) = tokio::sync::mpsc::unbounded_channel();
        let runner = maker.clone();
        let running = tokio::spawn(async move {
            runner.run(|certificate| made.send(certificate).unwrap()).await;
        });
        assert_eq!(was_made.recv().await.unwrap().name, "web");
        let larger = KeyAlgorithm::Rsa { bits: 3072 };
        assert!(maker.take(&web, larger).is_err());
        was_made.recv().await.unwrap();
        assert_eq!(maker.take(&web, larger).unwrap().algorithm(), larger);
        assert!(maker.take(&web, larger).is_err());
        running.abort();
    }
}
