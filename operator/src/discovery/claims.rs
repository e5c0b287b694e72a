//! Which objects claim an address, the first in rank in front. All claimants are kept, so that the
//! next one follows when the first one goes, and the order in which they were read does not matter.

use std::collections::HashMap;
use std::net::IpAddr;

use super::directory::Key;

/// Claimants of addresses, by rank.
#[derive(Debug)]
pub(super) struct Claims<R> {
    at: HashMap<IpAddr, Vec<(R, Key)>>,
    of: HashMap<Key, Box<[IpAddr]>>,
}

impl<R> Default for Claims<R> {
    fn default() -> Self {
        Self { at: HashMap::new(), of: HashMap::new() }
    }
}

impl<R: Ord + Clone> Claims<R> {
    /// Those that claim an address.
    pub(super) fn at(&self, ip: IpAddr) -> impl Iterator<Item = &Key> {
        self.at.get(&ip).into_iter().flatten().map(|(_, key)| key)
    }

    /// The addresses that an object claims.
    pub(super) fn of(&self, key: &Key) -> &[IpAddr] {
        self.of.get(key).map_or(&[], AsRef::as_ref)
    }

    /// An object claims these addresses, and no others; returns those that it claims or claimed.
    pub(super) fn note(&mut self, key: &Key, rank: &R, now: &[IpAddr]) -> Vec<IpAddr> {
        let mut changed = self.of.remove(key).map(Vec::from).unwrap_or_default();
        for ip in &changed {
            self.remove(*ip, key);
        }
        for ip in now {
            let claims = self.at.entry(*ip).or_default();
            let claim = (rank.clone(), key.clone());
            let place = claims.partition_point(|other| *other < claim);
            claims.reserve_exact(1);
            claims.insert(place, claim);
        }
        if !now.is_empty() {
            self.of.insert(key.clone(), now.into());
        }
        changed.extend(now);
        changed
    }

    fn remove(&mut self, ip: IpAddr, key: &Key) {
        let Some(claims) = self.at.get_mut(&ip) else { return };
        claims.retain(|(_, claimant)| claimant != key);
        if claims.is_empty() {
            self.at.remove(&ip);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.at.is_empty() && self.of.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_in_rank_has_an_address_and_the_next_follows_in_any_order() {
        let ip = IpAddr::from([192, 0, 2, 1]);
        let key = |name: &str| ("shop".to_owned(), name.to_owned());
        let ranks = [("old", 1), ("middle", 2), ("new", 3)];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut claims = Claims::default();
            for place in order {
                let (name, rank) = ranks[place];
                claims.note(&key(name), &rank, &[ip]);
            }
            let first = |claims: &Claims<i32>| claims.at(ip).next().cloned();
            for (name, rank) in ranks {
                assert_eq!(first(&claims), Some(key(name)), "{order:?}");
                assert_eq!(claims.note(&key(name), &rank, &[]), [ip]);
            }
            assert!(claims.is_empty(), "{claims:?}");
        }
    }
}
