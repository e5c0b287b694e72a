//! Addresses that are set aside for pods, and that no injected pod has of which the watch has told: a
//! pod outside of the mesh, one that was not seen yet, or nobody. The API server is asked, once, and
//! only about those that a sidecar calls; the identities of sidecars take turns.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_contract::names;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;
use tracing::warn;

use super::fair::{Bounds, FairQueue, Who};
use super::hub::Hub;

/// So many are remembered; when there are more, all are asked about again.
const MOST: usize = 100_000;

/// So many are asked about at once.
const AT_ONCE: usize = 4;

/// So many of one identity, and of one namespace, are asked about or will be again. What waits is bounded
/// by what a stream may follow.
const BOUNDS: Bounds = Bounds { of_namespace: 64, of_account: 32, waiting: 10_000 };

/// Pods that have one address at once and have not ended: more would be a mistake of the network's.
const PODS: u32 = 16;

/// An address that no pod has may be one of a pod that the kubelet has not told of yet: programs tell
/// each other their own addresses. It is asked about so often.
const TIMES: u8 = 3;

/// This long after the time before.
const AGAIN: Duration = Duration::from_secs(1);

/// Where the watch is late, or the API server did not answer.
const LATER: Duration = Duration::from_secs(5);

/// What is known of such addresses.
#[derive(Debug)]
pub(super) struct Strangers {
    inner: Mutex<Inner>,
    wanted: Notify,
}

#[derive(Debug)]
struct Inner {
    outside: HashSet<IpAddr>,
    queue: FairQueue<IpAddr>,
    /// Those that are being asked about: for whom, and how often nobody had them.
    asked: HashMap<IpAddr, Asked>,
}

#[derive(Debug)]
struct Asked {
    by: Who,
    times: u8,
}

/// Who has an address, as the API server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// A pod that is not injected, and no other.
    Plain,
    /// A pod that is injected and that the watch does not have yet: it will tell.
    Injected,
    Nobody,
    /// It did not say.
    Failed,
}

/// What follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Known,
    AskIn(Duration),
}

impl Default for Strangers {
    fn default() -> Self {
        let (outside, asked) = Default::default();
        let inner = Inner { outside, queue: FairQueue::new(BOUNDS), asked };
        Self { inner: Mutex::new(inner), wanted: Notify::new() }
    }
}

impl Strangers {
    /// Whether an address is known to be of nobody in the mesh.
    pub(super) fn knows(&self, ip: IpAddr) -> bool {
        self.lock().outside.contains(&ip)
    }

    /// An address must be asked about, for somebody's sake.
    pub(super) fn want(&self, by: &Who, ip: IpAddr) {
        let mut inner = self.lock();
        if !inner.asked.contains_key(&ip) && inner.queue.push(by, ip) {
            self.wanted.notify_one();
        }
    }

    /// An injected pod has them, or had: what was known of whom they were before counts no longer.
    pub(super) fn forget(&self, ips: impl IntoIterator<Item = IpAddr>) {
        let mut inner = self.lock();
        for ip in ips {
            inner.outside.remove(&ip);
        }
    }

    /// The next address that must be asked about, of which something holds; of others nobody wants to
    /// know any longer.
    fn next(&self, is_wanted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        loop {
            // The lock is not held while it is looked whether it is wanted.
            let (by, ip) = self.lock().queue.pop()?;
            let is_wanted = is_wanted(ip);
            let mut inner = self.lock();
            if is_wanted && !inner.outside.contains(&ip) && !inner.asked.contains_key(&ip) {
                inner.asked.insert(ip, Asked { by, times: 0 });
                return Some(ip);
            }
            inner.queue.done(&by);
        }
    }

    /// Nobody wants to know any longer.
    fn abandon(&self, ip: IpAddr) {
        let mut inner = self.lock();
        if let Some(asked) = inner.asked.remove(&ip) {
            inner.queue.done(&asked.by);
            self.wanted.notify_one();
        }
    }

    /// Notes what was seen.
    fn note(&self, ip: IpAddr, seen: Seen) -> Next {
        let mut inner = self.lock();
        let times = inner.asked.get(&ip).map_or(0, |asked| asked.times);
        let next = next(seen, times);
        match (next, inner.asked.get_mut(&ip)) {
            (Next::AskIn(_), Some(asked)) if seen == Seen::Nobody => asked.times += 1,
            (Next::AskIn(_), _) => {}
            (Next::Known, _) => {
                if inner.outside.len() >= MOST {
                    inner.outside.clear();
                }
                inner.outside.insert(ip);
                if let Some(asked) = inner.asked.remove(&ip) {
                    inner.queue.done(&asked.by);
                    self.wanted.notify_one();
                }
            }
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What follows from what was seen, after so many times that nobody had it; pure.
fn next(seen: Seen, times: u8) -> Next {
    match seen {
        Seen::Plain => Next::Known,
        Seen::Nobody if times + 1 >= TIMES => Next::Known,
        Seen::Nobody => Next::AskIn(AGAIN),
        Seen::Injected | Seen::Failed => Next::AskIn(LATER),
    }
}

/// Asks about addresses, for as long as it is polled.
pub(super) async fn ask(hub: Arc<Hub>, client: Client) {
    let mut asking = FuturesUnordered::new();
    let (again, mut due) = tokio::sync::mpsc::unbounded_channel();
    loop {
        while asking.len() < AT_ONCE
            && let Some(ip) = next_of(&hub, &mut due)
        {
            let (client, hub) = (client.clone(), hub.clone());
            asking.push(async move { (ip, who_has(client, &hub, ip).await) });
        }
        tokio::select! {
            Some((ip, seen)) = asking.next(), if !asking.is_empty() => {
                match hub.strangers.note(ip, seen) {
                    Next::Known => hub.learned([ip]),
                    Next::AskIn(wait) => {
                        let (hub, again) = (hub.clone(), again.clone());
                        drop(tokio::spawn(async move {
                            tokio::time::sleep(wait).await;
                            // An error means that nobody asks any more: the operator ends.
                            let _ = again.send(ip);
                            hub.strangers.wanted.notify_one();
                        }));
                    }
                }
            }
            () = hub.strangers.wanted.notified() => {}
        }
    }
}

/// First those that are asked about again; an address of which the watch has told by now is not.
fn next_of(hub: &Hub, due: &mut tokio::sync::mpsc::UnboundedReceiver<IpAddr>) -> Option<IpAddr> {
    while let Ok(ip) = due.try_recv() {
        if hub.is_wanted(ip) && !hub.is_claimed(ip) {
            return Some(ip);
        }
        hub.strangers.abandon(ip);
    }
    hub.strangers.next(|ip| hub.is_wanted(ip))
}

async fn who_has(client: Client, hub: &Hub, ip: IpAddr) -> Seen {
    let api: Api<Pod> = Api::all(client);
    // One that has ended keeps its address in its status, where it may be another's by now; one with its
    // node's network has none of its own.
    let fields = format!(
        "status.podIP={ip},status.phase!=Succeeded,status.phase!=Failed,spec.hostNetwork=false"
    );
    match api.list_metadata(&ListParams::default().fields(&fields).limit(PODS)).await {
        Ok(pods) => seen(&pods.items, |pod| hub.has_seen(pod, ip)),
        Err(error) => {
            warn!(%ip, error = crate::story::story(&error), "asking who has an address");
            Seen::Failed
        }
    }
}

/// Who has an address, of pods that claim it. An injected one that the watch has with this address and
/// that is not believed to have it, is not waited for.
fn seen(
    pods: &[PartialObjectMeta<Pod>],
    is_seen: impl Fn(&PartialObjectMeta<Pod>) -> bool,
) -> Seen {
    let is_injected =
        |pod: &&PartialObjectMeta<Pod>| pod.labels().contains_key(names::INJECTED_LABEL);
    let (injected, plain): (Vec<_>, Vec<_>) = pods.iter().partition(is_injected);
    if injected.into_iter().any(|pod| !is_seen(pod)) {
        Seen::Injected
    } else if plain.is_empty() {
        Seen::Nobody
    } else {
        Seen::Plain
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn who(namespace: &str) -> Who {
        Who { namespace: namespace.into(), account: "web".into() }
    }

    fn ip(low: u8) -> IpAddr {
        [10, 244, 0, low].into()
    }

    #[test]
    fn an_address_is_outside_once_a_plain_pod_has_it_or_nobody_for_a_while() {
        use Seen::{Failed, Injected, Nobody, Plain};
        let cases = [
            (Plain, 0, Next::Known),
            (Nobody, 0, Next::AskIn(AGAIN)),
            (Nobody, 1, Next::AskIn(AGAIN)),
            (Nobody, 2, Next::Known),
            (Injected, 2, Next::AskIn(LATER)),
            (Failed, 2, Next::AskIn(LATER)),
        ];
        for (seen, times, expected) in cases {
            assert_eq!(next(seen, times), expected, "{seen:?} after {times}");
        }
    }

    #[test]
    fn an_injected_pod_is_waited_for_until_the_watch_has_it() {
        let pod = |label: &str, name: &str| -> PartialObjectMeta<Pod> {
            let metadata = json!({ "name": name, "labels": { label: "true" } });
            serde_json::from_value(json!({ "metadata": metadata })).unwrap()
        };
        let [plain, meshed, liar] = [
            pod("app", "plain"),
            pod(names::INJECTED_LABEL, "meshed"),
            pod(names::INJECTED_LABEL, "liar"),
        ];
        let cases = [
            (vec![], Seen::Nobody),
            (vec![plain.clone()], Seen::Plain),
            (vec![plain.clone(), meshed.clone()], Seen::Injected),
            // The watch has it, and its claim is not believed.
            (vec![liar.clone()], Seen::Nobody),
            (vec![liar.clone(), plain], Seen::Plain),
            (vec![liar, meshed], Seen::Injected),
        ];
        for (pods, expected) in cases {
            let names: Vec<_> = pods.iter().map(ResourceExt::name_any).collect();
            assert_eq!(seen(&pods, |pod| pod.name_any() == "liar"), expected, "{names:?}");
        }
    }

    #[test]
    fn an_address_is_asked_about_once_and_forgotten_with_whom_it_is_given_to() {
        let (strangers, ip) = (Strangers::default(), ip(7));
        strangers.want(&who("shop"), ip);
        strangers.want(&who("shop"), ip);
        strangers.want(&who("desk"), ip);
        let next = || strangers.next(|_| true);
        assert_eq!([next(), next()], [Some(ip), None], "one of them asks for both");
        for expected in [Next::AskIn(AGAIN), Next::AskIn(AGAIN), Next::Known] {
            assert!(!strangers.knows(ip));
            assert_eq!(strangers.note(ip, Seen::Nobody), expected);
        }
        assert!(strangers.knows(ip) && strangers.lock().queue.is_empty());
        strangers.forget([ip]);
        assert!(!strangers.knows(ip));
        strangers.want(&who("shop"), ip);
        assert_eq!(next(), Some(ip));
        strangers.abandon(ip);
        assert!(strangers.lock().queue.is_empty() && strangers.lock().asked.is_empty());
    }

    #[test]
    fn a_flood_of_one_namespace_delays_no_other_and_what_nobody_follows_is_not_asked() {
        let strangers = Strangers::default();
        (0..200).for_each(|low| strangers.want(&who("evil"), ip(low)));
        strangers.want(&who("shop"), ip(250));
        let first: Vec<_> = (0..2).filter_map(|_| strangers.next(|_| true)).collect();
        assert!(first.contains(&ip(250)), "{first:?}");
        while strangers.next(|_| true).is_some() {}
        assert_eq!(strangers.lock().asked.len(), BOUNDS.of_account + 1);
        // They forgot what they followed.
        strangers.abandon(ip(0));
        assert_eq!(strangers.next(|_| false), None);
        assert_eq!(strangers.lock().asked.len(), BOUNDS.of_account);
    }
}
