//! Pods that are known not to be injected. The watch has injected pods only, so that one that it does
//! not have is asked for by name, once, and only if somebody calls a Service that it is behind.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_contract::names;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::answer::Unknown;
use super::hub::Hub;

/// So many are remembered; when there are more, all are asked for again.
const MOST: usize = 100_000;

/// So many are asked for at once.
const AT_ONCE: usize = 8;

/// A pod that is injected and that the watch does not have yet, or whose slice is late, is asked for
/// again after this long; the watch will have told before.
const AGAIN: Duration = Duration::from_secs(5);

/// Pods that are known not to be injected, by their uids.
#[derive(Debug, Default)]
pub(super) struct PlainPods {
    inner: Mutex<Inner>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashSet<String>,
    wanted: Vec<Unknown>,
    /// Those that were asked for, and are not asked for again yet, with the addresses at which they
    /// were met.
    asked: HashMap<String, HashSet<IpAddr>>,
}

/// What became of a pod that was asked for.
enum Asked {
    /// It is not injected.
    Plain(String),
    /// The watch will have it, or it is gone and its slice will be.
    Later(String),
}

impl PlainPods {
    /// Whether a pod is known not to be injected.
    pub(super) fn knows(&self, uid: &str) -> bool {
        self.lock().known.contains(uid)
    }

    /// Some pods must be asked for.
    pub(super) fn want(&self, pods: &[Unknown]) {
        if pods.is_empty() {
            return;
        }
        let mut inner = self.lock();
        let Inner { wanted, asked, .. } = &mut *inner;
        for pod in pods {
            let met = asked.entry(pod.uid.clone()).or_default();
            if met.is_empty() {
                wanted.push(pod.clone());
            }
            met.insert(pod.ip);
        }
        self.wanted.notify_one();
    }

    /// Those that must be; waits while there are none.
    pub(super) async fn wanted(&self) -> Vec<Unknown> {
        loop {
            let wanted = std::mem::take(&mut self.lock().wanted);
            if !wanted.is_empty() {
                return wanted;
            }
            self.wanted.notified().await;
        }
    }

    /// Notes what became of a pod; returns the addresses at which it was met.
    fn note(&self, asked: &Asked) -> HashSet<IpAddr> {
        let mut inner = self.lock();
        if inner.known.len() >= MOST {
            inner.known.clear();
        }
        match asked {
            Asked::Plain(uid) => {
                inner.known.insert(uid.clone());
                inner.asked.remove(uid).unwrap_or_default()
            }
            Asked::Later(uid) => inner.asked.remove(uid).unwrap_or_default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for pods, for as long as it is polled.
pub(super) async fn ask(hub: Arc<Hub>, client: Client) {
    loop {
        let unknown = hub.unknown().await;
        let asking = unknown.into_iter().map(|pod| one(client.clone(), pod));
        let mut asked = futures::stream::iter(asking).buffer_unordered(AT_ONCE);
        while let Some(asked) = asked.next().await {
            match asked {
                Asked::Plain(_) => hub.learned(hub.plain.note(&asked)),
                Asked::Later(_) => {
                    let hub = hub.clone();
                    drop(tokio::spawn(async move {
                        tokio::time::sleep(AGAIN).await;
                        hub.learned(hub.plain.note(&asked));
                    }));
                }
            }
        }
    }
}

async fn one(client: Client, pod: Unknown) -> Asked {
    let (namespace, name) = &pod.key;
    let api: Api<PartialObjectMeta<Pod>> = Api::namespaced(client, namespace);
    match api.get_opt(name).await {
        Ok(Some(found)) if found.metadata.uid.as_ref() == Some(&pod.uid) => {
            let is_injected = found.labels().contains_key(names::INJECTED_LABEL);
            if is_injected { Asked::Later(pod.uid) } else { Asked::Plain(pod.uid) }
        }
        Ok(_) => {
            debug!(namespace, name, "a slice names a pod that is gone");
            Asked::Later(pod.uid)
        }
        Err(error) => {
            warn!(
                namespace,
                name,
                error = crate::story::story(&error),
                "asking whether a pod is injected"
            );
            Asked::Later(pod.uid)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, ip: &str) -> Unknown {
        let key = ("shop".to_owned(), uid.to_owned());
        Unknown { key, uid: uid.to_owned(), ip: ip.parse().unwrap() }
    }

    #[test]
    fn a_pod_is_asked_for_once_and_then_known_at_every_address_at_which_it_was_met() {
        let plain = PlainPods::default();
        plain.want(&[pod("a", "10.0.0.1"), pod("b", "10.0.0.2")]);
        plain.want(&[pod("a", "fd00::1")]);
        let wanted = std::mem::take(&mut plain.lock().wanted);
        assert_eq!(wanted, [pod("a", "10.0.0.1"), pod("b", "10.0.0.2")]);
        let met = plain.note(&Asked::Plain("a".to_owned()));
        let both = ["10.0.0.1", "fd00::1"].map(|ip| ip.parse().unwrap());
        assert_eq!(met, HashSet::from(both));
        assert!(plain.knows("a") && !plain.knows("b"));
        // What is not known yet may be asked for again.
        assert_eq!(plain.note(&Asked::Later("b".to_owned())).len(), 1);
        plain.want(&[pod("b", "10.0.0.2")]);
        assert_eq!(plain.lock().wanted.len(), 1);
    }
}
