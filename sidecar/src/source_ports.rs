//! Source ports of connections to the application.
//!
//! Both ends of such a connection have the pod's own address, so that for one port of the application
//! there are as many connections as there are local ports, some 28,000. One whose client closed first
//! leaves its port in TIME_WAIT for a minute: at 470 connections a second the kernel has none left to
//! choose. It does let a port in TIME_WAIT be used again at once by a socket that is bound to it
//! (RFC 1122, 4.2.2.13, and RFC 6191: timestamps tell old segments from new ones). So where the kernel
//! has no port, one is chosen here.
//!
//! A port to which a socket was bound is chosen by the kernel for nobody else. That is why only a
//! quarter of them is used so, and only while the kernel has none: the application's own calls have
//! the others.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use crate::pacing;

/// For so long the kernel is not asked again: to find that it has no port, it looks at all of them.
const SCARCE_FOR: Duration = Duration::from_secs(1);

/// How many ports are tried for one connection.
const TRIES: u32 = 256;

/// Linux' own range, where it cannot be read.
const DEFAULT_RANGE: Range<u32> = 32768..61000;

/// Chooses ports for one application.
#[derive(Debug)]
pub(crate) struct SourcePorts {
    started: Instant,
    /// Until when ports are chosen here, in milliseconds since the start.
    scarce_until: AtomicU64,
    next: AtomicU32,
    window: OnceLock<Range<u32>>,
}

impl Default for SourcePorts {
    fn default() -> Self {
        let (scarce_until, next, window) = Default::default();
        Self { started: Instant::now(), scarce_until, next, window }
    }
}

impl SourcePorts {
    /// Connects from `source`; from the address that is called, if unset.
    pub(crate) async fn connect(
        &self,
        to: SocketAddr,
        source: Option<IpAddr>,
    ) -> io::Result<TcpStream> {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.scarce_until.load(Relaxed) <= now {
            let socket = socket(to)?;
            if let Some(source) = source {
                socket.bind(SocketAddr::new(source, 0))?;
            }
            match socket.connect(to).await {
                Err(error) if is_taken(&error) => {
                    let scarce_for = u64::try_from(SCARCE_FOR.as_millis()).unwrap_or(u64::MAX);
                    self.scarce_until.store(now.saturating_add(scarce_for), Relaxed);
                }
                connected => return connected,
            }
        }
        self.connect_from_chosen(to, source.unwrap_or_else(|| to.ip())).await
    }

    async fn connect_from_chosen(&self, to: SocketAddr, source: IpAddr) -> io::Result<TcpStream> {
        let window = self.window.get_or_init(window);
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        for _ in 0..TRIES.min(window.end - window.start) {
            let port = port(window, self.next.fetch_add(1, Relaxed));
            if port == to.port() && source == to.ip() {
                continue;
            }
            let socket = socket(to)?;
            let connected = match socket.bind(SocketAddr::new(source, port)) {
                Ok(()) => socket.connect(to).await,
                Err(error) => Err(error),
            };
            match connected {
                Err(error) if is_taken(&error) => last = error,
                connected => return connected,
            }
        }
        Err(last)
    }
}

/// A socket for a connection within the pod, whose small answers are not held back. Its port may be
/// bound again while it is in TIME_WAIT.
fn socket(to: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    pacing::spare(SockRef::from(&socket));
    socket.set_nodelay(true)?;
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

/// Whether another port may do.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse)
}

fn window() -> Range<u32> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    last_quarter(&range.ok().and_then(|text| parsed(&text)).unwrap_or(DEFAULT_RANGE))
}

/// The two numbers of `ip_local_port_range`, both of which belong to it. Pure.
fn parsed(text: &str) -> Option<Range<u32>> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u16>);
    let (low, high) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (0 < low && low <= high).then(|| u32::from(low)..u32::from(high) + 1)
}

/// Pure.
fn last_quarter(range: &Range<u32>) -> Range<u32> {
    range.end - (range.end - range.start).div_ceil(4)..range.end
}

/// Pure.
fn port(window: &Range<u32>, place: u32) -> u16 {
    u16::try_from(window.start + place % (window.end - window.start)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_ports_is_read_as_the_kernel_writes_it() {
        let cases = [
            ("32768\t60999\n", Some(32768..61000)),
            ("40000 40031", Some(40000..40032)),
            ("1 65535", Some(1..65536)),
            ("0 5", None),
            ("5 4", None),
            ("5", None),
            ("", None),
            ("a b", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parsed(text), expected, "{text:?}");
        }
    }

    #[test]
    fn ports_come_from_the_last_quarter_of_the_range() {
        assert_eq!(last_quarter(&(32768..61000)), 53942..61000);
        assert_eq!(last_quarter(&(7..8)), 7..8);
        let window = last_quarter(&(40000..40032));
        let ports: Vec<_> = (0..9).map(|place| port(&window, place)).collect();
        assert_eq!(ports, [40024, 40025, 40026, 40027, 40028, 40029, 40030, 40031, 40024]);
    }
}
