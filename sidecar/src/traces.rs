//! One span a connection, to an OpenTelemetry collector (OTLP/HTTP, JSON), where one is named.
//!
//! Written here since the crates for it bring a second HTTP client, gRPC and protocol buffers, more
//! than the sidecar itself, for one request every few seconds. Spans never keep a connection: what
//! cannot be sent is dropped, and counted.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use countersign_contract::Ending;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::args::Collector;
use crate::live::Entry;
use crate::metrics::{Direction, Metrics};

/// How many spans wait at most, how many go at once, and how long they wait for company.
const WAITING: usize = 4096;
const AT_ONCE: usize = 512;
const COMPANY: Duration = Duration::from_secs(2);

/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where connections leave their spans.
#[derive(Clone, Debug)]
pub(crate) struct Spans {
    sender: mpsc::Sender<Span>,
    metrics: Metrics,
}

/// What is told of a connection.
#[derive(Debug)]
pub(crate) struct Span {
    id: [u8; 24],
    direction: Direction,
    client: SocketAddr,
    to: String,
    peer: Option<String>,
    bytes: [u64; 2],
    started: Duration,
    ended: Duration,
    how: Ending,
}

impl Spans {
    /// Leaves the span of a connection that ended just now.
    pub(crate) fn leave(&self, entry: &Entry, lasted: Duration, how: Ending) {
        let about = &entry.about;
        #[expect(clippy::disallowed_methods, reason = "a span is told of by the clock")]
        let ended = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let span = Span {
            id: random(),
            direction: about.direction,
            client: about.client,
            to: about.to.to_string(),
            peer: about.peer.as_ref().map(ToString::to_string),
            bytes: entry.bytes(),
            started: ended.saturating_sub(lasted),
            ended,
            how,
        };
        if self.sender.try_send(span).is_err() {
            self.metrics.spans_dropped.inc();
        }
    }
}

/// An identity that nobody else has; not secret.
fn random() -> [u8; 24] {
    let mut id = [0; 24];
    // Without random numbers there is no TLS either, and nothing to tell of.
    drop(crate::tls::provider::provider().secure_random.fill(&mut id));
    id
}

/// Starts to send spans.
pub(crate) fn start(
    collector: Collector,
    metrics: Metrics,
) -> (Spans, impl Future<Output = ()> + Send) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Spans { sender, metrics: metrics.clone() }, send(collector, receiver, metrics))
}

async fn send(collector: Collector, mut receiver: mpsc::Receiver<Span>, metrics: Metrics) {
    let mut was_well = true;
    loop {
        let mut spans = Vec::new();
        if receiver.recv_many(&mut spans, AT_ONCE).await == 0 {
            return;
        }
        tokio::time::sleep(COMPANY).await;
        while spans.len() < AT_ONCE
            && let Ok(span) = receiver.try_recv()
        {
            spans.push(span);
        }
        let sent = timeout(PATIENCE, post(&collector, &spans)).await;
        let problem = match sent {
            Ok(Ok(status)) if status.is_success() => None,
            Ok(Ok(status)) => Some(status.to_string()),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {PATIENCE:?}")),
        };
        if let Some(problem) = &problem {
            metrics.spans_dropped.inc_by(spans.len() as u64);
            if was_well {
                tracing::warn!(problem, collector = %collector, "spans are not taken");
            }
        }
        was_well = problem.is_none();
    }
}

/// Why spans were not sent.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("connecting: {0}")]
    Connect(#[from] std::io::Error),
    #[error("asking: {0}")]
    Ask(#[from] hyper::Error),
    #[error("the request: {0}")]
    Request(#[from] axum::http::Error),
}

async fn post(collector: &Collector, spans: &[Span]) -> Result<StatusCode, Error> {
    let stream = TcpStream::connect(&*collector.authority).await?;
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post(&*collector.path)
        .header(header::HOST, &*collector.authority)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(document(spans).to_string()))?;
    let status = client.send_request(request).await?.status();
    connection.abort();
    Ok(status)
}

/// The request of OTLP (opentelemetry-proto, ExportTraceServiceRequest, in its JSON form).
fn document(spans: &[Span]) -> Value {
    let spans: Vec<_> = spans.iter().map(one).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": [attribute("service.name", "countersign-sidecar")] },
        "scopeSpans": [{
            "scope": { "name": "countersign-sidecar", "version": env!("CARGO_PKG_VERSION") },
            "spans": spans,
        }],
    }]})
}

fn one(span: &Span) -> Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let nanoseconds = |time: Duration| time.as_nanos().to_string();
    let (name, kind) = match span.direction {
        Direction::inbound => ("inbound", 2),
        Direction::outbound => ("outbound", 3),
    };
    let mut attributes = vec![
        attribute("client.address", &span.client.ip().to_string()),
        attribute("client.port", &span.client.port().to_string()),
        attribute("server.address", &span.to),
        attribute("countersign.end", span.how.as_str()),
        attribute("countersign.bytes.received", &span.bytes[0].to_string()),
        attribute("countersign.bytes.sent", &span.bytes[1].to_string()),
    ];
    attributes.extend(span.peer.as_ref().map(|peer| attribute("countersign.peer", peer)));
    json!({
        "traceId": hex(&span.id[..16]),
        "spanId": hex(&span.id[16..]),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": nanoseconds(span.started),
        "endTimeUnixNano": nanoseconds(span.ended),
        "attributes": attributes,
        "status": { "code": if span.how == Ending::Closed { 1 } else { 2 } },
    })
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}
