//! Attackers without a certificate: what each of them does, over and over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::beat;
use crate::bench::background::Background;
use crate::soak::stranger::Stranger;

/// How many connections idle strangers hold at once, and how many those hold who are after descriptors.
const IDLE: usize = 400;
const GREEDY: usize = 1200;

/// How often a flood begins a handshake that comes to nothing.
const FLOOD: Duration = Duration::from_millis(5);

/// How long one waits that found no room.
const PAUSE: Duration = Duration::from_secs(1);

/// One kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Attack {
    /// Connections that are held open, silent or in the middle of a ClientHello.
    Idle,
    /// Handshakes that come to nothing, one after the other.
    Handshakes,
    /// More connections than the sidecar may have descriptors, from many addresses.
    Descriptors,
    /// The reader of the sidecars' logs stops.
    Log,
}

impl Attack {
    pub(super) const ALL: [Self; 4] = [Self::Idle, Self::Handshakes, Self::Descriptors, Self::Log];
}

/// Attackers that go on until this goes.
pub(super) struct Strangers {
    _runtime: Background,
    opened: Arc<AtomicU64>,
    floods: Arc<AtomicU64>,
}

impl Strangers {
    pub(super) fn start(
        attacks: &[Attack],
        at: SocketAddr,
        without: &Arc<ClientConfig>,
    ) -> anyhow::Result<Self> {
        let runtime = Background::start()?;
        let all = runtime.handle();
        let (opened, floods) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let is = |attack| attacks.contains(&attack);
        let held = if is(Attack::Idle) { IDLE } else { 0 };
        let held = held + if is(Attack::Descriptors) { GREEDY } else { 0 };
        for number in 0..held {
            drop(all.spawn(hold(at, number % 2 == 0, opened.clone())));
        }
        if is(Attack::Handshakes) {
            drop(all.spawn(flood(at, without.clone(), floods.clone())));
        }
        Ok(Self { _runtime: runtime, opened, floods })
    }

    /// What they did so far, in a line.
    pub(super) fn done(&self) -> String {
        let (opened, floods) = (self.opened.load(Relaxed), self.floods.load(Relaxed));
        format!("strangers: {opened} connections held, {floods} handshakes")
    }
}

/// Holds a connection until it is cut, and comes again.
async fn hold(at: SocketAddr, is_silent: bool, opened: Arc<AtomicU64>) {
    loop {
        let held = async {
            let mut stream = from_somewhere(at).await?;
            opened.fetch_add(1, Relaxed);
            if !is_silent {
                stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).await?;
            }
            stream.read_to_end(&mut Vec::new()).await
        };
        if held.await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn flood(at: SocketAddr, without: Arc<ClientConfig>, done: Arc<AtomicU64>) {
    const KINDS: [Stranger; 5] = [
        Stranger::WithoutCertificate,
        Stranger::Garbage,
        Stranger::BreaksOff,
        Stranger::Http,
        Stranger::Gone,
    ];
    let mut ticks = beat(FLOOD);
    let mut strangers = JoinSet::new();
    for stranger in KINDS.into_iter().cycle() {
        ticks.tick().await;
        let (without, done) = (without.clone(), done.clone());
        strangers.spawn(async move {
            drop(stranger.tries(at, &without).await);
            done.fetch_add(1, Relaxed);
        });
        while strangers.try_join_next().is_some() {}
    }
}

/// From addresses that no good client has.
async fn from_somewhere(to: SocketAddr) -> std::io::Result<TcpStream> {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let last = 1 + NEXT.fetch_add(1, Relaxed) % 250;
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 66, last], 0).into())?;
    socket.connect(to).await
}
