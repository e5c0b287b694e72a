//! Calls from a pod, and how long each took, in milliseconds.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::super::schedule::Schedule;
use super::pod::Pod;

pub(super) const RATE: u32 = 500;
pub(super) const CONNECTIONS: u32 = 8;

/// Requests of each connection that come before, and do not count.
const WARM_UP: usize = 50;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: server\r\n\r\n";
const END: &[u8] = b"\r\n\r\nanswered\n";
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests at a steady rate over connections that are kept. A time counts from when the request is
/// sent, or, where an answer before it came too late for that, from when it was due: a slow answer
/// cannot hide those behind it, and how late the machine wakes the client is not the server's fault.
pub(super) fn kept(pod: &Pod, server: SocketAddr, length: Duration) -> anyhow::Result<Vec<f64>> {
    let schedule = Schedule::new(RATE, CONNECTIONS);
    let count = schedule.each(length);
    let ready = &Barrier::new(CONNECTIONS as usize);
    thread::scope(|scope| {
        let sender = |sender: u32| {
            let due = (0..count).map(move |nth| schedule.due(sender, nth));
            scope.spawn(move || {
                let warm = pod.enter().and_then(|()| warm(server));
                ready.wait();
                send(&mut warm?, due)
            })
        };
        let senders: Vec<_> = (0..CONNECTIONS).map(sender).collect();
        let mut times = Vec::new();
        for sender in senders {
            times.extend(sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??);
        }
        Ok(times)
    })
}

/// A connection to somebody who was not called before, and one request.
pub(super) fn first(pod: &Pod, server: SocketAddr) -> anyhow::Result<f64> {
    within(pod, || {
        let start = Instant::now();
        let mut stream = connect(server)?;
        exchange(&mut stream)?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    })
}

/// Whether somebody accepts there.
pub(super) fn accepts(pod: &Pod, server: SocketAddr) -> anyhow::Result<bool> {
    within(pod, || Ok(TcpStream::connect_timeout(&server, Duration::from_secs(1)).is_ok()))
}

fn within<T: Send>(
    pod: &Pod,
    call: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let called = scope.spawn(|| pod.enter().and_then(|()| call()));
        called.join().map_err(|_| anyhow::anyhow!("a caller panicked"))?
    })
}

fn warm(server: SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = connect(server)?;
    (0..WARM_UP).try_for_each(|_| exchange(&mut stream))?;
    Ok(stream)
}

fn send(stream: &mut TcpStream, due: impl Iterator<Item = Duration>) -> anyhow::Result<Vec<f64>> {
    let start = Instant::now() + Duration::from_millis(5);
    due.map(|due| {
        let due = start + due;
        let wait = due.saturating_duration_since(Instant::now());
        thread::sleep(wait);
        let sent = if wait.is_zero() { due } else { Instant::now() };
        exchange(stream)?;
        Ok(sent.elapsed().as_secs_f64() * 1e3)
    })
    .collect()
}

fn connect(server: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE)
        .with_context(|| format!("connecting to {server}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream) -> anyhow::Result<()> {
    stream.write_all(REQUEST).context("sending a request")?;
    let (mut answer, mut len) = ([0; 1024], 0);
    while !answer[..len].ends_with(END) {
        ensure!(len < answer.len(), "a strange answer: {}", answer.escape_ascii());
        let read = stream.read(&mut answer[len..]).context("reading an answer")?;
        ensure!(read > 0, "closed after {len} bytes of an answer");
        len += read;
    }
    Ok(())
}
