//! Bytes through connections that are there, as fast as they go, one way at a time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::figure::{Figure, Way};
use super::found::Found;
use super::load::backend::{Backend, GIVE, TAKE};
use super::load::channel::Channel;
use super::load::client::Group;
use super::load::pattern::{BLOCK, block, check};
use super::peers::Program;
use super::site::Site;
use super::sizes::Sizes;
use super::window::Window;

pub(super) const CASES: [(Way, u32); 4] =
    [(Way::ToServer, 1), (Way::ToServer, 64), (Way::ToClient, 1), (Way::ToClient, 64)];

pub(super) fn measure(
    site: &Site,
    program: &Program,
    sizes: &Sizes,
    found: &mut Found,
) -> anyhow::Result<()> {
    for (way, connections) in CASES {
        let window = window(site, program, sizes, (way, connections))?;
        let cpu = Figure::BulkCpu(way, connections);
        // A microsecond for a byte is a million seconds for 10^12 of them.
        found.add(cpu, program.contender, window.microseconds_each() * 1e3);
        let rate = window.per_second() * 8.0 / 1e9;
        found.add(Figure::BulkRate(way, connections), program.contender, rate);
        found.busy(cpu, program.contender, window.busy(), window.load());
    }
    Ok(())
}

fn window(
    site: &Site,
    program: &Program,
    sizes: &Sizes,
    (way, connections): (Way, u32),
) -> anyhow::Result<Window> {
    let terminator = site.serve(program)?;
    let client = site.client(Group::X25519, &terminator)?;
    let what = match way {
        Way::ToServer => TAKE,
        Way::ToClient => GIVE,
    };
    let flow = &Flow::new(&site.backend, way);
    site.backend.start_giving();
    let channels: anyhow::Result<Vec<_>> = (0..connections).map(|_| client.ask(0, what)).collect();
    let channels = channels?;
    let window = thread::scope(|scope| {
        let streams: Vec<_> =
            channels.into_iter().map(|channel| scope.spawn(move || flow.carry(channel))).collect();
        let window = Window::open(&terminator, sizes.bulk, || flow.arrived(), || flow.is_stopped());
        flow.stop();
        for stream in streams {
            stream.join().map_err(|_| anyhow::anyhow!("a stream panicked"))??;
        }
        window
    })?;
    flow.is_whole()?;
    Ok(window)
}

/// All streams, and how much they have carried.
struct Flow<'a> {
    backend: &'a Backend,
    way: Way,
    /// What the backend had taken, given and found broken before.
    before: [u64; 3],
    /// What the clients have sent or read.
    clients: AtomicU64,
    stop: AtomicBool,
}

impl<'a> Flow<'a> {
    fn new(backend: &'a Backend, way: Way) -> Self {
        let before = [backend.taken(), backend.given(), backend.broken()];
        Self { backend, way, before, clients: AtomicU64::new(0), stop: AtomicBool::new(false) }
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.backend.stop_giving();
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn carry(&self, channel: Channel) -> anyhow::Result<()> {
        let carried = match self.way {
            Way::ToServer => self.send(channel),
            Way::ToClient => self.receive(channel),
        };
        if carried.is_err() {
            self.stop();
        }
        carried
    }

    fn send(&self, mut channel: Channel) -> anyhow::Result<()> {
        let block = block();
        while !self.is_stopped() {
            channel.write(&block)?;
            self.clients.fetch_add(BLOCK as u64, Ordering::Relaxed);
        }
        channel.finish()?;
        // The terminator's own end: then the backend has everything.
        ensure!(channel.read()?.is_none(), "bytes that nobody sent");
        Ok(())
    }

    fn receive(&self, mut channel: Channel) -> anyhow::Result<()> {
        // More would not stay in the cache where there are many.
        channel.read_at_once(BLOCK / 2);
        let mut offset = 0;
        while let Some(piece) = channel.read()? {
            check(offset, piece)?;
            offset += piece.len() as u64;
            self.clients.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        channel.close()
    }

    /// What has come out at the far end.
    fn arrived(&self) -> u64 {
        match self.way {
            Way::ToServer => self.backend.taken(),
            Way::ToClient => self.clients.load(Ordering::Relaxed),
        }
    }

    /// What went in, and what came out.
    fn ends(&self) -> (u64, u64) {
        let [taken, given, _] = self.before;
        let clients = self.clients.load(Ordering::Relaxed);
        match self.way {
            Way::ToServer => (clients, self.backend.taken() - taken),
            Way::ToClient => (self.backend.given() - given, clients),
        }
    }

    /// Whether all that went in came out. A terminator may close towards the client while the
    /// backend still reads what it was sent.
    fn is_whole(&self) -> anyhow::Result<()> {
        let closed = Instant::now();
        while self.ends().0 != self.ends().1 && closed.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(1));
        }
        let (sent, received) = self.ends();
        ensure!(sent == received, "of {sent} bytes {received} arrived");
        ensure!(self.backend.broken() == self.before[2], "streams broke at the backend");
        Ok(())
    }
}
