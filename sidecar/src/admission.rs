//! How an inbound connection gets its place, and what gives way to it where all places are taken.
//!
//! A handshake that waits for its client gives way first, then a client without an identity over whose
//! connection nothing passes. A newcomer waits for that, and those behind it in the kernel's queue, but
//! only while something can give way, and for a moment: longer it would look as if it were served.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_contract::Ending;
use tokio_util::sync::CancellationToken;

use crate::connection_limits::{ConnectionLimits, LimitExceeded, Permit};
use crate::live::Table;
use crate::pending::{Pending, Place, Room};
use crate::sweep::is_unidentified;

/// How long a newcomer waits.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// How long an idle connection that was told to end is waited for before another one is told.
const ENDING: Duration = Duration::from_millis(10);

/// How soon to try again where another worker was quicker, or too many are leaving.
const RETRY: Duration = Duration::from_millis(1);

/// How many that gave way may not have ended yet: each still has its descriptors.
const MAX_LEAVING: usize = 64;

/// How many sweeps long nothing has passed over a connection that rests.
const RESTS: u32 = 2;

/// What inbound connections share.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) limits: Arc<ConnectionLimits>,
    pub(crate) pending: Arc<Pending>,
    /// The live connections of every worker.
    pub(crate) tables: Vec<Arc<Table>>,
}

/// Why a newcomer has no place now.
enum Denied {
    /// Something gives way within this time.
    Wait(Duration),
    Refused(LimitExceeded),
}

impl Admission {
    /// A place for a client; newcomers do not wait once `stop` is cancelled.
    pub(crate) async fn admit(
        &self,
        client: IpAddr,
        stop: &CancellationToken,
    ) -> Result<(Permit, Place), LimitExceeded> {
        let began = Instant::now();
        let mut now = began;
        loop {
            let may_wait = now.duration_since(began) < MAX_WAIT && !stop.is_cancelled();
            match self.try_admit(client, now, may_wait) {
                Ok(admitted) => return Ok(admitted),
                Err(Denied::Refused(exceeded)) => return Err(exceeded),
                // The connections that are to give way run meanwhile: it must be a sleep.
                Err(Denied::Wait(wait)) => tokio::time::sleep(wait).await,
            }
            now = Instant::now();
        }
    }

    fn try_admit(
        &self,
        client: IpAddr,
        now: Instant,
        may_wait: bool,
    ) -> Result<(Permit, Place), Denied> {
        if may_wait && self.limits.leaving() >= MAX_LEAVING {
            return Err(Denied::Wait(RETRY));
        }
        let taken = self.limits.take(client);
        let permit = match taken {
            Ok(permit) => permit,
            Err(exceeded) => {
                self.make_room(client, exceeded, now, may_wait)?;
                self.limits.take(client).map_err(|exceeded| match may_wait {
                    true => Denied::Wait(RETRY),
                    false => Denied::Refused(exceeded),
                })?
            }
        };
        let begun = match may_wait {
            true => self.pending.try_begin(client, permit.seat(), now),
            false => Ok(self.pending.begin(client, Some(permit.seat()))),
        };
        begun.map(|place| (permit, place)).map_err(Denied::Wait)
    }

    /// Has the connection give way that is worth least. One source's share makes nobody wait.
    fn make_room(
        &self,
        client: IpAddr,
        exceeded: LimitExceeded,
        now: Instant,
        may_wait: bool,
    ) -> Result<(), Denied> {
        let is_own = matches!(exceeded, LimitExceeded::Source(_));
        let room = self.pending.make_room(is_own.then_some(client), now);
        match room {
            Room::Of(_) => Ok(()),
            _ if is_own || !may_wait => Err(Denied::Refused(exceeded)),
            Room::After(wait) => Err(Denied::Wait(wait)),
            Room::None if self.end_resting_stranger() => Err(Denied::Wait(ENDING)),
            Room::None => Err(Denied::Refused(exceeded)),
        }
    }

    /// Ends the connection of a client without an identity that has been idle longest, if there is one.
    fn end_resting_stranger(&self) -> bool {
        let longest = self.tables.iter().filter_map(|table| table.longest_idle(is_unidentified));
        let longest = longest.max_by_key(|(_, idle)| *idle).filter(|(_, idle)| *idle >= RESTS);
        longest.inspect(|(entry, _)| entry.end(Ending::IdleTimeout)).is_some()
    }
}
