//! Answers destinations, and tells followers.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use countersign_contract::discovery::{Answer, Kind};

use super::{Hub, get, lock, ranges};
use crate::discovery::answer::{Draft, Found, View};
use crate::discovery::followers::Follower;
use crate::policy::Compiled;

/// So much is done before others have their turn: a destination, an endpoint and a selector cost one
/// each.
const AT_ONCE: usize = 2048;

/// What an answer costs beside them.
const ANSWER: usize = 32;

/// An answer, when it was begun, and what it cost.
struct Begun {
    found: Found,
    at: u64,
    cost: usize,
}

/// What some followers are told at once.
struct Said<'a> {
    node: Option<&'a str>,
    is_near: bool,
    at: u64,
    was: Option<Kind>,
    strange: Vec<IpAddr>,
    answer: Option<Arc<Answer>>,
}

impl Hub {
    /// Others have their turn after each bit of work, however many nodes follow a destination.
    pub(super) async fn tell_all(&self, due: Vec<(SocketAddr, Vec<Arc<Follower>>)>) {
        let mut done = 0;
        for (destination, mut followers) in due {
            // Where each node has an answer of its own, followers on one node share it.
            followers.sort_by(|one, other| one.node.cmp(&other.node));
            let mut said = None;
            for follower in &followers {
                done += self.tell_one(destination, follower, &mut said);
                if done >= AT_ONCE {
                    done = 0;
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Tells a follower what is known of a destination now, and returns what that cost. Nothing is said
    /// before all was read once: what is not there yet would look as if it were not in the mesh.
    pub(in crate::discovery) fn tell(&self, destination: SocketAddr, follower: &Follower) -> usize {
        self.tell_one(destination, follower, &mut None)
    }

    /// The same, where another follower may have been told the same before.
    fn tell_one<'a>(
        &self,
        destination: SocketAddr,
        follower: &'a Follower,
        said: &mut Option<Said<'a>>,
    ) -> usize {
        if !self.is_complete() {
            return 0;
        }
        let node = follower.node.as_deref();
        let mut cost = 1;
        // Few Services are answered otherwise on each node, and most followers are on another.
        let said = match said {
            Some(same) if !same.is_near || same.node == node => same,
            said => {
                let (new, its) = self.say(destination, node);
                cost += its;
                said.insert(new)
            }
        };
        // Each in its own turn, so that none has to wait for another's.
        said.strange.iter().for_each(|ip| self.strangers.want(&follower.who, *ip));
        match (&said.answer, said.was) {
            (Some(answer), _) => follower.put(destination, said.at, answer),
            // It was there, and is gone: nobody waits for it to come.
            (None, Some(was)) => follower.withdraw(destination, said.at, was),
            (None, None) => {}
        }
        cost
    }

    fn say<'a>(&self, destination: SocketAddr, node: Option<&'a str>) -> (Said<'a>, usize) {
        let Begun { found, at, cost } = self.answer(destination, node);
        let Found { answer, unknown, is_near, strange, was } = found;
        self.plain.want(&unknown);
        (Said { node, is_near, at, was, strange, answer: answer.map(Arc::new) }, cost)
    }

    /// What is known of a destination, seen from a node.
    fn answer(&self, destination: SocketAddr, node: Option<&str>) -> Begun {
        let (draft, at) = self.draft(destination, node);
        let (mut compiled, mut tried) = (HashMap::<String, Compiled>::new(), 0);
        let considered = draft.considered;
        let found = draft.answer(&self.settings.trust_domain, &mut |namespace, labels, port| {
            if !compiled.contains_key(namespace) {
                compiled.insert(namespace.to_owned(), self.documents.compiled_of(namespace));
            }
            let (mode, its) =
                compiled.get(namespace).map(|it| it.mode(labels, port)).unwrap_or_default();
            tried += its;
            mode
        });
        Begun { found, at, cost: ANSWER + considered + tried }
    }

    /// What the indexes say of it. Nothing is compiled while they are locked.
    fn draft(&self, destination: SocketAddr, node: Option<&str>) -> (Draft, u64) {
        let mut state = lock(&self.state);
        state.begun += 1;
        let view = View {
            directory: &state.directory,
            service: &|(namespace, name)| get(&self.seen.services, namespace, name),
            slice: &|slice| self.seen.slices.get(slice),
            pod: &|(namespace, name)| get(&self.seen.pods, namespace, name),
            addresses: &ranges::Known::new(self, state.evidence),
            zone: &|node| self.pod_ranges.zone(node),
            asked: &|uid, ip| self.plain.knows(uid, ip),
        };
        (view.draft(destination, node), state.begun)
    }
}
