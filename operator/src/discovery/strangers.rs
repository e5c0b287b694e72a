//! Addresses that are set aside for pods, and that no injected pod has of which the watch has told: a
//! pod outside of the mesh, one that was not seen yet, or nobody. The API server is asked, once, and
//! only about those that somebody calls.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_contract::names;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;
use tracing::warn;

use super::hub::Hub;

/// So many are remembered; when there are more, all are asked about again.
const MOST: usize = 100_000;

/// So many are asked about at once.
const AT_ONCE: usize = 4;

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
#[derive(Debug, Default)]
pub(super) struct Strangers {
    inner: Mutex<Inner>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    outside: HashSet<IpAddr>,
    wanted: Vec<IpAddr>,
    /// Those that are being asked about, and how often nobody had them.
    asked: HashMap<IpAddr, u8>,
}

/// Who has an address, as the API server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// A pod that is not injected, and no other.
    Plain,
    /// A pod that is injected: the watch will tell.
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

impl Strangers {
    /// Whether an address is known to be of nobody in the mesh.
    pub(super) fn knows(&self, ip: IpAddr) -> bool {
        self.lock().outside.contains(&ip)
    }

    /// An address must be asked about.
    pub(super) fn want(&self, ip: IpAddr) {
        let mut inner = self.lock();
        let Inner { wanted, asked, .. } = &mut *inner;
        if let Entry::Vacant(place) = asked.entry(ip) {
            place.insert(0);
            wanted.push(ip);
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

    /// The time has come to ask about one again, if that is still wanted.
    pub(super) fn again(&self, ip: IpAddr, is_wanted: bool) {
        let mut inner = self.lock();
        if is_wanted {
            inner.wanted.push(ip);
            self.wanted.notify_one();
        } else {
            inner.asked.remove(&ip);
        }
    }

    async fn wanted(&self) -> Vec<IpAddr> {
        loop {
            let wanted = std::mem::take(&mut self.lock().wanted);
            if !wanted.is_empty() {
                return wanted;
            }
            self.wanted.notified().await;
        }
    }

    /// Notes what was seen.
    fn note(&self, ip: IpAddr, seen: Seen) -> Next {
        let mut inner = self.lock();
        let times = inner.asked.get(&ip).copied().unwrap_or_default();
        let next = next(seen, times);
        match next {
            Next::Known => {
                if inner.outside.len() >= MOST {
                    inner.outside.clear();
                }
                inner.outside.insert(ip);
                inner.asked.remove(&ip);
            }
            Next::AskIn(_) if seen == Seen::Nobody => {
                inner.asked.insert(ip, times + 1);
            }
            Next::AskIn(_) => {}
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
    loop {
        let wanted = hub.strangers.wanted().await;
        let asking = wanted.into_iter().map(|ip| {
            let client = client.clone();
            async move { (ip, who_has(client, ip).await) }
        });
        let mut asked = futures::stream::iter(asking).buffer_unordered(AT_ONCE);
        while let Some((ip, seen)) = asked.next().await {
            match hub.strangers.note(ip, seen) {
                Next::Known => hub.learned([ip]),
                Next::AskIn(wait) => {
                    let hub = hub.clone();
                    drop(tokio::spawn(async move {
                        tokio::time::sleep(wait).await;
                        hub.ask_again(ip);
                    }));
                }
            }
        }
    }
}

async fn who_has(client: Client, ip: IpAddr) -> Seen {
    let api: Api<PartialObjectMeta<Pod>> = Api::all(client);
    // One that has ended keeps its address in its status, where it may be another's by now.
    let fields = format!("status.podIP={ip},status.phase!=Succeeded,status.phase!=Failed");
    match api.list_metadata(&ListParams::default().fields(&fields).limit(PODS)).await {
        Ok(pods) => match pods.items.as_slice() {
            [] => Seen::Nobody,
            pods if pods.iter().any(|pod| pod.labels().contains_key(names::INJECTED_LABEL)) => {
                Seen::Injected
            }
            _ => Seen::Plain,
        },
        Err(error) => {
            warn!(%ip, error = crate::story::story(&error), "asking who has an address");
            Seen::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_address_is_asked_about_once_and_forgotten_with_whom_it_is_given_to() {
        let (strangers, ip) = (Strangers::default(), IpAddr::from([10, 244, 0, 7]));
        strangers.want(ip);
        strangers.want(ip);
        assert_eq!(std::mem::take(&mut strangers.lock().wanted), [ip]);
        for expected in [Next::AskIn(AGAIN), Next::AskIn(AGAIN), Next::Known] {
            assert!(!strangers.knows(ip));
            assert_eq!(strangers.note(ip, Seen::Nobody), expected);
        }
        assert!(strangers.knows(ip));
        strangers.forget([ip]);
        assert!(!strangers.knows(ip));
        strangers.want(ip);
        assert_eq!(strangers.lock().wanted, [ip]);
    }
}
