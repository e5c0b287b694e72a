use std::time::Duration;

use clap::Parser;
use rustls::pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::inject::{keep, own_certificate};

mod clients;

const NAME: &str = "countersign-webhook.countersign-system.svc";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: InjectArgs,
}

/// A webhook on a free port, and a client that trusts it.
struct Webhook {
    address: SocketAddr,
    client: TlsConnector,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Webhook {
    async fn start(limits: Limits) -> Self {
        Self::start_with(limits, BUDGET).await
    }

    async fn start_with(limits: Limits, budget: usize) -> Self {
        Self::start_trusted(limits, budget, None).await.0
    }

    /// Also tells by which CAs the webhook is known.
    async fn start_trusted(
        limits: Limits,
        budget: usize,
        clients: Option<Arc<ClientAuthority>>,
    ) -> (Self, String) {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let names = [NAME.to_owned()];
        let secret = own_certificate::made(None, "countersign-system", &names, now).unwrap();
        let own = own_certificate::usable(Some(&secret), &names, now).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let current = Arc::new(Current::default());
        current.serve(keep::certified(&own, &provider).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(Line::parse_from(["test"]).args, Budget::new(budget));
        let stop = CancellationToken::new();
        let transport = Transport::Tls(tls(provider.clone(), current, clients).unwrap());
        let served =
            tokio::spawn(connections::serve(listener, transport, router, limits, stop.clone()));
        let client = trusting(&own.authorities, provider);
        (Self { address, client, stop, served }, own.authorities)
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        self.client.connect(ServerName::try_from(NAME).unwrap(), tcp).await.unwrap()
    }

    /// The status and the body of the answer.
    async fn post(&self, path: &str, body: &[u8]) -> (String, Vec<u8>) {
        let (answer, mut request) = tokio::io::split(self.connect().await);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let whole = [head.as_bytes(), body].concat();
        // A refused request need not be read to its end. What is written is on its way only once it
        // is flushed: where the socket was full, the last of it would lie here.
        tokio::spawn(async move {
            request.write_all(&whole).await?;
            request.flush().await
        });
        let text = until_the_end(answer).await;
        let end = text.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let status = String::from_utf8_lossy(&text[..end]).lines().next().unwrap().to_owned();
        (status, text[end + 4..].to_vec())
    }
}

/// What is read until the other side ends the connection, which it must do soon: long before any
/// limit that the test did not set.
async fn until_the_end(mut connection: impl AsyncReadExt + Unpin) -> Vec<u8> {
    let mut said = Vec::new();
    // The end may come with a word or without: it is the end that matters.
    let read = connection.read_to_end(&mut said);
    let _ = timeout(Duration::from_secs(5), read).await.expect("still connected");
    said
}

/// A client at the time of the certificate, whatever the time is.
#[derive(Debug)]
struct NewYear;

impl rustls::time_provider::TimeProvider for NewYear {
    fn current_time(&self) -> Option<rustls_pki_types::UnixTime> {
        Some(rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_660)))
    }
}

fn trusting(authorities: &str, provider: Arc<CryptoProvider>) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        roots.add(authority.unwrap()).unwrap();
    }
    let client = rustls::ClientConfig::builder_with_details(provider, Arc::new(NewYear))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(client))
}

fn review_of_a_pod() -> Vec<u8> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "name": "web",
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {},
            "object": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": { "name": "web" },
                "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
            },
        },
    });
    serde_json::to_vec(&review).unwrap()
}

#[tokio::test]
async fn a_pod_is_injected_over_https_by_a_webhook_that_its_ca_bundle_verifies() {
    let webhook = Webhook::start(LIMITS).await;
    let (status, body) = webhook.post("/inject", &review_of_a_pod()).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["response"]["uid"], "u-1");
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
}

#[tokio::test]
async fn what_is_no_review_or_too_large_a_one_is_refused() {
    let webhook = Webhook::start(LIMITS).await;
    let (status, _) = webhook.post("/inject", b"{}").await;
    assert!(status.starts_with("HTTP/1.1 4"), "{status}");
    let mut too_large = review_of_a_pod();
    too_large.resize(LARGEST_REVIEW + 1, b' ');
    let (status, _) = webhook.post("/inject", &too_large).await;
    assert_eq!(status, "HTTP/1.1 413 Payload Too Large");
    let (status, _) = webhook.post("/elsewhere", b"{}").await;
    assert_eq!(status, "HTTP/1.1 404 Not Found");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_off_before_and_after_its_handshake() {
    let soon = Duration::from_millis(50);
    let limits = Limits { handshake: soon, ..LIMITS };
    let webhook = Webhook::start(limits).await;
    let silent = TcpStream::connect(webhook.address).await.unwrap();
    assert!(until_the_end(silent).await.is_empty());

    let webhook = Webhook::start(Limits { request: soon, ..LIMITS }).await;
    let mut silent = webhook.connect().await;
    silent.write_all(b"POST /inject HTTP/1.1\r\nhost:").await.unwrap();
    until_the_end(silent).await;
}

#[tokio::test]
async fn silent_clients_make_room_for_one_that_asks() {
    let webhook = Webhook::start(Limits { connections: 2, ..LIMITS }).await;
    let before_its_handshake = TcpStream::connect(webhook.address).await.unwrap();
    let after_its_handshake = webhook.connect().await;
    for _ in 0..2 {
        let (status, _) = webhook.post("/inject", &review_of_a_pod()).await;
        assert_eq!(status, "HTTP/1.1 200 OK");
    }
    until_the_end(before_its_handshake).await;
    let mut third = webhook.connect().await;
    let mut fourth = webhook.connect().await;
    until_the_end(after_its_handshake).await;
    for newer in [&mut third, &mut fourth] {
        newer.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    }
    for newer in [third, fourth] {
        let said = until_the_end(newer).await;
        assert!(String::from_utf8_lossy(&said).contains("404 Not Found"));
    }
}

#[tokio::test]
async fn the_server_ends_although_clients_stay_connected() {
    let webhook = Webhook::start(LIMITS).await;
    let idle = webhook.connect().await;
    webhook.stop.cancel();
    webhook.served.await.unwrap();
    until_the_end(idle).await;
    assert!(TcpStream::connect(webhook.address).await.is_err());
}

fn head(length: usize) -> String {
    format!("POST /inject HTTP/1.1\r\nhost: {NAME}\r\ncontent-length: {length}\r\n\r\n")
}

/// A stranger's review: 3 bytes of body for each container.
#[tokio::test]
async fn review_with_many_containers_is_refused_before_it_is_parsed() {
    let webhook = Webhook::start(LIMITS).await;
    let body = format!(
        r#"{{"request":{{"uid":"x","object":{{"spec":{{"containers":[{}{{}}]}}}}}}}}"#,
        "{},".repeat(400_000)
    );
    assert!(body.len() < LARGEST_REVIEW);
    let (status, said) = webhook.post("/inject", body.as_bytes()).await;
    assert_eq!(status, "HTTP/1.1 400 Bad Request");
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("at most 64 containers"), "{said}");
}

#[tokio::test]
async fn a_flood_of_bodies_that_never_end_leaves_a_good_review_answered() {
    let budget = 64 * 1024;
    let webhook = Webhook::start_with(LIMITS, budget).await;
    let mut strangers = Vec::new();
    for _ in 0..32 {
        let mut stranger = webhook.connect().await;
        stranger.write_all(head(16 * 1024).as_bytes()).await.unwrap();
        stranger.write_all(&[b' '; 8 * 1024]).await.unwrap();
        stranger.flush().await.unwrap();
        strangers.push(stranger);
        let (status, _) = webhook.post("/inject", &review_of_a_pod()).await;
        assert_eq!(status, "HTTP/1.1 200 OK");
    }
    // The oldest were told that there are too many at once.
    let (mut answer, _) = tokio::io::split(strangers.remove(0));
    let mut said = [0; 12];
    let read = answer.read_exact(&mut said);
    timeout(Duration::from_secs(5), read).await.expect("still waiting").unwrap();
    assert_eq!(&said, b"HTTP/1.1 503");
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_at_the_limit() {
    let webhook = Webhook::start(LIMITS).await;
    let (answer, mut request) = tokio::io::split(webhook.connect().await);
    let piece = format!("10000\r\n{}\r\n", " ".repeat(65536));
    tokio::spawn(async move {
        let head =
            format!("POST /inject HTTP/1.1\r\nhost: {NAME}\r\ntransfer-encoding: chunked\r\n\r\n");
        request.write_all(head.as_bytes()).await?;
        for _ in 0..LARGEST_REVIEW / 65536 + 1 {
            request.write_all(piece.as_bytes()).await?;
        }
        request.flush().await
    });
    let said = until_the_end(answer).await;
    assert!(String::from_utf8_lossy(&said).starts_with("HTTP/1.1 413"), "{said:?}");
}
