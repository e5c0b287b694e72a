//! Who follows which destination, and what waits to be sent to each.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_contract::discovery::{Answer, Kind};
use tokio::sync::Notify;

use super::answer::nobody;
use super::hub::Hub;

/// All that is followed.
#[derive(Debug, Default)]
pub(super) struct Followers {
    followed: HashMap<IpAddr, BTreeMap<u16, HashSet<u64>>>,
    followers: HashMap<u64, Arc<Follower>>,
    next: u64,
    /// The latest stream of each pod: one that broke off may end here after the next one began.
    latest: HashMap<(String, String), u64>,
}

impl Followers {
    /// Whether somebody follows an address.
    pub(super) fn is_followed(&self, ip: &IpAddr) -> bool {
        self.followed.contains_key(ip)
    }

    /// Every address that somebody follows.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.followed.keys().copied().collect()
    }

    /// Who follows which port of some addresses.
    pub(super) fn of(&self, ips: Vec<IpAddr>) -> Vec<(SocketAddr, Vec<Arc<Follower>>)> {
        let mut found = Vec::new();
        for ip in ips {
            for (port, ids) in self.followed.get(&ip).into_iter().flatten() {
                let followers = ids.iter().filter_map(|id| self.followers.get(id).cloned());
                found.push((SocketAddr::new(ip, *port), followers.collect()));
            }
        }
        found
    }

    /// How many streams there are, and how many destinations are followed.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.followers.len(), self.followed.values().map(BTreeMap::len).sum())
    }

    fn join(&mut self, follower: Arc<Follower>) -> u64 {
        self.next += 1;
        self.followers.insert(self.next, follower);
        self.next
    }

    fn begin(&mut self, destination: SocketAddr, id: u64) {
        let ports = self.followed.entry(destination.ip()).or_default();
        ports.entry(destination.port()).or_default().insert(id);
    }

    fn end(&mut self, destination: &SocketAddr, id: u64) {
        let Some(ports) = self.followed.get_mut(&destination.ip()) else { return };
        if let Some(ids) = ports.get_mut(&destination.port()) {
            ids.remove(&id);
            if ids.is_empty() {
                ports.remove(&destination.port());
            }
        }
        if ports.is_empty() {
            self.followed.remove(&destination.ip());
        }
    }
}

/// One stream: what waits to be sent over it. An answer that was not sent yet gives way to the next
/// one for the same destination, so that a slow reader costs no more than what it follows.
#[derive(Debug, Default)]
pub(super) struct Follower {
    pub(super) node: Option<Box<str>>,
    outbox: Mutex<Outbox>,
    waiting: Notify,
}

#[derive(Debug, Default)]
struct Outbox {
    answers: BTreeMap<SocketAddr, Arc<Answer>>,
    /// What each destination was answered last; whoever was told the same at once shares it.
    last: HashMap<SocketAddr, Arc<Answer>>,
}

impl Follower {
    /// An answer is to be sent, unless it is the last one.
    pub(super) fn put(&self, destination: SocketAddr, answer: &Arc<Answer>) {
        let mut outbox = lock(&self.outbox);
        if outbox.last.get(&destination) == Some(answer) {
            return;
        }
        outbox.last.insert(destination, answer.clone());
        outbox.answers.insert(destination, answer.clone());
        drop(outbox);
        self.waiting.notify_one();
    }

    /// What was said of a destination holds no longer; of one of which nothing was said, nothing is.
    pub(super) fn withdraw(&self, destination: SocketAddr, was: Kind) {
        let was_said = lock(&self.outbox).last.contains_key(&destination);
        if was_said {
            self.put(destination, &Arc::new(nobody(destination, was)));
        }
    }

    fn forget(&self, destination: &SocketAddr) {
        let mut outbox = lock(&self.outbox);
        outbox.last.remove(destination);
        outbox.answers.remove(destination);
    }

    /// What there is to be sent, `most` answers at a time; waits while there is nothing.
    pub(super) async fn take(&self, most: usize) -> Vec<Answer> {
        loop {
            let taken = self.waiting.notified();
            let answers = {
                let mut outbox = lock(&self.outbox);
                let rest = match outbox.answers.keys().nth(most).copied() {
                    Some(first) => outbox.answers.split_off(&first),
                    None => BTreeMap::new(),
                };
                std::mem::replace(&mut outbox.answers, rest)
            };
            if !answers.is_empty() {
                return answers.into_values().map(Arc::unwrap_or_clone).collect();
            }
            taken.await;
        }
    }
}

/// A stream's hold on what it follows, which goes with it.
#[derive(Debug)]
pub(super) struct Following {
    hub: Arc<Hub>,
    id: u64,
    pub(super) follower: Arc<Follower>,
    destinations: HashSet<SocketAddr>,
}

impl Following {
    /// Somebody who will follow destinations, from a pod on a node.
    pub(super) fn begin(hub: Arc<Hub>, node: Option<Box<str>>) -> Self {
        let follower = Arc::new(Follower { node, ..Follower::default() });
        let id = hub.followers(|followers| followers.join(follower.clone()));
        Self { hub, id, follower, destinations: HashSet::new() }
    }

    /// From now on this is the stream of a pod.
    pub(super) fn is_of(&self, pod: (String, String)) {
        self.hub.followers(|followers| followers.latest.insert(pod, self.id));
    }

    /// Whether it still was, at its end.
    pub(super) fn was_of(&self, pod: &(String, String)) -> bool {
        self.hub.followers(|followers| {
            let was = followers.latest.get(pod) == Some(&self.id);
            if was {
                followers.latest.remove(pod);
            }
            was
        })
    }

    /// How many destinations.
    pub(super) fn len(&self) -> usize {
        self.destinations.len()
    }

    /// Follows one more destination, which is answered at once if it is known.
    pub(super) fn follow(&mut self, destination: SocketAddr) {
        if self.destinations.insert(destination) {
            self.hub.followers(|followers| followers.begin(destination, self.id));
        }
        self.hub.tell(destination, std::slice::from_ref(&self.follower));
    }

    /// Follows it no longer.
    pub(super) fn forget(&mut self, destination: &SocketAddr) {
        if self.destinations.remove(destination) {
            self.hub.followers(|followers| followers.end(destination, self.id));
            self.follower.forget(destination);
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.hub.followers(|followers| {
            followers.followers.remove(&self.id);
            self.destinations.iter().for_each(|destination| followers.end(destination, self.id));
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
