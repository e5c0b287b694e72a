//! The floor: what rustls takes for the server's side of the same handshake in memory, and AES-128-GCM
//! for the same records. No socket, no runtime: nobody who uses both can be below.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use rustix::time::{ClockId, clock_gettime};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::bulk;
use super::contender::Contender;
use super::figure::{Figure, Way};
use super::found::Found;
use super::handshakes;
use super::load::client::{Client, Group};
use super::load::record::{FULL, Half, Kind, OVERHEAD};
use super::site::Site;

const HANDSHAKES: u32 = 500;

/// 160 MB of records.
const RECORDS: u32 = 10_000;

/// The time that this thread has run.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), nanoseconds)
}

/// The floor of each handshake; whether a peer was seen before makes no difference to rustls.
pub(super) fn handshakes(site: &Site, found: &mut Found) -> anyhow::Result<()> {
    for group in [Group::X25519, Group::X25519MlKem768] {
        let each = handshake(site, group)?.as_secs_f64() * 1e6 / f64::from(HANDSHAKES);
        let rows = handshakes::CASES.into_iter().filter(|(of, _)| *of == group);
        rows.for_each(|(group, peer)| {
            found.add(Figure::HandshakeCpu(group, peer), Contender::Floor, each);
        });
    }
    Ok(())
}

fn handshake(site: &Site, group: Group) -> anyhow::Result<Duration> {
    let server = server(site, group)?;
    // It never connects: only its configuration is used.
    let client = Client::new(group, Arc::clone(&site.client), site.backend.address)?;
    let mut spent = Duration::ZERO;
    for _ in 0..HANDSHAKES {
        spent += one(Arc::clone(&server), client.in_memory()?)?;
    }
    Ok(spent)
}

fn server(site: &Site, group: Group) -> anyhow::Result<Arc<ServerConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(site.authority.root.der().clone())?;
    let provider = group.provider();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let leaf = site.authority.leaf()?.certified()?;
    let resolver = rustls::sign::SingleCertAndKey::from(leaf);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(clients.build()?)
        .with_cert_resolver(Arc::new(resolver));
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// One handshake, and how long the server's calls took.
fn one(config: Arc<ServerConfig>, mut client: ClientConnection) -> anyhow::Result<Duration> {
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let start = thread_time();
    let mut server = ServerConnection::new(config)?;
    let mut spent = thread_time() - start;
    for _ in 0..3 {
        while client.wants_write() {
            client.write_tls(&mut to_server)?;
        }
        let start = thread_time();
        let mut input = to_server.as_slice();
        while !input.is_empty() {
            server.read_tls(&mut input)?;
            server.process_new_packets()?;
        }
        while server.wants_write() {
            server.write_tls(&mut to_client)?;
        }
        spent += thread_time() - start;
        let mut input = to_client.as_slice();
        while !input.is_empty() {
            client.read_tls(&mut input)?;
            client.process_new_packets()?;
        }
        to_server.clear();
        to_client.clear();
    }
    ensure!(!server.is_handshaking() && !client.is_handshaking(), "no handshake in memory");
    Ok(spent)
}

/// The floor of each stream: records are opened on their way to the server, and sealed to the client.
pub(super) fn bulk(found: &mut Found) -> anyhow::Result<()> {
    let half = || Half::with_key(&[1; 16], [2; 12], 0);
    let (mut sealing, mut opening) = (half()?, half()?);
    let (plain, mut sealed) = (vec![b'.'; FULL], Vec::with_capacity(FULL + OVERHEAD));
    let (mut seal, mut open) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..RECORDS {
        sealed.clear();
        let start = thread_time();
        sealing.seal(Kind::Data, &plain, &mut sealed)?;
        let between = thread_time();
        opening.open(&mut sealed)?;
        seal += between - start;
        open += thread_time() - between;
    }
    let bytes = f64::from(RECORDS) * FULL as f64;
    for (way, connections) in bulk::CASES {
        let spent = match way {
            Way::ToServer => open,
            Way::ToClient => seal,
        };
        let each = spent.as_secs_f64() * 1e9 / bytes;
        found.add(Figure::BulkCpu(way, connections), Contender::Floor, each);
    }
    Ok(())
}
