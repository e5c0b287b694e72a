//! Pods that slices name and that the watch of injected pods does not have. Each is asked for by name,
//! once, and only if a sidecar calls a Service that it is behind; namespaces take turns.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_contract::names;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::answer::Unknown;
use super::fair::{Bounds, FairQueue, Who};
use super::hub::Hub;
use crate::kept::MeshPod;

/// So many are remembered; when there are more, all are asked for again.
const MOST: usize = 100_000;

/// So many are asked for at once.
const AT_ONCE: usize = 8;

/// A slice names pods of its own namespace only, whose turn it is.
const BOUNDS: Bounds = Bounds { of_namespace: 64, of_account: 64, waiting: 10_000 };

/// A pod that is injected and that the watch does not have yet is asked for again after this long; the
/// watch will have told before. So is one that is gone, each time after twice as long.
const AGAIN: Duration = Duration::from_secs(5);

/// As often as that wait is doubled.
const DOUBLED: u8 = 5;

/// What the API server said of a pod at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is not injected, and has the address.
    Unmeshed,
    /// There is no such pod, or it does not have the address.
    Gone,
}

/// A pod, by its uid, and an address at which a slice names it.
type Met = (Box<str>, IpAddr);

/// Pods that were asked for.
#[derive(Debug)]
pub(super) struct PlainPods {
    inner: Mutex<Inner>,
    wanted: Notify,
}

#[derive(Debug)]
struct Inner {
    unmeshed: HashSet<Met>,
    gone: HashMap<Met, Gone>,
    queue: FairQueue<Unknown>,
    /// Those that are being asked for, or are not asked for again yet.
    asked: HashSet<Met>,
}

/// One that is gone.
#[derive(Clone, Copy, Debug)]
struct Gone {
    times: u8,
    /// Whether it is left out of answers; if not, it is asked for again.
    holds: bool,
}

/// What became of a pod that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Said(Verdict),
    /// It is injected, and the watch will have it; or the API server did not answer.
    Later,
}

impl Default for PlainPods {
    fn default() -> Self {
        let (unmeshed, gone, asked) = Default::default();
        let inner = Inner { unmeshed, gone, queue: FairQueue::new(BOUNDS), asked };
        Self { inner: Mutex::new(inner), wanted: Notify::new() }
    }
}

fn met(pod: &Unknown) -> Met {
    (pod.uid.clone(), pod.ip)
}

fn turn(pod: &Unknown) -> Who {
    Who { namespace: pod.key.0.as_str().into(), account: Box::default() }
}

impl PlainPods {
    /// What is known of a pod at an address.
    pub(super) fn knows(&self, uid: &str, ip: IpAddr) -> Option<Verdict> {
        let (inner, met) = (self.lock(), (uid.into(), ip));
        if inner.unmeshed.contains(&met) {
            return Some(Verdict::Unmeshed);
        }
        inner.gone.get(&met).filter(|gone| gone.holds).map(|_| Verdict::Gone)
    }

    /// Some pods must be asked for.
    pub(super) fn want(&self, pods: &[Unknown]) {
        if pods.is_empty() {
            return;
        }
        let mut inner = self.lock();
        for pod in pods {
            if !inner.asked.contains(&met(pod)) {
                inner.queue.push(&turn(pod), pod.clone());
            }
        }
        self.wanted.notify_one();
    }

    /// The next one that must be asked for.
    fn next(&self) -> Option<Unknown> {
        let mut inner = self.lock();
        let (_, pod) = inner.queue.pop()?;
        inner.asked.insert(met(&pod));
        Some(pod)
    }

    /// Notes what became of a pod; returns when it may be asked for again, if ever.
    fn note(&self, pod: &Unknown, asked: Asked) -> Option<Duration> {
        let mut inner = self.lock();
        inner.queue.done(&turn(pod));
        if inner.unmeshed.len() >= MOST {
            inner.unmeshed.clear();
        }
        match asked {
            Asked::Said(Verdict::Unmeshed) => {
                inner.gone.remove(&met(pod));
                inner.asked.remove(&met(pod));
                inner.unmeshed.insert(met(pod));
                None
            }
            Asked::Said(Verdict::Gone) => {
                let times = inner.gone.get(&met(pod)).map_or(0, |gone| gone.times);
                inner.gone.insert(met(pod), Gone { times: (times + 1).min(DOUBLED), holds: true });
                Some(AGAIN * 2_u32.pow(times.into()))
            }
            Asked::Later => Some(AGAIN),
        }
    }

    /// A pod may be asked for again, if it is still wanted.
    fn again(&self, pod: &Unknown, is_wanted: bool) {
        let mut inner = self.lock();
        inner.asked.remove(&met(pod));
        match inner.gone.get_mut(&met(pod)) {
            Some(gone) if is_wanted => gone.holds = false,
            Some(_) => {
                inner.gone.remove(&met(pod));
            }
            None => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for pods, for as long as it is polled.
pub(super) async fn ask(hub: Arc<Hub>, client: Client) {
    let mut asking = FuturesUnordered::new();
    loop {
        while asking.len() < AT_ONCE
            && let Some(pod) = hub.plain.next()
        {
            let client = client.clone();
            asking.push(async move {
                let asked = one(client, &pod).await;
                (pod, asked)
            });
        }
        tokio::select! {
            Some((pod, asked)) = asking.next(), if !asking.is_empty() => {
                let again = hub.plain.note(&pod, asked);
                if matches!(asked, Asked::Said(_)) {
                    hub.learned([pod.ip]);
                }
                if let Some(wait) = again {
                    drop(tokio::spawn(ask_again(hub.clone(), pod, wait)));
                }
            }
            () = hub.plain.wanted.notified() => {}
        }
    }
}

async fn ask_again(hub: Arc<Hub>, pod: Unknown, wait: Duration) {
    tokio::time::sleep(wait).await;
    hub.plain.again(&pod, hub.is_wanted(pod.ip));
    hub.learned([pod.ip]);
}

async fn one(client: Client, pod: &Unknown) -> Asked {
    let (namespace, name) = &pod.key;
    let api: Api<MeshPod> = Api::namespaced(client, namespace);
    match api.get_opt(name).await {
        Ok(found) => {
            let asked = judge(pod, found.as_ref());
            if asked == Asked::Said(Verdict::Gone) {
                debug!(namespace, name, ip = %pod.ip, "a slice names a pod that is gone");
            }
            asked
        }
        Err(error) => {
            let error = crate::story::story(&error);
            warn!(namespace, name, error, "asking whether a pod is injected");
            Asked::Later
        }
    }
}

/// What follows from what the API server has under the name of a pod; pure.
fn judge(pod: &Unknown, found: Option<&MeshPod>) -> Asked {
    let is_it =
        |found: &&MeshPod| found.uid().as_deref() == Some(&*pod.uid) && found.ips.contains(&pod.ip);
    let Some(found) = found.filter(is_it) else { return Asked::Said(Verdict::Gone) };
    let is_injected = found.labels().contains_key(names::INJECTED_LABEL);
    match is_injected {
        true if found.claims().is_empty() => Asked::Said(Verdict::Gone),
        true => Asked::Later,
        false => Asked::Said(Verdict::Unmeshed),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(uid: &str, ip: &str) -> Unknown {
        let key = ("shop".to_owned(), uid.to_owned());
        Unknown { key, uid: uid.into(), ip: ip.parse().unwrap() }
    }

    #[test]
    fn a_pod_is_judged_by_its_uid_its_address_and_its_label() {
        let found = |uid: &str, ip: &str, label: &str, spec: Value| -> MeshPod {
            serde_json::from_value(json!({ "metadata": { "uid": uid, "labels": { label: "true" } },
                "spec": spec, "status": { "podIPs": [{ "ip": ip }] } }))
            .unwrap()
        };
        let (meshed, host) = (names::INJECTED_LABEL, json!({ "hostNetwork": true }));
        let cases = [
            (Some(found("a", "10.0.0.1", "app", json!({}))), Asked::Said(Verdict::Unmeshed)),
            (Some(found("a", "10.0.0.1", "app", host.clone())), Asked::Said(Verdict::Unmeshed)),
            (Some(found("a", "10.0.0.1", meshed, json!({}))), Asked::Later),
            (Some(found("a", "10.0.0.1", meshed, host)), Asked::Said(Verdict::Gone)),
            (Some(found("a", "10.0.0.2", "app", json!({}))), Asked::Said(Verdict::Gone)),
            (Some(found("a", "10.0.0.2", meshed, json!({}))), Asked::Said(Verdict::Gone)),
            (Some(found("b", "10.0.0.1", "app", json!({}))), Asked::Said(Verdict::Gone)),
            (None, Asked::Said(Verdict::Gone)),
        ];
        for (found, expected) in cases {
            assert_eq!(judge(&pod("a", "10.0.0.1"), found.as_ref()), expected, "{found:?}");
        }
    }

    #[test]
    fn a_pod_is_asked_for_once_at_each_address_and_then_known() {
        let (plain, one) = (PlainPods::default(), pod("a", "10.0.0.1"));
        plain.want(&[one.clone(), pod("b", "10.0.0.2")]);
        plain.want(std::slice::from_ref(&one));
        assert_eq!(
            [plain.next(), plain.next(), plain.next()],
            [Some(one.clone()), Some(pod("b", "10.0.0.2")), None]
        );
        plain.want(std::slice::from_ref(&one));
        assert_eq!(plain.next(), None, "it is being asked for");
        assert_eq!(plain.note(&one, Asked::Said(Verdict::Unmeshed)), None);
        assert_eq!(plain.knows("a", one.ip), Some(Verdict::Unmeshed));
        assert_eq!(
            plain.knows("a", [10, 0, 0, 9].into()),
            None,
            "of another address nothing is known"
        );
    }

    #[test]
    fn a_pod_that_is_gone_is_left_out_and_asked_for_less_and_less_often() {
        let (plain, one) = (PlainPods::default(), pod("a", "10.0.0.1"));
        for factor in [1, 2, 4, 8, 16, 32, 32] {
            plain.want(std::slice::from_ref(&one));
            assert_eq!(plain.next().as_ref(), Some(&one));
            assert_eq!(plain.note(&one, Asked::Said(Verdict::Gone)), Some(AGAIN * factor));
            assert_eq!(plain.knows("a", one.ip), Some(Verdict::Gone));
            plain.again(&one, true);
            assert_eq!(plain.knows("a", one.ip), None);
        }
        plain.want(std::slice::from_ref(&one));
        plain.next();
        plain.note(&one, Asked::Said(Verdict::Gone));
        plain.again(&one, false);
        let inner = plain.lock();
        assert!(inner.gone.is_empty() && inner.asked.is_empty() && inner.queue.is_empty());
    }
}
