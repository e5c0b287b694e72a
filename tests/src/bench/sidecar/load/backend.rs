//! The plain server behind every terminator. The first byte of a connection says what it wants.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, bail};

use super::pattern::{BLOCK, block, check};

/// One byte back.
pub(crate) const ECHO: u8 = b'e';
/// One byte back, and then nothing until [`Backend::release`].
pub(crate) const HOLD: u8 = b'h';
/// It takes bytes until their end.
pub(crate) const TAKE: u8 = b't';
/// It gives bytes until [`Backend::stop_giving`].
pub(crate) const GIVE: u8 = b'g';
/// It answers requests until their end.
pub(crate) const ANSWER: u8 = b'a';

/// The bytes of a request, and of its answer.
pub(crate) const REQUEST: usize = 256;
/// The bytes of an answer.
pub(crate) const RESPONSE: usize = 1_024;

/// How many connections may be waiting for their first byte at once.
const ACCEPTORS: usize = 128;

/// A running backend; its threads end with the bench.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    taken: AtomicU64,
    given: AtomicU64,
    stop: AtomicBool,
    held: Mutex<Vec<TcpStream>>,
    broken: AtomicU64,
}

impl Backend {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
        // Those that are accepted inherit it.
        super::unpaced((&*listener).into()).context("choosing the congestion control")?;
        let shared = Arc::new(Shared::default());
        for _ in 0..ACCEPTORS {
            let (listener, shared) = (Arc::clone(&listener), Arc::clone(&shared));
            thread::Builder::new()
                .stack_size(64 * 1024)
                .spawn(move || listener.incoming().flatten().for_each(|one| one_by(one, &shared)))
                .context("starting the backend")?;
        }
        Ok(Self { address: listener.local_addr()?, shared })
    }

    /// All bytes that were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.shared.taken.load(Ordering::Relaxed)
    }

    /// All bytes that were given.
    pub(crate) fn given(&self) -> u64 {
        self.shared.given.load(Ordering::Relaxed)
    }

    /// How many streams carried something else than what was sent.
    pub(crate) fn broken(&self) -> u64 {
        self.shared.broken.load(Ordering::Relaxed)
    }

    pub(crate) fn start_giving(&self) {
        self.shared.stop.store(false, Ordering::Relaxed);
    }

    pub(crate) fn stop_giving(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Closes all connections that are held, and tells how many they were.
    pub(crate) fn release(&self) -> usize {
        let mut held = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *held).len()
    }
}

/// Serves one connection here if that is quick, and else in a thread of its own.
fn one_by(mut stream: TcpStream, shared: &Arc<Shared>) {
    let mut what = [0];
    // A terminator may connect before it knows its client, and go away.
    if stream.read_exact(&mut what).is_err() {
        return;
    }
    match what[0] {
        ECHO => {
            let _gone = stream.write_all(&what).and_then(|()| stream.read(&mut [0; 64]));
        }
        HOLD => {
            let _gone = stream.write_all(&what);
            shared.held.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        }
        what => {
            let shared = Arc::clone(shared);
            thread::spawn(move || {
                if long(what, stream, &shared).is_err() {
                    shared.broken.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
}

fn long(what: u8, stream: TcpStream, shared: &Shared) -> anyhow::Result<()> {
    match what {
        TAKE => take(stream, shared),
        GIVE => give(stream, shared),
        ANSWER => answer(stream),
        other => bail!("a connection that wants {other}"),
    }
}

fn take(mut stream: TcpStream, shared: &Shared) -> anyhow::Result<()> {
    let (mut buffer, mut offset) = (vec![0; BLOCK], 0);
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        check(offset, &buffer[..read])?;
        offset += read as u64;
        shared.taken.fetch_add(read as u64, Ordering::Relaxed);
    }
}

fn give(mut stream: TcpStream, shared: &Shared) -> anyhow::Result<()> {
    let block = block();
    while !shared.stop.load(Ordering::Relaxed) {
        stream.write_all(&block)?;
        shared.given.fetch_add(BLOCK as u64, Ordering::Relaxed);
    }
    stream.shutdown(Shutdown::Write)?;
    // Until the other side has everything.
    while stream.read(&mut [0; 64])? > 0 {}
    Ok(())
}

fn answer(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (mut request, response) = ([0; REQUEST], [b'.'; RESPONSE]);
    // The end comes between two requests, or is a reset when the bench has ended the terminator.
    while stream.read_exact(&mut request).is_ok() {
        stream.write_all(&response)?;
    }
    Ok(())
}
