use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// The server on a free port; a source of the metrics that never ends, where one is wanted.
async fn start(limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let readiness = Arc::<Readiness>::default();
    readiness.started();
    readiness.webhook_is_ready();
    let router =
        router(Exposition::new(Registry::default(), crate::metrics::Objects::none()), readiness);
    tokio::spawn(connections::serve(
        listener,
        Transport::Plain,
        router,
        limits,
        CancellationToken::new(),
    ));
    address
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn idle_strangers_do_not_stop_probes() {
    let address = start(Limits { connections: 4, ..LIMITS }).await;
    let mut idle = Vec::new();
    for _ in 0..32 {
        idle.push(TcpStream::connect(address).await.unwrap());
        assert_eq!(get(address, "/livez").await, "HTTP/1.1 200 OK");
        assert_eq!(get(address, "/readyz").await, "HTTP/1.1 200 OK");
    }
    // No more of them are held than there may be connections: the oldest ones were closed.
    for old in &mut idle[..28] {
        let read = tokio::time::timeout(Duration::from_secs(5), old.read(&mut [0])).await;
        assert!(matches!(read.expect("still connected"), Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn a_caller_that_does_not_end_its_head_is_cut() {
    let address = start(Limits { request: Duration::from_millis(50), ..LIMITS }).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nhost:").await.unwrap();
    let mut answer = Vec::new();
    // The end may come with a word or without: it is the end that matters.
    let ended = tokio::time::timeout(Duration::from_secs(5), slow.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "still connected");
}

#[test]
fn metrics_are_read_by_one_caller_from_each_address_and_two_in_all() {
    let scrapes = Arc::<Scrapes>::default();
    let [one, two, three] = [1, 2, 3].map(|last| IpAddr::from([10, 0, 0, last]));
    let first = scrapes.begin(one);
    assert!(first.is_some());
    assert!(scrapes.begin(one).is_none(), "the same address");
    let second = scrapes.begin(two);
    assert!(second.is_some());
    assert!(scrapes.begin(three).is_none(), "a third one");
    drop(first);
    assert!(scrapes.begin(three).is_some());
}
