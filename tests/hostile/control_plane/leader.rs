//! An API server that stalls, and clocks that differ.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use countersign_operator::api_client::Fence;
use countersign_operator::clock::Clock;
use countersign_operator::leader::{CONTROLLER_LEASE, Election, Lost};
use countersign_operator::metrics::ApiRequests;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Config};
use libtest_mimic::Trial;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::leader;
use crate::space::Space;
use crate::world::World;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        leader::{
            replica_with_a_fast_clock_does_not_take_a_held_lease,
            leader_with_a_stalled_connection_stops_writing_before_another_leads,
        }
    }
}

/// Longer than a write takes that is refused.
const PATIENCE: Duration = Duration::from_secs(60);

fn election(space: &Space, client: Client, name: &str, clock: Clock, fence: &Fence) -> Election {
    let (namespace, name) = (&space.namespace, name.to_owned());
    Election::new(client, namespace, CONTROLLER_LEASE, name, clock, fence.clone())
}

/// A clock that is wrong by more than a Lease lasts.
fn ahead() -> Timestamp {
    Clock::system().now() + SignedDuration::from_secs(20)
}

/// Waits until the Lease was renewed so often.
async fn renewals(space: &Space, count: usize) {
    let leases = space.api::<Lease>();
    let mut renewed = BTreeSet::new();
    while renewed.len() <= count {
        let lease = leases.get(CONTROLLER_LEASE).await.expect("a Lease");
        renewed.insert(lease.spec.and_then(|spec| spec.renew_time).expect("a time").0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn replica_with_a_fast_clock_does_not_take_a_held_lease(space: Space) {
    let client = space.client.clone();
    let one = election(&space, client.clone(), "one-1", Clock::system(), &Fence::closed());
    one.won().await;
    let two = election(&space, client, "two-1", Clock::of(ahead), &Fence::closed());
    tokio::select! {
        lost = one.lost() => panic!("{lost}"),
        () = two.won() => panic!("a clock that is ahead takes the Lease"),
        () = renewals(&space, 3) => {}
    }
}

/// A TCP proxy in front of the API server, which can stop to forward.
struct Proxy {
    address: SocketAddr,
    stalled: watch::Sender<bool>,
    _forwarding: JoinSet<()>,
}

impl Proxy {
    async fn start(to: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("it listens");
        let (stalled, is_stalled) = watch::channel(false);
        let mut forwarding = JoinSet::new();
        forwarding.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&to).await.expect("the API server accepts");
                let ((near, to_near), (far, to_far)) = (near.into_split(), far.into_split());
                connections.spawn(forward(near, to_far, is_stalled.clone()));
                connections.spawn(forward(far, to_near, is_stalled.clone()));
            }
        });
        Self { address, stalled, _forwarding: forwarding }
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut stalled: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if stalled.wait_for(|stalled| !stalled).await.is_err()
            || to.write_all(&buffer[..count]).await.is_err()
        {
            return;
        }
    }
}

/// The API server by way of the proxy, which its certificate does not name.
async fn through_proxy(mut config: Config) -> (Config, Proxy) {
    let host = config.cluster_url.host().expect("a host").to_owned();
    let port = config.cluster_url.port_u16().expect("a port");
    let proxy = Proxy::start(format!("{host}:{port}")).await;
    config.cluster_url = format!("https://{}", proxy.address).parse().expect("a URL");
    config.tls_server_name = config.tls_server_name.or(Some(host));
    (config, proxy)
}

/// What a leader writes, and what it was refused.
#[derive(Default)]
struct Writes {
    written: AtomicU64,
    refused: AtomicU64,
}

impl Writes {
    /// Writes again and again, over a connection that works.
    async fn go_on(&self, maps: Api<ConfigMap>) {
        let parameters = PatchParams::apply("leader").force();
        loop {
            let data = json!({ "count": (self.written.load(Ordering::SeqCst) + 1).to_string() });
            let map = json!({ "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": "work" }, "data": data });
            let count = match maps.patch("work", &parameters, &Patch::Apply(&map)).await {
                Ok(_) => &self.written,
                Err(_) => &self.refused,
            };
            count.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn refused(&self, times: u64) {
        let end = self.refused.load(Ordering::SeqCst) + times;
        while self.refused.load(Ordering::SeqCst) < end {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
}

async fn version(maps: &Api<ConfigMap>) -> Option<String> {
    maps.get("work").await.expect("it was written").metadata.resource_version
}

/// Only the connection of the Lease stalls: that of the work is another one, as it is where the API
/// server has several addresses.
pub(crate) async fn leader_with_a_stalled_connection_stops_writing_before_another_leads(
    space: Space,
) {
    let (fence, requests) = (Fence::closed(), ApiRequests::default());
    let (config, proxy) = through_proxy(space.world.config()).await;
    let client = requests.client(config).unwrap();
    let one = election(&space, client, "one-1", Clock::system(), &fence);
    let fenced = requests.fenced_client(space.world.config(), &fence).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(fenced, &space.namespace);
    one.won().await;
    let (writes, work) = (Arc::<Writes>::default(), maps.clone());
    let mut working = JoinSet::new();
    let theirs = writes.clone();
    working.spawn(async move { theirs.go_on(work).await });
    let two = election(&space, space.client.clone(), "two-1", Clock::system(), &Fence::closed());
    let losing = async { (one.lost().await, Instant::now()) };
    let winning = async {
        renewals(&space, 1).await;
        proxy.stalled.send_replace(true);
        two.won().await;
        (version(&maps).await, Instant::now())
    };
    let ((lost, ended), (last, leads)) = tokio::join!(losing, winning);
    assert!(matches!(lost, Lost::Expired(_)), "{lost}");
    assert!(ended < leads, "the leader ends {:?} after another leads", ended - leads);
    assert!(writes.written.load(Ordering::SeqCst) > 0, "it wrote while it led");
    let refused = tokio::time::timeout(PATIENCE, writes.refused(3)).await;
    refused.expect("the writes of a leader that lost its Lease are refused");
    assert_eq!(version(&maps).await, last, "it writes while another leads");
}
