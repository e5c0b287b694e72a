//! The certificate is replaced each second, while clients come at a steady rate and others stay and
//! exchange bytes all the time: nothing may fail, and the new serial number is to be seen soon.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::super::schedule::Schedule;
use super::figure::Figure;
use super::found::Found;
use super::load::backend::ANSWER;
use super::load::channel::Channel;
use super::load::client::{Client, Group};
use super::peers::Program;
use super::requests::exchange;
use super::sightings::Sightings;
use super::site::Site;
use super::sizes::Sizes;
use super::volume::Volume;

/// New connections a second.
const RATE: u32 = 500;
/// Who makes them.
const CLIENTS: u8 = 8;
/// Connections that stay.
const LIVE: usize = 200;
/// How many of them are served in turn.
const IN_TURN: usize = 25;
const EACH: Duration = Duration::from_secs(1);
/// The last certificate may be seen after the end, too.
const AFTER: Duration = Duration::from_secs(3);

pub(super) fn measure(
    site: &Site,
    program: &Program,
    sizes: &Sizes,
    found: &mut Found,
) -> anyhow::Result<()> {
    let first = site.authority.leaf()?;
    let mut volume = Volume::new(site.folder.join("volume"), &site.authority, &first)?;
    let mut terminator = site.spawn(program, "volume")?;
    let client = site.client(Group::X25519, &terminator)?;
    terminator.serves(&client)?;
    let traffic = &Traffic::new(client);
    traffic.place(first.der());
    let channels: anyhow::Result<Vec<Channel>> =
        (0..LIVE).map(|_| traffic.client.ask(100, ANSWER)).collect();
    let mut channels = channels?;
    thread::scope(|scope| {
        for from in 0..CLIENTS {
            scope.spawn(move || traffic.come(from, sizes.reload + AFTER));
        }
        for live in channels.chunks_mut(IN_TURN) {
            scope.spawn(move || traffic.stay(live));
        }
        let replaced = replace(site, &mut volume, traffic, sizes.reload);
        thread::sleep(AFTER);
        traffic.stop.store(true, Ordering::Relaxed);
        replaced
    })?;
    traffic.tell(program, found);
    Ok(())
}

fn replace(
    site: &Site,
    volume: &mut Volume,
    traffic: &Traffic,
    length: Duration,
) -> anyhow::Result<()> {
    while traffic.start.elapsed() < length {
        thread::sleep(EACH);
        let leaf = site.authority.leaf()?;
        volume.replace(&site.authority, &leaf)?;
        traffic.place(leaf.der());
    }
    Ok(())
}

/// Everybody who talks to the terminator meanwhile.
struct Traffic {
    client: Client,
    start: Instant,
    sightings: Mutex<Sightings>,
    failed: AtomicU64,
    dropped: AtomicU64,
    /// What the first failures were.
    said: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Traffic {
    fn new(client: Client) -> Self {
        Self {
            client,
            start: Instant::now(),
            sightings: Mutex::default(),
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            said: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    fn place(&self, certificate: &[u8]) {
        let mut sightings = self.sightings.lock().unwrap_or_else(PoisonError::into_inner);
        sightings.place(certificate, self.start.elapsed());
    }

    /// One of those who come, shake hands, and go.
    fn come(&self, from: u8, length: Duration) {
        let schedule = Schedule::new(RATE, CLIENTS.into());
        for nth in 0..schedule.each(length) {
            let due = self.start + schedule.due(from.into(), nth);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            match self.client.echo(from) {
                Ok(server) => {
                    let mut sightings =
                        self.sightings.lock().unwrap_or_else(PoisonError::into_inner);
                    sightings.see(&server, self.start.elapsed());
                }
                Err(error) => self.failure(&self.failed, &error),
            }
        }
    }

    /// Those who stay; who is dropped says so once.
    fn stay(&self, live: &mut [Channel]) {
        let mut live: Vec<&mut Channel> = live.iter_mut().collect();
        while !self.stop.load(Ordering::Relaxed) {
            live.retain_mut(|channel| match exchange(channel) {
                Ok(()) => true,
                Err(error) => {
                    self.failure(&self.dropped, &error);
                    false
                }
            });
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn failure(&self, counter: &AtomicU64, error: &anyhow::Error) {
        if counter.fetch_add(1, Ordering::Relaxed) == 0 {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push(format!("reload: {error:#}"));
        }
    }

    fn tell(&self, program: &Program, found: &mut Found) {
        let sightings = self.sightings.lock().unwrap_or_else(PoisonError::into_inner);
        let slowest = sightings.slowest(self.start.elapsed()).as_secs_f64();
        let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        found.add(Figure::ReloadFailed, program.contender, counted(&self.failed));
        found.add(Figure::ReloadDropped, program.contender, counted(&self.dropped));
        found.add(Figure::ReloadSeen, program.contender, slowest);
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        found.failures.extend(said.iter().cloned());
    }
}
