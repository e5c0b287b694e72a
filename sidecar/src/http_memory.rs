//! The memory of connections whose HTTP is read: hyper keeps far more for them than a relay does.
//!
//! A connection reserves the most that it can hold when it begins, and HTTP/2 the heads of its requests as
//! they come. A connection that does not fit is refused, a request that does not fit is sent back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::connection_limits::source_of;

const KIB: usize = 1024;

/// The most that a connection of HTTP/1.1 holds, or one of HTTP/2 with the smallest windows, without the
/// heads of its requests.
pub(crate) const CONNECTION: usize = 256 * KIB;

/// The smallest window of an HTTP/2 connection (RFC 9113, 6.9.2), and the largest that is given.
const MIN_WINDOW: usize = 64 * KIB;
const MAX_WINDOW: usize = 1024 * KIB;

/// A window is so small a part of what is left: connections that come later have smaller ones.
const PART: usize = 128;

/// What all connections of HTTP may hold together.
#[derive(Debug)]
pub(crate) struct HttpMemory {
    all: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    unidentified: usize,
    of_source: HashMap<IpAddr, usize>,
}

/// For whom memory is reserved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    source: IpAddr,
    is_identified: bool,
}

/// Reserved memory, until this goes.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<HttpMemory>,
    holder: Holder,
    bytes: usize,
}

impl Holder {
    pub(crate) fn new(client: IpAddr, is_identified: bool) -> Self {
        Self { source: source_of(client), is_identified }
    }
}

impl HttpMemory {
    pub(crate) fn new(all: usize) -> Self {
        Self { all, held: Mutex::default() }
    }

    /// Reserves memory if it is left: half of it is for one source, three quarters for clients without an
    /// identity.
    pub(crate) fn take(self: &Arc<Self>, holder: Holder, bytes: usize) -> Option<Share> {
        let mut held = self.lock();
        let of_source = held.of_source.get(&holder.source).copied().unwrap_or_default();
        let unidentified = if holder.is_identified { 0 } else { held.unidentified + bytes };
        let fits = held.all.saturating_add(bytes) <= self.all
            && of_source.saturating_add(bytes) <= self.all / 2
            && unidentified <= self.all - self.all / 4;
        if !fits {
            return None;
        }
        held.all += bytes;
        held.unidentified += if holder.is_identified { 0 } else { bytes };
        *held.of_source.entry(holder.source).or_default() += bytes;
        Some(Share { memory: self.clone(), holder, bytes })
    }

    fn left(&self) -> usize {
        self.all - self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Reserves more for the same holder.
    pub(crate) fn more(&self, bytes: usize) -> Option<Self> {
        self.memory.take(self.holder, bytes)
    }

    /// What an HTTP/2 connection may hold, and the share that is reserved for it beyond [`CONNECTION`].
    pub(crate) fn windows(&self) -> (Windows, Option<Self>) {
        let windows = Windows::new(self.memory.left());
        match self.more(windows.sum().saturating_sub(CONNECTION)) {
            Some(more) => (windows, Some(more)),
            None => (Windows::new(0), None),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.memory.lock();
        held.all -= self.bytes;
        held.unidentified -= if self.holder.is_identified { 0 } else { self.bytes };
        if let Some(of_source) = held.of_source.get_mut(&self.holder.source) {
            *of_source -= self.bytes;
            if *of_source == 0 {
                held.of_source.remove(&self.holder.source);
            }
        }
    }
}

/// What an HTTP/2 connection may hold of bodies, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Received from the client, of all streams.
    pub(crate) client: usize,
    /// Received from the application, which is in the same pod: a small window does not slow it down.
    pub(crate) app: usize,
    /// Not written yet, each way.
    pub(crate) unsent: usize,
}

impl Windows {
    /// What a connection is given where so much is left. Pure.
    fn new(left: usize) -> Self {
        let client = (left / PART).clamp(MIN_WINDOW, MAX_WINDOW);
        Self { client, app: (client / 2).max(MIN_WINDOW), unsent: (client / 4).max(32 * KIB) }
    }

    /// The most that is held: with the state of a connection that rests.
    fn sum(self) -> usize {
        self.client + self.app + 2 * self.unsent + 64 * KIB
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(last: u8, is_identified: bool) -> Holder {
        Holder::new([192, 0, 2, last].into(), is_identified)
    }

    #[test]
    fn memory_is_reserved_until_none_is_left_for_the_client() {
        let memory = Arc::new(HttpMemory::new(100));
        let first = memory.take(holder(1, true), 50).unwrap();
        assert!(memory.take(holder(1, true), 1).is_none(), "half is for one source");
        let second = memory.take(holder(2, false), 25).unwrap();
        let third = second.more(25).unwrap();
        assert!(memory.take(holder(3, true), 1).is_none(), "nothing is left");
        drop(first);
        assert!(memory.take(holder(3, false), 26).is_none(), "three quarters are for strangers");
        assert!(memory.take(holder(3, true), 26).is_some());
        drop((second, third));
        assert_eq!(memory.left(), 100);
        assert!(memory.lock().of_source.is_empty());
    }

    #[test]
    fn later_connections_have_smaller_windows_and_all_fit() {
        let memory = Arc::new(HttpMemory::new(56 * KIB * KIB));
        let mut connections = Vec::new();
        let mut last = usize::MAX;
        while let Some(share) =
            memory.take(holder(u8::try_from(connections.len() % 250).unwrap(), true), CONNECTION)
        {
            let (windows, more) = share.windows();
            assert!(windows.client <= last, "{windows:?}");
            last = windows.client;
            connections.push((share, more));
        }
        assert!((100..224).contains(&connections.len()), "{}", connections.len());
        assert_eq!(last, MIN_WINDOW);
        assert!(memory.lock().all <= 56 * KIB * KIB);
    }

    #[test]
    fn smallest_windows_need_no_more_than_a_connection_has() {
        assert_eq!(Windows::new(0).sum(), CONNECTION);
        let most = Windows { client: 1024 * KIB, app: 512 * KIB, unsent: 256 * KIB };
        assert_eq!(Windows::new(usize::MAX), most);
    }
}
