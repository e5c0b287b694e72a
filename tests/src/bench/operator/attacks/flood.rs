//! What attackers do: reviews without end and of any size, callers of the admin port, connections that are
//! held, and an identity that follows whatever comes to its mind.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::super::discovery::population::Population;
use super::super::program::Operator;
use crate::bench::background::Background;
use crate::mesh::{Credentials, Stream};

/// How many do the same at once.
const REVIEWERS: usize = 6;
const READERS: usize = 4;
const HOLDERS: usize = 200;
const FOLLOWERS: usize = 4;

/// How long one waits between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// How long one holds on to an answer that does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Attackers, until this goes.
pub(super) struct Floods {
    _runtime: Background,
    reviews: Arc<AtomicU64>,
    follows: Arc<AtomicU64>,
    held: Arc<AtomicU64>,
}

impl Floods {
    pub(super) fn start(operator: &Operator, population: &Population) -> anyhow::Result<Self> {
        let [reviews, follows, held] = [(); 3].map(|()| Arc::new(AtomicU64::new(0)));
        let runtime = Background::start()?;
        let all = runtime.handle();
        for number in 0..REVIEWERS {
            // A pod of a few, of many, and of far too many containers.
            let body = Arc::new(review([1, 500, 20_000][number % 3]));
            drop(all.spawn(reviewing(operator.webhook, body, reviews.clone())));
        }
        for _ in 0..READERS {
            drop(all.spawn(reading(operator.admin)));
        }
        for number in 0..HOLDERS {
            let at = [operator.webhook, operator.discovery, operator.admin][number % 3];
            drop(all.spawn(holding(at, held.clone())));
        }
        // Not the identity of the good sidecar.
        let (pod, credentials) = population.pod(100);
        for number in 0..FOLLOWERS {
            let (pod, credentials) = (pod.clone(), credentials.clone());
            drop(all.spawn(following(
                operator.discovery,
                pod,
                credentials,
                number,
                follows.clone(),
            )));
        }
        Ok(Self { _runtime: runtime, reviews, follows, held })
    }

    /// What they did so far, in a line.
    pub(super) fn done(&self) -> String {
        let [reviews, follows, held] =
            [&self.reviews, &self.follows, &self.held].map(|count| count.load(Relaxed));
        format!(
            "attackers: {reviews} reviews, {follows} destinations followed, {held} connections held"
        )
    }
}

async fn reviewing(at: SocketAddr, body: Arc<Vec<u8>>, done: Arc<AtomicU64>) {
    loop {
        drop(timeout(PATIENCE, post(at, &body)).await);
        done.fetch_add(1, Relaxed);
        sleep(PAUSE).await;
    }
}

async fn reading(at: SocketAddr) {
    loop {
        let asked = async {
            let mut stream = TcpStream::connect(at).await?;
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                .await?;
            stream.read_to_end(&mut Vec::new()).await
        };
        drop(timeout(PATIENCE, asked).await);
        sleep(PAUSE).await;
    }
}

async fn holding(at: SocketAddr, held: Arc<AtomicU64>) {
    loop {
        let holds = async {
            let mut stream = TcpStream::connect(at).await?;
            held.fetch_add(1, Relaxed);
            stream.write_all(b"\x16").await?;
            stream.read_to_end(&mut Vec::new()).await
        };
        drop(timeout(PATIENCE, holds).await);
        sleep(PAUSE).await;
    }
}

/// Follows destinations that it does not follow yet, a hundred a message.
async fn following(
    at: SocketAddr,
    pod: String,
    credentials: Credentials,
    number: usize,
    follows: Arc<AtomicU64>,
) {
    let mut next = u32::try_from(number).unwrap_or_default() << 20;
    loop {
        let floods = async {
            let mut stream = Stream::open(at, Some(&credentials), &pod).await?;
            loop {
                let destination = |add| format!("{}:80", Ipv4Addr::from(0x0a00_0000 + next + add));
                let some: Vec<String> = (0..100).map(destination).collect();
                next = (next + 100) & 0x00ff_ffff;
                stream.follow(&some).await?;
                follows.fetch_add(100, Relaxed);
                // Whether or not it is answered.
                if let Ok(Err(error)) = timeout(PAUSE, stream.next()).await {
                    return anyhow::Result::<()>::Err(error);
                }
            }
        };
        drop(timeout(PATIENCE, floods).await);
        sleep(PAUSE).await;
    }
}

/// A review of a pod with so many containers.
pub(super) fn review(containers: usize) -> Vec<u8> {
    let container = |number| json!({ "name": format!("c{number}"), "image": "example.org/app:1" });
    let containers: Vec<_> = (0..containers).map(container).collect();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "flood", "namespace": "good" },
        "spec": { "serviceAccountName": "default", "containers": containers },
    });
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "5a0c4b1e-0000-4000-8000-000000000000",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "name": "flood", "namespace": "good", "operation": "CREATE",
            "userInfo": { "username": "system:serviceaccount:kube-system:replicaset-controller" },
            "object": pod, "dryRun": true,
        },
    });
    review.to_string().into_bytes()
}

/// Posts a review on a connection of its own; the first line of the answer.
pub(super) async fn post(at: SocketAddr, body: &[u8]) -> anyhow::Result<String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    let stream = TcpStream::connect(at).await.context("connecting")?;
    let name = ServerName::try_from("countersign-webhook.countersign-system.svc")?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.context("the handshake")?;
    let head = format!(
        "POST /inject HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.context("asking")?;
    stream.write_all(body).await.context("asking")?;
    stream.flush().await.context("asking")?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !answer.contains(&b'\n') {
        match stream.read(&mut piece).await.context("reading the answer")? {
            0 => break,
            len => answer.extend_from_slice(&piece[..len]),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// The webhook's certificate is the API server's to check, and not what is attacked here.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
