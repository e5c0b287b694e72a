//! New mutual handshakes, as many as go: connect, shake hands, have a byte echoed, close.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use anyhow::ensure;
use rustls::sign::CertifiedKey;

use super::figure::{Figure, Peer};
use super::found::Found;
use super::load::client::{Client, Group};
use super::peers::Program;
use super::site::Site;
use super::sizes::Sizes;
use super::window::Window;

/// How many clients come again and again.
const CLIENTS: u8 = 16;

pub(super) const CASES: [(Group, Peer); 4] = [
    (Group::X25519, Peer::SeenBefore),
    (Group::X25519, Peer::NeverSeen),
    (Group::X25519MlKem768, Peer::SeenBefore),
    (Group::X25519MlKem768, Peer::NeverSeen),
];

pub(super) fn measure(
    site: &Site,
    program: &Program,
    sizes: &Sizes,
    found: &mut Found,
) -> anyhow::Result<()> {
    for (group, peer) in CASES {
        if group == Group::X25519 || program.is_post_quantum() {
            let window = window(site, program, sizes, (group, peer))?;
            let cpu = Figure::HandshakeCpu(group, peer);
            found.add(cpu, program.contender, window.microseconds_each());
            found.add(Figure::HandshakeRate(group, peer), program.contender, window.per_second());
            found.busy(cpu, program.contender, window.busy(), window.load());
        }
    }
    Ok(())
}

fn window(
    site: &Site,
    program: &Program,
    sizes: &Sizes,
    (group, peer): (Group, Peer),
) -> anyhow::Result<Window> {
    let terminator = site.serve(program)?;
    let client = site.client(group, &terminator)?;
    let crowd = Crowd {
        client,
        strangers: match peer {
            Peer::SeenBefore => None,
            Peer::NeverSeen => Some(&site.strangers),
        },
        next: AtomicUsize::new(0),
        served: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    let crowd = &crowd;
    thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|from| scope.spawn(move || crowd.come(from))).collect();
        let count = || crowd.served.load(Ordering::Relaxed);
        let window = Window::open(&terminator, sizes.handshakes, count, || crowd.is_used_up());
        crowd.stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        let window = window?;
        ensure!(window.count > 0, "no handshake");
        Ok(window)
    })
}

/// All clients, and what they have done.
struct Crowd<'a> {
    client: Client,
    strangers: Option<&'a [Arc<CertifiedKey>]>,
    next: AtomicUsize,
    served: AtomicU64,
    stop: AtomicBool,
}

impl Crowd<'_> {
    /// One client: until it is told to stop, until no stranger is left, or until one fails.
    fn come(&self, from: u8) -> anyhow::Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(client) = self.next() else { return Ok(()) };
            if let Err(error) = client.echo(from) {
                self.stop.store(true, Ordering::Relaxed);
                return Err(error);
            }
            self.served.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn next(&self) -> Option<Client> {
        let Some(strangers) = self.strangers else { return Some(self.client.clone()) };
        let stranger = strangers.get(self.next.fetch_add(1, Ordering::Relaxed))?;
        Some(self.client.presenting(Arc::clone(stranger)))
    }

    fn is_used_up(&self) -> bool {
        let stopped = self.stop.load(Ordering::Relaxed);
        let next = self.next.load(Ordering::Relaxed);
        stopped || self.strangers.is_some_and(|strangers| next >= strangers.len())
    }
}
