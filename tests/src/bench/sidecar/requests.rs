//! Small requests over connections that are kept, at a steady rate. Each latency counts from when
//! the request was due, whether or not those before it had been answered.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::super::schedule::Schedule;
use super::super::statistics::per_mille;
use super::figure::Figure;
use super::found::Found;
use super::load::backend::{ANSWER, REQUEST, RESPONSE};
use super::load::channel::Channel;
use super::load::client::Group;
use super::peers::Program;
use super::site::Site;
use super::sizes::Sizes;
use super::terminator::Terminator;

pub(super) const RATES: [u32; 2] = [2_000, 8_000];

/// In thousandths.
pub(super) const SHARES: [u16; 3] = [500, 990, 999];

const CONNECTIONS: u32 = 32;

/// Requests of each connection that come before, and do not count.
const WARM_UP: usize = 20;

pub(super) fn measure(
    site: &Site,
    program: &Program,
    sizes: &Sizes,
    found: &mut Found,
) -> anyhow::Result<()> {
    let terminator = site.serve(program)?;
    for rate in RATES {
        let schedule = Schedule::new(rate, CONNECTIONS);
        let (latencies, cpu) = steady(site, &terminator, schedule, sizes.requests)?;
        found.add(Figure::RequestCpu(rate), program.contender, cpu / latencies.len() as f64);
        for share in SHARES {
            let latency = per_mille(&latencies, share.into()).context("no request")?;
            found.add(Figure::RequestTime(rate, share), program.contender, latency);
        }
    }
    Ok(())
}

/// Every latency, and the processor's time for all, in microseconds.
fn steady(
    site: &Site,
    terminator: &Terminator,
    schedule: Schedule,
    length: Duration,
) -> anyhow::Result<(Vec<f64>, f64)> {
    let client = site.client(Group::X25519, terminator)?;
    let channels: anyhow::Result<Vec<Channel>> =
        (0..CONNECTIONS).map(|_| client.ask(0, ANSWER)).collect();
    let channels = channels?;
    let count = schedule.each(length);
    let ready = &Barrier::new(channels.len() + 1);
    thread::scope(|scope| {
        let senders: Vec<_> = (0..)
            .zip(channels)
            .map(|(sender, channel)| {
                let due = (0..count).map(move |nth| schedule.due(sender, nth));
                scope.spawn(move || send(channel, due, ready))
            })
            .collect();
        // Once when all are warm, and once more when their time has been looked at.
        ready.wait();
        let before = terminator.spent();
        ready.wait();
        let mut latencies = Vec::new();
        for sender in senders {
            latencies.extend(sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??);
        }
        Ok((latencies, terminator.spent()?.since(before?).microseconds()))
    })
}

fn send(
    mut channel: Channel,
    due: impl Iterator<Item = Duration>,
    ready: &Barrier,
) -> anyhow::Result<Vec<f64>> {
    let warm = (0..WARM_UP).try_for_each(|_| exchange(&mut channel));
    ready.wait();
    ready.wait();
    warm?;
    // Nobody is late because the others were not let go yet.
    let start = Instant::now() + Duration::from_millis(5);
    let latencies = due.map(|due| {
        let due = start + due;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        exchange(&mut channel)?;
        Ok(due.elapsed().as_secs_f64() * 1e6)
    });
    let latencies: anyhow::Result<Vec<f64>> = latencies.collect();
    channel.close()?;
    latencies
}

/// A request, and its answer.
pub(super) fn exchange(channel: &mut Channel) -> anyhow::Result<()> {
    channel.write(&[b'.'; REQUEST])?;
    channel.read_exact(RESPONSE)
}
