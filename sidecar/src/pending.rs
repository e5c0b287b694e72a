//! Handshakes under way, and callers of the admin port: how many there may be, and who gives way when
//! there are too many.
//!
//! Whoever has waited longest gives way. An honest handshake is over in milliseconds, so that a
//! crowd of peers that never finish theirs pushes out one another and not those that come to do so.
//! One address (IPv6: one /64) may have only a share, so that a crowd behind it pushes out nobody else's.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::connection_limits::source_of;

/// The handshakes of a process.
#[derive(Debug)]
pub(crate) struct Pending {
    most: usize,
    most_of_one: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    sources: HashMap<IpAddr, VecDeque<u64>>,
}

#[derive(Debug)]
struct Waiting {
    source: IpAddr,
    give_way: Arc<Notify>,
}

/// A place among them, which is free again when this goes.
#[derive(Debug)]
pub(crate) struct Place {
    pending: Arc<Pending>,
    id: u64,
    give_way: Arc<Notify>,
}

impl Pending {
    /// At most `most`, and of one address at most `most_of_one`.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, inner: Mutex::default() }
    }

    /// Begins a handshake. Where there are too many, the oldest one is told to give way.
    pub(crate) fn begin(self: &Arc<Self>, source: IpAddr) -> Place {
        let (source, give_way) = (source_of(source), Arc::new(Notify::new()));
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.make_room(self.most, self.most_of_one, source);
        inner.next += 1;
        let id = inner.next;
        inner.waiting.insert(id, Waiting { source, give_way: give_way.clone() });
        inner.sources.entry(source).or_default().push_back(id);
        Place { pending: self.clone(), id, give_way }
    }

    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).waiting.len()
    }
}

impl Inner {
    fn make_room(&mut self, most: usize, most_of_one: usize, source: IpAddr) {
        let of_source = self.sources.get(&source).filter(|ids| ids.len() >= most_of_one);
        let mut oldest = of_source.and_then(|ids| ids.front().copied());
        if oldest.is_none() && self.waiting.len() >= most {
            oldest = self.waiting.keys().next().copied();
        }
        if let Some(waiting) = oldest.and_then(|id| self.remove(id)) {
            waiting.give_way.notify_one();
        }
    }

    fn remove(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        if let Some(ids) = self.sources.get_mut(&waiting.source) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.sources.remove(&waiting.source);
            }
        }
        Some(waiting)
    }
}

impl Place {
    /// Resolves when this handshake must give way.
    pub(crate) async fn given_away(&self) {
        self.give_way.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.pending.inner.lock().unwrap_or_else(PoisonError::into_inner);
        drop(inner.remove(self.id));
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Waker};

    use super::*;

    fn must_give_way(place: &Place) -> bool {
        let mut given = std::pin::pin!(place.given_away());
        given.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn source(last: u8) -> IpAddr {
        [127, 0, 0, last].into()
    }

    #[test]
    fn the_oldest_of_an_address_that_has_its_share_gives_way() {
        let pending = Arc::new(Pending::new(10, 2));
        let other = pending.begin(source(2));
        let (first, second, third) =
            (pending.begin(source(1)), pending.begin(source(1)), pending.begin(source(1)));
        let told = [&other, &first, &second, &third].map(must_give_way);
        assert_eq!(told, [false, true, false, false]);
        assert_eq!(pending.len(), 3);
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_their_places() {
        let pending = Arc::new(Pending::new(10, 2));
        let at = |ip: &str| pending.begin(ip.parse().unwrap());
        let places = [at("2001:db8:1:2::1"), at("2001:db8:1:2::2"), at("2001:db8:1:2:3::3")];
        let other = at("2001:db8:1:3::1");
        assert_eq!(places.each_ref().map(must_give_way), [true, false, false]);
        assert!(!must_give_way(&other));
    }

    #[test]
    fn the_oldest_of_all_gives_way_where_there_are_too_many() {
        let pending = Arc::new(Pending::new(2, 2));
        let places: Vec<_> = (1..=3).map(|last| pending.begin(source(last))).collect();
        let told: Vec<_> = places.iter().map(must_give_way).collect();
        assert_eq!(told, [true, false, false]);
    }

    #[test]
    fn a_place_is_free_once_its_handshake_is_over() {
        let pending = Arc::new(Pending::new(1, 1));
        drop(pending.begin(source(1)));
        let place = pending.begin(source(1));
        assert!(!must_give_way(&place));
        drop(place);
        assert_eq!(pending.len(), 0);
    }
}
