//! What a terminator holds: idle, with connections that stand idle, and some time after they closed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::contender::Contender;
use super::cores::most_connections;
use super::figure::Figure;
use super::found::Found;
use super::load::backend::HOLD;
use super::load::channel::Channel;
use super::load::client::{Client, Group};
use super::peers::Program;
use super::site::Site;
use super::sizes::Sizes;
use super::terminator::Terminator;

/// How many connections are made at once.
const CLIENTS: u8 = 16;

/// A terminator after all its connections were closed.
pub(super) struct Left {
    terminator: Terminator,
    pub(super) contender: Contender,
    closed: Instant,
    idle: f64,
    most: u32,
}

pub(super) fn measure(
    site: &Site,
    program: &Program,
    sizes: &Sizes,
    found: &mut Found,
) -> anyhow::Result<Left> {
    // Those that another one's failure has left.
    site.backend.release();
    let terminator = site.serve(program)?;
    let contender = program.contender;
    let client = site.client(Group::X25519, &terminator)?;
    let idle = settled(&terminator)?;
    found.add(Figure::MemoryIdle, contender, idle);
    let mut channels = Vec::new();
    for count in sizes.idle {
        // Fewer where the machine does not allow as many files.
        let count = (*count).min(most_connections());
        let wanted = usize::try_from(count)?.saturating_sub(channels.len());
        channels.extend(opened(&client, wanted)?);
        let each = (settled(&terminator)? - idle) * 1e3 / f64::from(count);
        found.add(Figure::MemoryEach(count), contender, each);
    }
    let most = channels.len();
    channels.into_iter().try_for_each(Channel::close)?;
    let held = site.backend.release();
    ensure!(held == most, "of {most} connections {held} were there to the end");
    Ok(Left { terminator, contender, closed: Instant::now(), idle, most: u32::try_from(most)? })
}

impl Left {
    /// Waits until the time has come, and looks what was given back.
    pub(super) fn look_again(self, sizes: &Sizes, found: &mut Found) -> anyhow::Result<()> {
        thread::sleep(sizes.after.saturating_sub(self.closed.elapsed()));
        let share = self.terminator.resident()? / self.idle * 100.0;
        found.add(Figure::MemoryAfter(self.most), self.contender, share);
        Ok(())
    }
}

/// Opens connections, each of which has a byte echoed and then stands idle.
fn opened(client: &Client, count: usize) -> anyhow::Result<Vec<Channel>> {
    let missing = AtomicU32::new(u32::try_from(count)?);
    let open = |from: u8| -> anyhow::Result<Vec<Channel>> {
        let mut channels = Vec::new();
        while missing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            let mut channel = client.ask(from, HOLD)?;
            channel.read_exact(1)?;
            channel.rest();
            channels.push(channel);
        }
        Ok(channels)
    };
    thread::scope(|scope| {
        let open = &open;
        let clients: Vec<_> = (0..CLIENTS).map(|from| scope.spawn(move || open(from))).collect();
        let mut channels = Vec::with_capacity(count);
        for client in clients {
            channels.extend(client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        Ok(channels)
    })
}

fn less(missing: u32) -> Option<u32> {
    missing.checked_sub(1)
}

/// What it holds, once that does not change any more.
fn settled(terminator: &Terminator) -> anyhow::Result<f64> {
    let mut last = terminator.resident()?;
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(100));
        let now = terminator.resident()?;
        if (now - last).abs() < 0.01 {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}
