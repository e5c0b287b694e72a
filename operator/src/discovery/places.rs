//! How many connections may be open, and how many destinations may be followed, so that neither one
//! identity, nor one pod, nor one namespace takes what all others need.
//!
//! A thousand pods of one Deployment have one identity, hence the address. Where a network has pods
//! call by the address of their node, all pods of an identity on it share one, and a node has at most
//! some 250 pods. The address of a pod in the mesh is shared by nobody.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_contract::SpiffeId;

/// How many connections may be open; a sidecar has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) all: usize,
    /// Of one identity, from one address that pods may share.
    pub(super) each: usize,
    /// Of one identity, from the address of a pod: a stream that breaks off and the next one.
    pub(super) each_of_pod: usize,
    /// From the address of a pod, whatever identities it shows.
    pub(super) of_pod: usize,
}

/// What a connection takes in memory, its buffers and what it follows included.
const COSTS: u64 = 80 * 1024;

/// What holds in a replica that has no limit of its memory.
const LIMITS: Limits = Limits { all: 20_000, each: 256, each_of_pod: 8, of_pod: 16 };

/// What holds in a replica: half of its memory is for connections; pure.
pub(super) fn limits(memory: Option<u64>) -> Limits {
    let fit =
        memory.map_or(LIMITS.all, |bytes| usize::try_from(bytes / 2 / COSTS).unwrap_or(LIMITS.all));
    Limits { all: fit.clamp(LIMITS.each, LIMITS.all), ..LIMITS }
}

/// Who calls, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Who {
    pub(super) id: SpiffeId,
    pub(super) from: IpAddr,
    /// Whether the address is a pod's.
    pub(super) is_pods: bool,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("this replica has as many connections as it may have")]
    Replica,
    #[error("this namespace has as many connections to this replica as it may have")]
    Namespace,
    #[error("as many connections come from this address as may")]
    Address,
    #[error("this identity has as many connections from this address as it may have")]
    Caller,
}

impl Full {
    /// A stable word.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Replica => "replica_full",
            Self::Namespace => "namespace_full",
            Self::Address => "address_full",
            Self::Caller => "caller_full",
        }
    }
}

/// How many connections are open already.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    all: usize,
    of_namespace: usize,
    from_address: usize,
    own: usize,
}

/// Whether there is a place for one more; pure. A caller that has too many is told so even where there
/// is no room for any. A namespace has half of all at most, so that no other one is shut out.
fn decide(limits: Limits, is_pods: bool, counts: Counts) -> Result<(), Full> {
    let each = if is_pods { limits.each_of_pod } else { limits.each };
    if counts.own >= each {
        Err(Full::Caller)
    } else if is_pods && counts.from_address >= limits.of_pod {
        Err(Full::Address)
    } else if counts.all >= limits.all {
        Err(Full::Replica)
    } else if counts.of_namespace >= limits.all.div_ceil(2) {
        Err(Full::Namespace)
    } else {
        Ok(())
    }
}

/// The places that are taken.
#[derive(Debug)]
pub(super) struct Places {
    limits: Limits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of_namespace: HashMap<String, usize>,
    from_address: HashMap<IpAddr, usize>,
    own: HashMap<(SpiffeId, IpAddr), usize>,
}

/// One of them, until this goes.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    who: Who,
}

impl Places {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default() })
    }

    /// One more.
    pub(super) fn take(self: &Arc<Self>, who: Who) -> Result<Place, Full> {
        let mut taken = self.lock();
        let namespace = who.id.namespace().to_owned();
        let own = (who.id.clone(), who.from);
        let count = |found: Option<&usize>| found.copied().unwrap_or_default();
        let counts = Counts {
            all: taken.all,
            of_namespace: count(taken.of_namespace.get(&namespace)),
            from_address: count(taken.from_address.get(&who.from)),
            own: count(taken.own.get(&own)),
        };
        decide(self.limits, who.is_pods, counts)?;
        taken.all += 1;
        *taken.of_namespace.entry(namespace).or_default() += 1;
        *taken.from_address.entry(who.from).or_default() += 1;
        *taken.own.entry(own).or_default() += 1;
        drop(taken);
        Ok(Place { places: self.clone(), who })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        less(&mut taken.of_namespace, &self.who.id.namespace().to_owned());
        less(&mut taken.from_address, &self.who.from);
        less(&mut taken.own, &(self.who.id.clone(), self.who.from));
    }
}

/// One less of something; nothing remains of what there is none of.
fn less<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// An identity may follow so many destinations, a namespace so many, and each of their streams so many
/// more.
const OF_IDENTITY: usize = 8 * 1024;
const OF_NAMESPACE: usize = 16 * 1024;
const MORE_FOR_EACH: usize = 256;

/// The destinations that are followed.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<HashMap<Box<str>, Share>>);

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    streams: usize,
    destinations: usize,
}

impl Share {
    fn has_room(self, base: usize) -> bool {
        self.destinations < base + MORE_FOR_EACH * self.streams
    }
}

/// What one stream follows of an identity's share and its namespace's.
#[derive(Debug)]
pub(super) struct Held {
    shares: Arc<Shares>,
    namespace: Box<str>,
    identity: Box<str>,
    count: usize,
}

impl Shares {
    /// One more stream.
    pub(super) fn hold(self: &Arc<Self>, id: &SpiffeId) -> Held {
        let namespace: Box<str> = id.namespace().into();
        let identity: Box<str> = format!("{namespace}/{}", id.service_account()).into();
        let mut shares = self.lock();
        for key in [&namespace, &identity] {
            shares.entry(key.clone()).or_default().streams += 1;
        }
        drop(shares);
        Held { shares: self.clone(), namespace, identity, count: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Share>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// One more destination, if there is room for it.
    pub(super) fn take(&mut self) -> bool {
        let mut shares = self.shares.lock();
        let share = |key: &str| shares.get(key).copied().unwrap_or_default();
        let has_room = share(&self.identity).has_room(OF_IDENTITY)
            && share(&self.namespace).has_room(OF_NAMESPACE);
        if has_room {
            for key in [&self.namespace, &self.identity] {
                shares.entry(key.clone()).or_default().destinations += 1;
            }
            self.count += 1;
        }
        has_room
    }

    /// Some less.
    pub(super) fn give(&mut self, count: usize) {
        let count = count.min(self.count);
        self.count -= count;
        let mut shares = self.shares.lock();
        for key in [&self.namespace, &self.identity] {
            if let Some(share) = shares.get_mut(key) {
                share.destinations = share.destinations.saturating_sub(count);
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give(self.count);
        let mut shares = self.shares.lock();
        for key in [&self.namespace, &self.identity] {
            if let Some(share) = shares.get_mut(key) {
                share.streams -= 1;
                if share.streams == 0 {
                    shares.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Limits = Limits { all: 6, each: 3, each_of_pod: 1, of_pod: 2 };

    fn who(account: &str, ip: &str, is_pods: bool) -> Who {
        let id = format!("spiffe://d/ns/shop/sa/{account}");
        Who { id: id.parse().unwrap(), from: ip.parse().unwrap(), is_pods }
    }

    #[test]
    fn there_is_a_place_for_who_has_few_where_there_is_room() {
        let cases = [
            (false, [0, 0, 0, 0], Ok(())),
            (false, [2, 2, 2, 2], Ok(())),
            (false, [3, 2, 3, 3], Err(Full::Caller)),
            (false, [5, 3, 0, 0], Err(Full::Namespace)),
            (false, [6, 1, 0, 0], Err(Full::Replica)),
            (false, [6, 3, 3, 3], Err(Full::Caller)),
            // Nobody shares a pod's address.
            (true, [1, 1, 1, 1], Err(Full::Caller)),
            (true, [1, 1, 1, 0], Ok(())),
            (true, [2, 2, 2, 0], Err(Full::Address)),
            (false, [2, 2, 2, 0], Ok(())),
        ];
        for (is_pods, [all, of_namespace, from_address, own], expected) in cases {
            let counts = Counts { all, of_namespace, from_address, own };
            assert_eq!(decide(FEW, is_pods, counts), expected, "{is_pods} {counts:?}");
        }
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let places = Places::new(FEW);
        let (web, far) = (who("web", "10.0.0.1", false), who("web", "10.0.0.2", true));
        let mut held: Vec<_> = (0..2).map(|_| places.take(web.clone()).unwrap()).collect();
        held.push(places.take(far.clone()).unwrap());
        assert_eq!(places.take(far).unwrap_err(), Full::Caller);
        assert_eq!(places.take(who("api", "10.0.0.1", false)).unwrap_err(), Full::Namespace);
        held.remove(0);
        held.push(places.take(web).unwrap());
        held.clear();
        let taken = places.lock();
        assert!(taken.all == 0 && taken.own.is_empty(), "{taken:?}");
        assert!(taken.of_namespace.is_empty() && taken.from_address.is_empty(), "{taken:?}");
    }

    #[test]
    fn half_of_the_memory_is_for_connections() {
        let mib = |count: u64| Some(count * 1024 * 1024);
        let cases = [(None, 20_000), (mib(512), 3276), (mib(8192), 20_000), (mib(1), 256)];
        for (memory, all) in cases {
            assert_eq!(limits(memory).all, all, "{memory:?}");
        }
    }

    #[test]
    fn an_identity_and_a_namespace_follow_no_more_than_their_shares() {
        let shares = Arc::<Shares>::default();
        let id = |account: &str| format!("spiffe://d/ns/shop/sa/{account}").parse().unwrap();
        let fill = |held: &mut Held| {
            let taken = std::iter::from_fn(|| held.take().then_some(()));
            taken.take(4 * OF_NAMESPACE).count()
        };
        let mut one = shares.hold(&id("web"));
        assert_eq!(fill(&mut one), OF_IDENTITY + MORE_FOR_EACH);
        let mut other = shares.hold(&id("api"));
        let left = OF_NAMESPACE + 2 * MORE_FOR_EACH - (OF_IDENTITY + MORE_FOR_EACH);
        assert_eq!(fill(&mut other), left.min(OF_IDENTITY + MORE_FOR_EACH));
        let mut third = shares.hold(&id("db"));
        assert_eq!(fill(&mut third), MORE_FOR_EACH, "what its stream adds");
        one.give(10);
        assert_eq!(fill(&mut third), 10);
        drop((one, other, third));
        assert!(shares.lock().is_empty());
    }
}
