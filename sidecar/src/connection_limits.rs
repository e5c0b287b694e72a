//! How many connections may be open at once in one direction, of one source, and without an identity.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) all: usize,
    /// Of one source.
    pub(crate) of_source: usize,
    /// Of clients that did not prove who they are.
    pub(crate) unidentified: usize,
}

/// Why there is no room for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitExceeded {
    #[error("{0} connections are open, as many as --max-connections allows")]
    All(usize),
    #[error(
        "{0} connections of this source are open, as many as --max-connections-per-source allows"
    )]
    Source(usize),
    #[error(
        "{0} connections without an identity are open, as many as --max-unidentified-connections allows"
    )]
    Unidentified(usize),
}

/// The connections of one direction.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    unidentified: usize,
    of_source: HashMap<IpAddr, usize>,
    /// Those that were pushed out, and are not counted above: they have not ended yet.
    leaving: usize,
}

/// The right to have a connection open, which ends when this goes.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Held>);

/// The same for those who may take that right away before the connection has ended.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Held>);

#[derive(Debug)]
struct Held {
    limits: Arc<ConnectionLimits>,
    source: IpAddr,
    // Both change under the lock of the limits only.
    is_unidentified: AtomicBool,
    is_leaving: AtomicBool,
}

impl ConnectionLimits {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, open: Mutex::default() }
    }

    /// Takes the right to one more connection of a client. One that has its share is told so even where
    /// there is no room for any.
    pub(crate) fn take(self: &Arc<Self>, client: IpAddr) -> Result<Permit, LimitExceeded> {
        let Limits { all, of_source, .. } = self.limits;
        let source = source_of(client);
        let mut open = self.lock();
        let open = &mut *open;
        let count = open.of_source.get(&source).copied().unwrap_or_default();
        if count >= of_source {
            return Err(LimitExceeded::Source(of_source));
        }
        if open.all >= all {
            return Err(LimitExceeded::All(all));
        }
        open.of_source.insert(source, count + 1);
        open.all += 1;
        let (is_unidentified, is_leaving) = Default::default();
        let held = Held { limits: self.clone(), source, is_unidentified, is_leaving };
        Ok(Permit(Arc::new(held)))
    }

    /// Whether clients without an identity hold half of what they may.
    pub(crate) fn is_crowded(&self) -> bool {
        self.lock().unidentified * 2 >= self.limits.unidentified
    }

    /// How many connections were pushed out and have not ended yet.
    pub(crate) fn leaving(&self) -> usize {
        self.lock().leaving
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The client turned out to have no identity.
    pub(crate) fn count_as_unidentified(&self) -> Result<(), LimitExceeded> {
        let held = &*self.0;
        let most = held.limits.limits.unidentified;
        let mut open = held.limits.lock();
        if open.unidentified >= most {
            return Err(LimitExceeded::Unidentified(most));
        }
        open.unidentified += 1;
        held.is_unidentified.store(true, Relaxed);
        Ok(())
    }

    pub(crate) fn seat(&self) -> Seat {
        Seat(self.0.clone())
    }
}

impl Seat {
    /// A newcomer may take the place of this connection, which is told to end and will.
    pub(crate) fn leave(self) {
        let held = &*self.0;
        let mut open = held.limits.lock();
        if !held.is_leaving.swap(true, Relaxed) {
            open.gives_back(held);
            open.leaving += 1;
        }
    }
}

impl Open {
    fn gives_back(&mut self, held: &Held) {
        self.all -= 1;
        self.unidentified -= usize::from(held.is_unidentified.load(Relaxed));
        if let Some(count) = self.of_source.get_mut(&held.source) {
            *count -= 1;
            if *count == 0 {
                self.of_source.remove(&held.source);
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = self.limits.lock();
        match self.is_leaving.load(Relaxed) {
            true => open.leaving -= 1,
            false => open.gives_back(self),
        }
    }
}

/// What counts as one source: an IPv4 address, or an IPv6 network of /64, since whoever has one address
/// of it has all of them. Pure.
pub(crate) fn source_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
        ipv4 => ipv4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn one_source_cannot_take_all_connections() {
        let limits = Limits { all: 4, of_source: 2, unidentified: 4 };
        let limits = Arc::new(ConnectionLimits::new(limits));
        let first = [limits.take(source(1)), limits.take(source(1))];
        assert!(first.iter().all(Result::is_ok));
        assert_eq!(limits.take(source(1)).unwrap_err(), LimitExceeded::Source(2));
        let others = [limits.take(source(2)), limits.take(source(3))];
        assert!(others.iter().all(Result::is_ok));
        assert_eq!(limits.take(source(4)).unwrap_err(), LimitExceeded::All(4));
        drop(first);
        assert!(limits.take(source(1)).is_ok());
        drop(others);
        assert_eq!(limits.lock().all, 0);
        assert!(limits.lock().of_source.is_empty());
    }

    #[test]
    fn clients_without_an_identity_leave_room_for_those_with_one() {
        let limits = Limits { all: 5, of_source: 5, unidentified: 2 };
        let limits = Arc::new(ConnectionLimits::new(limits));
        let mut permits: Vec<_> = (0..4).map(|last| limits.take(source(last)).unwrap()).collect();
        assert!(!limits.is_crowded());
        assert_eq!(permits[0].count_as_unidentified(), Ok(()));
        assert!(limits.is_crowded(), "half of them");
        assert_eq!(permits[1].count_as_unidentified(), Ok(()));
        let refused = permits[2].count_as_unidentified();
        assert_eq!(refused, Err(LimitExceeded::Unidentified(2)));
        assert!(limits.take(source(9)).is_ok());
        drop(permits.remove(0));
        assert_eq!(permits[2].count_as_unidentified(), Ok(()));
        drop(permits);
        assert_eq!(limits.lock().unidentified, 0);
    }

    #[test]
    fn the_place_of_a_connection_that_is_pushed_out_is_free_at_once_and_given_back_once() {
        let limits = Limits { all: 1, of_source: 1, unidentified: 1 };
        let limits = Arc::new(ConnectionLimits::new(limits));
        let first = limits.take(source(1)).unwrap();
        first.count_as_unidentified().unwrap();
        let seats = [first.seat(), first.seat()];
        seats.into_iter().for_each(Seat::leave);
        assert_eq!(limits.leaving(), 1);
        let second = limits.take(source(1)).unwrap();
        drop(first);
        let counts = |open: &Open| (open.leaving, open.all, open.unidentified);
        assert_eq!(counts(&limits.lock()), (0, 1, 0));
        drop(second);
        assert_eq!(limits.lock().all, 0);
    }

    #[test]
    fn ipv6_is_counted_by_network() {
        let cases = [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::1", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ];
        for (client, expected) in cases {
            let counted = source_of(client.parse().unwrap());
            assert_eq!(counted, expected.parse::<IpAddr>().unwrap(), "{client}");
        }
    }
}
