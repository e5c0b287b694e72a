//! Looks at a worker's live connections every now and then, and ends those that may not go on.

use std::sync::Arc;
use std::time::Duration;

use countersign_contract::Ending;
use countersign_contract::policy::Unmeshed;
use rustls_pki_types::UnixTime;

use crate::connection_limits::ConnectionLimits;
use crate::credentials::{Serving, Watched};
use crate::live::{About, Entry, Seen, Table};
use crate::metrics::Direction;
use crate::policy::is_allowed;
use crate::relay::buffers;
use crate::tls::Trust;

/// How long what may last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// A connection over which nothing passes.
    pub(crate) idle: Duration,
    /// One of which one end is done, and over which nothing passes.
    pub(crate) half_closed: Duration,
    /// Bytes that somebody does not read.
    pub(crate) stall: Duration,
    /// Each of the three above for clients without an identity, while there are many of them.
    pub(crate) unidentified: Duration,
    /// A connection after its peer's certificate has ended.
    pub(crate) grace: Duration,
}

impl Deadlines {
    /// Often enough that no deadline is missed by more than a fourth of itself.
    fn period(&self) -> Duration {
        let shortest = self.idle.min(self.half_closed).min(self.stall).min(self.unidentified);
        (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }

    /// Those of clients without an identity, while there are many of them.
    fn of_the_crowd(&self) -> Self {
        let most = self.unidentified;
        let [idle, half_closed, stall] =
            [self.idle, self.half_closed, self.stall].map(|deadline| deadline.min(most));
        Self { idle, half_closed, stall, ..*self }
    }
}

/// The same, in sweeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    idle: u32,
    half_closed: u32,
    stall: u32,
}

impl Limits {
    fn of(deadlines: &Deadlines, period: Duration) -> Self {
        let sweeps = |deadline: Duration| {
            let sweeps = deadline.as_millis().div_ceil(period.as_millis().max(1));
            u32::try_from(sweeps).unwrap_or(u32::MAX)
        };
        Self {
            idle: sweeps(deadlines.idle),
            half_closed: sweeps(deadlines.half_closed),
            stall: sweeps(deadlines.stall),
        }
    }

    /// Whether a connection has to end. Pure.
    fn judge(&self, seen: Seen) -> Option<Ending> {
        if seen.blocked > self.stall {
            Some(Ending::Stalled)
        } else if seen.is_half_closed && seen.idle > self.half_closed {
            Some(Ending::HalfClosedTimeout)
        } else if seen.idle > self.idle {
            Some(Ending::IdleTimeout)
        } else {
            None
        }
    }
}

/// Sweeps for ever. Clients without an identity have less time while they hold much of what `inbound`
/// has room for.
pub(crate) async fn sweep(
    table: Arc<Table>,
    deadlines: Deadlines,
    serving: Watched,
    inbound: Arc<ConnectionLimits>,
) {
    let period = deadlines.period();
    let limits = Limits::of(&deadlines, period);
    let of_the_crowd = Limits::of(&deadlines.of_the_crowd(), period);
    let mut before: Option<Arc<Serving>> = serving.borrow().current.clone();
    loop {
        tokio::time::sleep(period).await;
        buffers::rest();
        let tick = table.advance();
        let now = UnixTime::now();
        let current = serving.borrow().current.clone();
        let changed = current.as_ref().filter(|now| is_another(now, before.as_ref()));
        let is_crowded = inbound.is_crowded();
        table.for_each(|entry| {
            let limits =
                if is_crowded && is_unidentified(&entry.about) { &of_the_crowd } else { &limits };
            let late = limits.judge(entry.seen(tick));
            let how = late.or_else(|| expired(&entry.about, entry.id, deadlines.grace, now));
            let how = how.or_else(|| changed.and_then(|now_| refused(&entry.about, now_, now)));
            if let Some(how) = how {
                entry.end(how);
            }
        });
        before = current;
    }
}

/// A client that proved no identity.
pub(crate) fn is_unidentified(about: &About) -> bool {
    about.direction == Direction::inbound && about.peer.is_none()
}

/// A handshake may last across a change, and no sweep sees it while it does: what it was judged by may
/// hold no longer. Changes that come after this are the sweep's.
pub(crate) fn catch_up(entry: &Entry, judged_by: &Arc<Serving>, serving: &Watched) {
    let current = serving.borrow().current.clone();
    let changed = current.filter(|now| is_another(now, Some(judged_by)));
    let how = changed.and_then(|current| refused(&entry.about, &current, UnixTime::now()));
    if let Some(how) = how {
        entry.end(how);
    }
}

/// Whether who may pass could have changed.
fn is_another(now: &Serving, before: Option<&Arc<Serving>>) -> bool {
    before.is_none_or(|before| {
        let same: fn(&Serving) -> *const Trust = |serving| Arc::as_ptr(&serving.credentials.trust);
        same(now) != same(before) || now.policy != before.policy
    })
}

/// A connection ends when its peer's certificate does: a little before, and not all at once.
fn expired(about: &About, id: u64, grace: Duration, now: UnixTime) -> Option<Ending> {
    let peer = about.peer.as_ref()?;
    let lasts = peer.not_after.saturating_sub(about.since);
    let spread = (lasts / 10).min(30) + 1;
    // Any number that differs from one connection to the next will do.
    let early = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) % spread;
    let end = peer.not_after.saturating_add(grace.as_secs()).saturating_sub(early);
    (now.as_secs() >= end).then_some(Ending::PeerExpired)
}

/// Whether a connection would be refused if it were made now. That its peer's certificate has expired is
/// no reason: that has a deadline of its own, with its own grace.
fn refused(about: &About, serving: &Serving, now: UnixTime) -> Option<Ending> {
    let trust = &serving.credentials.trust;
    let again = about.peer.as_ref().map(|peer| match about.direction {
        Direction::inbound => trust.client_again(peer, now),
        Direction::outbound => trust.server_again(peer, now),
    });
    // What its CA may vouch for may have changed, too: the names of the peer as it verified before are not asked.
    let Ok(peer) = again.transpose() else { return Some(Ending::PeerUntrusted) };
    match (about.to.policy_port(), about.direction) {
        (Some(port), Direction::inbound) => {
            let policy = serving.policy.of_port(port);
            let is_refused = !is_allowed(policy, peer.as_deref());
            let refused = is_refused.then_some(Ending::PeerNotAllowed);
            refused.or_else(|| about.carrier.refused_by(policy))
        }
        // Somebody outside of the mesh, who is called as they are.
        (_, Direction::outbound) if peer.is_none() && !about.to.is_own() => {
            let is_refused = serving.policy.unmeshed == Unmeshed::Deny;
            is_refused.then_some(Ending::UnmeshedNotAllowed)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::CarriedAs;
    use crate::live::To;
    use crate::tls::Peer;

    #[test]
    fn a_connection_ends_by_the_first_deadline_that_it_misses() {
        let limits = Limits { idle: 10, half_closed: 5, stall: 3 };
        let seen = |idle, blocked, is_half_closed| Seen { idle, blocked, is_half_closed };
        let cases = [
            (seen(0, 0, false), None),
            (seen(10, 3, false), None),
            (seen(11, 0, false), Some(Ending::IdleTimeout)),
            (seen(5, 0, true), None),
            (seen(6, 0, true), Some(Ending::HalfClosedTimeout)),
            (seen(6, 4, true), Some(Ending::Stalled)),
        ];
        for (seen, expected) in cases {
            assert_eq!(limits.judge(seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn a_connection_ends_with_the_certificate_of_its_peer_and_not_all_at_once() {
        let peer = Some(Arc::new(Peer { not_after: 2000, ..Peer::default() }));
        let to = To::Address(([127, 0, 0, 1], 1).into());
        let client = ([127, 0, 0, 1], 2).into();
        let carrier = CarriedAs::default();
        let about = About { direction: Direction::inbound, client, to, peer, since: 1000, carrier };
        let at = |secs, id, grace| {
            let now = UnixTime::since_unix_epoch(Duration::from_secs(secs));
            expired(&about, id, Duration::from_secs(grace), now)
        };
        assert_eq!(at(1969, 7, 0), None);
        let ended = (0..100).filter(|id| at(1985, *id, 0).is_some()).count();
        assert!((20..80).contains(&ended), "{ended} of 100 half way through");
        assert!((0..100).all(|id| at(2000, id, 0) == Some(Ending::PeerExpired)));
        assert!((0..100).all(|id| at(2060, id, 100).is_none()));
    }
}
