//! Connections that are live: who, since when, how much, and whether they may go on.
//!
//! A connection notes what it does in an entry of its own, without a lock and without asking for
//! the time; a sweep of its worker looks at all of them every now and then, and decides. No
//! connection has a timer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;

use countersign_contract::Ending;
use futures::task::AtomicWaker;

use crate::carrier::CarriedAs;
use crate::edges::Edges;
use crate::metrics::Direction;
use crate::tls::Peer;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the peer to the application.
    Up,
    /// From the application to the peer.
    Down,
}

/// What is known of a connection when it begins.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) direction: Direction,
    pub(crate) client: SocketAddr,
    pub(crate) to: To,
    /// None where nobody is asked for a certificate.
    pub(crate) peer: Option<Arc<Peer>>,
    /// When it was accepted, in seconds since 1970.
    pub(crate) since: u64,
    /// How it is carried; of inbound connections only.
    pub(crate) carrier: CarriedAs,
}

/// Where a connection goes.
#[derive(Clone, Debug)]
pub(crate) enum To {
    Address(SocketAddr),
    /// The application, from a port whose own policy holds.
    Served(SocketAddr, u16),
    Name(Arc<str>),
    /// One endpoint of a Service, or a pod.
    Behind {
        name: Arc<str>,
        endpoint: SocketAddr,
    },
    /// Our own pod.
    Own(SocketAddr),
}

impl To {
    /// Whether it is our own pod that is called.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// The port whose policy holds.
    pub(crate) fn policy_port(&self) -> Option<u16> {
        match self {
            Self::Address(address) => Some(address.port()),
            Self::Served(_, port) => Some(*port),
            Self::Name(_) | Self::Behind { .. } | Self::Own(_) => None,
        }
    }
}

impl std::fmt::Display for To {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) | Self::Own(address) | Self::Served(address, _) => {
                address.fmt(f)
            }
            Self::Name(name) => f.write_str(name),
            Self::Behind { name, endpoint } => write!(f, "{name} at {endpoint}"),
        }
    }
}

/// What a connection notes of itself. Ticks are those of the sweep.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) about: About,
    bytes: [AtomicU64; 2],
    touched: AtomicU32,
    /// Since when each way waits for somebody to read; 0 if it does not.
    blocked: [AtomicU32; 2],
    is_half_closed: AtomicBool,
    verdict: AtomicU8,
    waker: AtomicWaker,
}

/// What a sweep sees of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Ticks since a byte passed.
    pub(crate) idle: u32,
    /// Ticks since somebody should have read.
    pub(crate) blocked: u32,
    pub(crate) is_half_closed: bool,
}

impl Entry {
    pub(crate) fn seen(&self, now: u32) -> Seen {
        let since = |tick: &AtomicU32| match tick.load(Relaxed) {
            0 => 0,
            tick => now.saturating_sub(tick),
        };
        Seen {
            idle: since(&self.touched),
            blocked: since(&self.blocked[0]).max(since(&self.blocked[1])),
            is_half_closed: self.is_half_closed.load(Relaxed),
        }
    }

    /// Bytes from the peer, and bytes to it.
    pub(crate) fn bytes(&self) -> [u64; 2] {
        [self.bytes[0].load(Relaxed), self.bytes[1].load(Relaxed)]
    }

    /// Ends the connection at its next turn, which is now.
    pub(crate) fn end(&self, how: Ending) {
        let place = Ending::ALL.iter().position(|ending| *ending == how).unwrap_or_default();
        self.verdict.store(u8::try_from(place).unwrap_or_default() + 1, Relaxed);
        self.waker.wake();
    }
}

/// A connection's hold on its entry, which goes with it.
#[derive(Debug)]
pub(crate) struct Live {
    entry: Arc<Entry>,
    table: Arc<Table>,
    is_new: bool,
}

impl Live {
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// True once.
    pub(crate) fn is_new(&mut self) -> bool {
        std::mem::take(&mut self.is_new)
    }

    /// Bytes passed.
    pub(crate) fn moved(&self, way: Way, len: usize) {
        let counter = &self.entry.bytes[way as usize];
        // Only this connection adds to it: no need to lock the bus.
        counter.store(counter.load(Relaxed) + len as u64, Relaxed);
        self.entry.touched.store(self.table.tick(), Relaxed);
    }

    /// Somebody does not read what waits for them.
    pub(crate) fn blocks(&self, way: Way) {
        let blocked = &self.entry.blocked[way as usize];
        if blocked.load(Relaxed) == 0 {
            blocked.store(self.table.tick(), Relaxed);
        }
    }

    /// All that waited went.
    pub(crate) fn flows(&self, way: Way) {
        let blocked = &self.entry.blocked[way as usize];
        if blocked.load(Relaxed) != 0 {
            blocked.store(0, Relaxed);
            self.entry.touched.store(self.table.tick(), Relaxed);
        }
    }

    pub(crate) fn half_closes(&self) {
        self.entry.is_half_closed.store(true, Relaxed);
        self.entry.touched.store(self.table.tick(), Relaxed);
    }

    /// Whether the connection must end, now or when it is next woken.
    pub(crate) fn poll_verdict(&self, cx: &Context<'_>) -> Option<Ending> {
        self.entry.waker.register(cx.waker());
        let place = self.entry.verdict.load(Relaxed).checked_sub(1)?;
        Ending::ALL.get(usize::from(place)).copied()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.table.remove(&self.entry);
    }
}

/// Sums over connections, inbound and outbound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableSums {
    /// How many are live.
    pub(crate) count: [usize; 2],
    /// Bytes from and to peers, those of connections that ended included.
    pub(crate) bytes: [[u64; 2]; 2],
}

impl std::ops::Add for TableSums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let bytes = |of: usize| [0, 1].map(|way| self.bytes[of][way] + other.bytes[of][way]);
        Self {
            count: [0, 1].map(|of| self.count[of] + other.count[of]),
            bytes: [bytes(0), bytes(1)],
        }
    }
}

/// The live connections of one worker.
#[derive(Debug)]
pub(crate) struct Table {
    tick: AtomicU32,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    entries: BTreeMap<u64, Arc<Entry>>,
    /// Bytes of those that ended, inbound and outbound, from and to peers.
    ended: [[u64; 2]; 2],
    edges: Edges,
}

impl Default for Table {
    fn default() -> Self {
        // 0 means never.
        Self { tick: AtomicU32::new(1), inner: Mutex::default() }
    }
}

impl Table {
    pub(crate) fn tick(&self) -> u32 {
        self.tick.load(Relaxed)
    }

    /// Time goes on by one sweep.
    pub(crate) fn advance(&self) -> u32 {
        self.tick.fetch_add(1, Relaxed) + 1
    }

    pub(crate) fn open(self: &Arc<Self>, about: About) -> Live {
        let mut inner = self.lock();
        inner.next += 1;
        inner.edges.note(&about);
        let entry = Arc::new(Entry {
            id: inner.next,
            about,
            bytes: [AtomicU64::new(0), AtomicU64::new(0)],
            touched: AtomicU32::new(self.tick()),
            blocked: [AtomicU32::new(0), AtomicU32::new(0)],
            is_half_closed: AtomicBool::new(false),
            verdict: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        });
        inner.entries.insert(entry.id, entry.clone());
        Live { entry, table: self.clone(), is_new: true }
    }

    fn remove(&self, entry: &Entry) {
        let mut inner = self.lock();
        let of = entry.about.direction as usize;
        for (sum, bytes) in inner.ended[of].iter_mut().zip(entry.bytes()) {
            *sum += bytes;
        }
        inner.entries.remove(&entry.id);
    }

    /// Looks at all that are live now. What `look` does must not open or end one here and now.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&Entry)) {
        self.lock().entries.values().for_each(|entry| look(entry));
    }

    /// The connection of some that has been idle longest and was not told to end, and for how many ticks.
    pub(crate) fn longest_idle(&self, is_one: fn(&About) -> bool) -> Option<(Arc<Entry>, u32)> {
        let (inner, now) = (self.lock(), self.tick());
        let some = inner
            .entries
            .values()
            .filter(|entry| entry.verdict.load(Relaxed) == 0 && is_one(&entry.about));
        let idle = some.map(|entry| (entry, entry.seen(now).idle));
        idle.max_by_key(|(_, idle)| *idle).map(|(entry, idle)| (entry.clone(), idle))
    }

    /// Who talked to whom so far.
    pub(crate) fn edges(&self) -> Edges {
        self.lock().edges.clone()
    }

    /// How many are live, and what they and those that ended passed on.
    pub(crate) fn sums(&self) -> TableSums {
        let inner = self.lock();
        let mut sums = TableSums { count: [0; 2], bytes: inner.ended };
        for entry in inner.entries.values() {
            let of = entry.about.direction as usize;
            sums.count[of] += 1;
            for (sum, bytes) in sums.bytes[of].iter_mut().zip(entry.bytes()) {
                *sum += bytes;
            }
        }
        sums
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
