//! Who follows which destination, and what waits to be sent to each.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_contract::discovery::{Answer, Kind, LONGEST_MESSAGE};
use tokio::sync::Notify;
use tonic_prost::prost::Message;

use super::answer::nobody;
use super::fair::Who;
use super::hub::Hub;
use crate::kept::MeshPod;

/// So many bytes of answers go in one message, unless a single one is longer.
const LONGEST_ANSWERS: usize = LONGEST_MESSAGE / 2;

/// All that is followed.
#[derive(Debug, Default)]
pub(super) struct Followers {
    followed: BTreeMap<(IpAddr, u16), Ids>,
    followers: HashMap<u64, Arc<Follower>>,
    next: u64,
    /// The latest stream of each pod: one that broke off may end here after the next one began.
    latest: HashMap<(String, String), u64>,
}

impl Followers {
    /// Whether somebody follows an address.
    pub(super) fn is_followed(&self, ip: IpAddr) -> bool {
        self.followed.range((ip, 0)..=(ip, u16::MAX)).next().is_some()
    }

    /// Every address that somebody follows.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let mut all: Vec<_> = self.followed.keys().map(|(ip, _)| *ip).collect();
        all.dedup();
        all
    }

    /// Who follows which port of some addresses.
    pub(super) fn of(&self, ips: Vec<IpAddr>) -> Vec<(SocketAddr, Vec<Arc<Follower>>)> {
        let mut found = Vec::new();
        for ip in ips {
            for ((_, port), ids) in self.followed.range((ip, 0)..=(ip, u16::MAX)) {
                let followers = ids.iter().filter_map(|id| self.followers.get(&id).cloned());
                found.push((SocketAddr::new(ip, *port), followers.collect()));
            }
        }
        found
    }

    /// How many streams there are, and how many destinations are followed.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.followers.len(), self.followed.len())
    }

    pub(super) fn join(&mut self, follower: Arc<Follower>) -> u64 {
        self.next += 1;
        self.followers.insert(self.next, follower);
        self.next
    }

    pub(super) fn begin(&mut self, destination: SocketAddr, id: u64) {
        let place = (destination.ip(), destination.port());
        match self.followed.entry(place) {
            Entry::Vacant(place) => {
                place.insert(Ids::One(id));
            }
            Entry::Occupied(mut ids) => ids.get_mut().insert(id),
        }
    }

    fn end(&mut self, destination: &SocketAddr, id: u64) {
        let place = (destination.ip(), destination.port());
        if self.followed.get_mut(&place).is_some_and(|ids| ids.remove(id)) {
            self.followed.remove(&place);
        }
    }
}

/// The streams that follow a destination. Most are followed by one.
#[derive(Debug)]
enum Ids {
    One(u64),
    Many(HashSet<u64>),
}

impl Ids {
    fn iter(&self) -> impl Iterator<Item = u64> {
        let (one, many) = match self {
            Self::One(id) => (Some(*id), None),
            Self::Many(ids) => (None, Some(ids.iter().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn insert(&mut self, id: u64) {
        match self {
            Self::One(other) => *self = Self::Many(HashSet::from([*other, id])),
            Self::Many(ids) => {
                ids.insert(id);
            }
        }
    }

    /// Returns whether none is left.
    fn remove(&mut self, id: u64) -> bool {
        match self {
            Self::One(other) => *other == id,
            Self::Many(ids) => {
                ids.remove(&id);
                ids.is_empty()
            }
        }
    }
}

/// One stream: what waits to be sent over it. An answer that was not sent yet gives way to the next
/// one for the same destination, so that a slow reader costs no more than what it follows.
#[derive(Debug, Default)]
pub(super) struct Follower {
    pub(super) node: Option<Box<str>>,
    /// Whose it is.
    pub(super) who: Who,
    outbox: Mutex<Outbox>,
    waiting: Notify,
}

#[derive(Debug, Default)]
struct Outbox {
    answers: BTreeMap<SocketAddr, Arc<Answer>>,
    /// What each followed destination was answered last, and when that was begun; streams that were told the
    /// same at once share it.
    last: HashMap<SocketAddr, Option<(u64, Arc<Answer>)>>,
}

impl Follower {
    /// An answer is to be sent, unless it is the last one, or was begun before that. It may come after its
    /// destination was forgotten, and then leaves nothing.
    pub(super) fn put(&self, destination: SocketAddr, begun: u64, answer: &Arc<Answer>) {
        let mut outbox = lock(&self.outbox);
        let Some(slot) = outbox.last.get_mut(&destination) else { return };
        if let Some((at, last)) = slot {
            if *at > begun {
                return;
            }
            *at = begun;
            if last == answer {
                return;
            }
        }
        *slot = Some((begun, answer.clone()));
        outbox.answers.insert(destination, answer.clone());
        drop(outbox);
        self.waiting.notify_one();
    }

    /// What was said of a destination holds no longer; of one of which nothing was said, nothing is.
    pub(super) fn withdraw(&self, destination: SocketAddr, begun: u64, was: Kind) {
        let was_said = lock(&self.outbox).last.get(&destination).is_some_and(Option::is_some);
        if was_said {
            self.put(destination, begun, &Arc::new(nobody(destination, was)));
        }
    }

    fn expect(&self, destination: SocketAddr) {
        lock(&self.outbox).last.entry(destination).or_default();
    }

    fn forget(&self, destination: &SocketAddr) {
        let mut outbox = lock(&self.outbox);
        outbox.last.remove(destination);
        outbox.answers.remove(destination);
    }

    /// What there is to be sent, `most` answers at a time and no more than fit into a message; waits while
    /// there is nothing.
    pub(super) async fn take(&self, most: usize) -> Vec<Answer> {
        loop {
            let taken = self.waiting.notified();
            let answers = {
                let mut outbox = lock(&self.outbox);
                let rest = match first_left(&outbox.answers, most) {
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

/// The first answer that does not go with those before it; one goes always.
fn first_left(answers: &BTreeMap<SocketAddr, Arc<Answer>>, most: usize) -> Option<SocketAddr> {
    let mut bytes = 0;
    let does_not_fit = |(place, (_, answer)): (usize, (&SocketAddr, &Arc<Answer>))| {
        bytes += answer.encoded_len();
        place > 0 && (place >= most || bytes > LONGEST_ANSWERS)
    };
    let place = answers.iter().enumerate().position(does_not_fit)?;
    answers.keys().nth(place).copied()
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
    pub(super) fn begin(hub: Arc<Hub>, who: Who, node: Option<Box<str>>) -> Self {
        let follower = Arc::new(Follower { node, who, ..Follower::default() });
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

    /// The injected pod of a name, as it is now.
    pub(super) fn pod(&self, namespace: &str, name: &str) -> Option<Arc<MeshPod>> {
        self.hub.pod_named(namespace, name)
    }

    /// How many destinations.
    pub(super) fn len(&self) -> usize {
        self.destinations.len()
    }

    /// Whether a destination is followed.
    pub(super) fn has(&self, destination: &SocketAddr) -> bool {
        self.destinations.contains(destination)
    }

    /// Follows one more destination, which is answered at once if it is known; returns what that cost.
    /// One that is followed already costs nothing: whoever follows it has its answer.
    pub(super) fn follow(&mut self, destination: SocketAddr) -> usize {
        if !self.destinations.insert(destination) {
            return 0;
        }
        self.follower.expect(destination);
        self.hub.followers(|followers| followers.begin(destination, self.id));
        self.hub.tell(destination, &self.follower)
    }

    /// Follows it no longer; returns whether it was followed.
    pub(super) fn forget(&mut self, destination: &SocketAddr) -> bool {
        let was_followed = self.destinations.remove(destination);
        if was_followed {
            self.hub.followers(|followers| followers.end(destination, self.id));
            self.follower.forget(destination);
        }
        was_followed
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_room_for_its_answers() {
        let to = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
        let answer =
            |bytes: usize| Arc::new(Answer { name: "x".repeat(bytes), ..Answer::default() });
        let some = |sizes: &[usize]| -> BTreeMap<_, _> {
            sizes.iter().zip(1..).map(|(bytes, port)| (to(port), answer(*bytes))).collect()
        };
        let half = LONGEST_ANSWERS / 2;
        let cases = [
            (some(&[]), None),
            (some(&[1, 1, 1]), Some(to(3))),
            (some(&[1, 1]), None),
            (some(&[half, half, 1]), Some(to(2))),
            (some(&[2 * LONGEST_ANSWERS, 1]), Some(to(2))),
            (some(&[2 * LONGEST_ANSWERS]), None),
        ];
        for (answers, expected) in cases {
            assert_eq!(first_left(&answers, 2), expected, "{}", answers.len());
        }
    }

    #[test]
    fn an_answer_that_comes_after_its_destination_was_forgotten_leaves_nothing() {
        let (follower, to) = (Follower::default(), SocketAddr::from(([10, 0, 0, 1], 80)));
        let answer = Arc::new(Answer::default());
        follower.expect(to);
        follower.put(to, 1, &answer);
        follower.forget(&to);
        follower.put(to, 2, &answer);
        let outbox = lock(&follower.outbox);
        assert!(outbox.last.is_empty() && outbox.answers.is_empty());
    }

    #[test]
    fn an_answer_that_was_begun_earlier_never_replaces_a_later_one() {
        let (follower, to) = (Follower::default(), SocketAddr::from(([10, 0, 0, 1], 80)));
        let answer = |name: &str| Arc::new(Answer { name: name.to_owned(), ..Answer::default() });
        follower.expect(to);
        let last = || lock(&follower.outbox).last[&to].as_ref().unwrap().1.name.clone();
        follower.put(to, 7, &answer("new"));
        follower.put(to, 6, &answer("old"));
        follower.withdraw(to, 6, Kind::Pod);
        assert_eq!(last(), "new");
        follower.put(to, 9, &answer("new"));
        follower.put(to, 8, &answer("old"));
        assert_eq!(last(), "new");
        follower.put(to, 10, &answer("newer"));
        assert_eq!(last(), "newer");
    }

    #[test]
    fn every_stream_that_follows_a_destination_is_known_and_none_is_left_behind() {
        let mut followers = Followers::default();
        let ids: Vec<u64> = (0..3).map(|_| followers.join(Arc::default())).collect();
        let (web, other): (SocketAddr, SocketAddr) =
            (([10, 0, 0, 1], 80).into(), ([10, 0, 0, 1], 81).into());
        ids.iter().for_each(|id| followers.begin(web, *id));
        followers.begin(web, ids[0]);
        followers.begin(other, ids[0]);
        assert_eq!((followers.count(), followers.addresses()), ((3, 2), vec![web.ip()]));
        let found = followers.of(vec![web.ip()]);
        let sizes: Vec<_> = found.iter().map(|(to, all)| (to.port(), all.len())).collect();
        assert_eq!(sizes, [(80, 3), (81, 1)]);
        followers.end(&other, ids[1]);
        ids.iter().for_each(|id| followers.end(&web, *id));
        assert!(followers.is_followed(web.ip()));
        followers.end(&other, ids[0]);
        assert!(!followers.is_followed(web.ip()) && followers.followed.is_empty());
    }
}
