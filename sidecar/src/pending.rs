//! Handshakes under way, and callers of the admin port: how many there may be, and who gives way when
//! there are too many.
//!
//! Whoever has waited longest gives way. An honest handshake is over in milliseconds, so that a
//! crowd of peers that never finish theirs pushes out one another and not those that come to do so.
//! One address (IPv6: one /64) may have only a share, so that a crowd behind it pushes out nobody else's.

mod queue;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use self::queue::Queue;
pub(crate) use self::queue::{Room, Stage};
use crate::connection_limits::{Seat, source_of};

/// The handshakes of a process.
#[derive(Debug)]
pub(crate) struct Pending {
    most: usize,
    most_of_one: usize,
    queue: Mutex<Queue<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    give_way: Arc<Notify>,
    /// What the connection counts as, where that is free again once it gives way.
    seat: Option<Seat>,
}

/// A place among them, which is free again when this goes.
#[derive(Debug)]
pub(crate) struct Place {
    pending: Arc<Pending>,
    id: u64,
    give_way: Arc<Notify>,
}

/// Those that a newcomer is one too many of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Crowd {
    Source,
    All,
}

impl Pending {
    /// At most `most`, and of one address at most `most_of_one`.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, queue: Mutex::default() }
    }

    /// Begins a handshake. Where there are too many, one gives way, however young.
    pub(crate) fn begin(self: &Arc<Self>, source: IpAddr, seat: Option<Seat>) -> Place {
        let source = source_of(source);
        let mut queue = self.lock();
        if let Some(crowd) = self.crowd(&queue, source) {
            let oldest = queue.room_at_once((crowd == Crowd::Source).then_some(source));
            oldest.into_iter().for_each(|id| push_out(&mut queue, id));
        }
        self.insert(&mut queue, source, seat)
    }

    /// The same, but where there are too many of all sources, and each is young: how long until one of
    /// them gives way.
    pub(crate) fn try_begin(
        self: &Arc<Self>,
        source: IpAddr,
        seat: Seat,
        now: Instant,
    ) -> Result<Place, Duration> {
        let mut queue = self.lock();
        if self.crowd(&queue, source_of(source)) == Some(Crowd::All) {
            match queue.room(None, now) {
                Room::Of(id) => push_out(&mut queue, id),
                Room::After(wait) => return Err(wait),
                Room::None => {}
            }
        }
        drop(queue);
        Ok(self.begin(source, Some(seat)))
    }

    /// Has a handshake of one source, or of any, give way, and says which.
    pub(crate) fn make_room(&self, source: Option<IpAddr>, now: Instant) -> Room {
        let mut queue = self.lock();
        let room = queue.room(source.map(source_of), now);
        if let Room::Of(id) = room {
            push_out(&mut queue, id);
        }
        room
    }

    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whose handshakes are too many, if any are.
    fn crowd(&self, queue: &Queue<Waiting>, source: IpAddr) -> Option<Crowd> {
        if queue.count_of(source) >= self.most_of_one {
            Some(Crowd::Source)
        } else {
            (queue.len() >= self.most).then_some(Crowd::All)
        }
    }

    fn insert(
        self: &Arc<Self>,
        queue: &mut Queue<Waiting>,
        source: IpAddr,
        seat: Option<Seat>,
    ) -> Place {
        let give_way = Arc::new(Notify::new());
        let waiting = Waiting { give_way: give_way.clone(), seat };
        let id = queue.insert(source, Instant::now(), waiting);
        Place { pending: self.clone(), id, give_way }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<Waiting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push_out(queue: &mut Queue<Waiting>, id: u64) {
    let Some(Waiting { give_way, seat }) = queue.remove(id) else { return };
    seat.into_iter().for_each(Seat::leave);
    give_way.notify_one();
}

impl Place {
    /// The handshake has come so far, and waits for its client.
    pub(crate) fn advance(&self, stage: Stage) {
        self.pending.lock().advance(self.id, stage, Instant::now());
    }

    /// Resolves when this handshake must give way.
    pub(crate) async fn given_away(&self) {
        self.give_way.notified().await;
    }

    /// The handshake is done; whether its place was still its own.
    pub(crate) fn finish(self) -> bool {
        self.pending.lock().remove(self.id).is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let gone = self.pending.lock().remove(self.id);
        drop(gone);
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
        let other = pending.begin(source(2), None);
        let (first, second, third) = (
            pending.begin(source(1), None),
            pending.begin(source(1), None),
            pending.begin(source(1), None),
        );
        let told = [&other, &first, &second, &third].map(must_give_way);
        assert_eq!(told, [false, true, false, false]);
        assert_eq!(pending.len(), 3);
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_their_places() {
        let pending = Arc::new(Pending::new(10, 2));
        let at = |ip: &str| pending.begin(ip.parse().unwrap(), None);
        let places = [at("2001:db8:1:2::1"), at("2001:db8:1:2::2"), at("2001:db8:1:2:3::3")];
        let other = at("2001:db8:1:3::1");
        assert_eq!(places.each_ref().map(must_give_way), [true, false, false]);
        assert!(!must_give_way(&other));
    }

    #[test]
    fn the_oldest_of_all_gives_way_where_there_are_too_many() {
        let pending = Arc::new(Pending::new(2, 2));
        let places: Vec<_> = (1..=3).map(|last| pending.begin(source(last), None)).collect();
        let told: Vec<_> = places.iter().map(must_give_way).collect();
        assert_eq!(told, [true, false, false]);
    }

    #[test]
    fn a_place_is_free_once_its_handshake_is_over() {
        let pending = Arc::new(Pending::new(1, 1));
        drop(pending.begin(source(1), None));
        let place = pending.begin(source(1), None);
        assert!(!must_give_way(&place));
        drop(place);
        assert_eq!(pending.len(), 0);
    }
}
