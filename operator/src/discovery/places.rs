//! How many connections may be open: in all, and by one workload from one address, so that nobody
//! who has an identity can take the places of all others.
//!
//! A thousand pods of one Deployment have one identity, hence the address. Where a network has pods
//! call by the address of their node, all pods of an identity on it share one, and a node has at most
//! some 250 pods; hence so many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_contract::SpiffeId;

/// How many may be open; a sidecar has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) all: usize,
    pub(super) each: usize,
}

/// What holds in a replica.
pub(super) const LIMITS: Limits = Limits { all: 20_000, each: 256 };

/// A workload, and the address from which it calls.
pub(super) type Who = (SpiffeId, IpAddr);

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("this replica has as many connections as it may have")]
    Replica,
    #[error("this identity has as many connections from this address as it may have")]
    Caller,
}

impl Full {
    /// A stable word.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Replica => "replica_full",
            Self::Caller => "caller_full",
        }
    }
}

/// Whether there is a place for one more, of somebody who has `own` of the `all` that are taken; pure.
/// Who has too many hears so even where there is no room for anybody.
fn decide(limits: Limits, all: usize, own: usize) -> Result<(), Full> {
    if own >= limits.each {
        Err(Full::Caller)
    } else if all >= limits.all {
        Err(Full::Replica)
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
    of: HashMap<Who, usize>,
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
        let own = taken.of.get(&who).copied().unwrap_or(0);
        decide(self.limits, taken.all, own)?;
        taken.all += 1;
        taken.of.insert(who.clone(), own + 1);
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
        let own = taken.of.get(&self.who).map_or(0, |own| own - 1);
        if own == 0 {
            taken.of.remove(&self.who);
        } else {
            taken.of.insert(self.who.clone(), own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Limits = Limits { all: 3, each: 2 };

    fn who(account: &str, ip: &str) -> Who {
        let id = format!("spiffe://d/ns/shop/sa/{account}");
        (id.parse().unwrap(), ip.parse().unwrap())
    }

    #[test]
    fn there_is_a_place_for_who_has_few_where_there_is_room() {
        let cases = [
            ((0, 0), Ok(())),
            ((2, 1), Ok(())),
            ((2, 2), Err(Full::Caller)),
            ((3, 1), Err(Full::Replica)),
            ((3, 2), Err(Full::Caller)),
        ];
        for ((all, own), expected) in cases {
            assert_eq!(decide(FEW, all, own), expected, "{own} of {all}");
        }
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let places = Places::new(FEW);
        let (web, far) = (who("web", "10.0.0.1"), who("web", "10.0.0.2"));
        let mut held: Vec<_> = (0..2).map(|_| places.take(web.clone()).unwrap()).collect();
        assert_eq!(places.take(web.clone()).unwrap_err(), Full::Caller);
        held.push(places.take(far).unwrap());
        assert_eq!(places.take(who("api", "10.0.0.1")).unwrap_err(), Full::Replica);
        held.remove(0);
        held.push(places.take(web).unwrap());
        held.clear();
        let taken = places.lock();
        assert!(taken.all == 0 && taken.of.is_empty(), "{taken:?}");
    }
}
