//! The stream to discovery: made again whenever it ends, for as long as the sidecar runs.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use countersign_contract::ExpectedPeer;
use countersign_contract::discovery::{
    Denial, Hello, LONGEST_MESSAGE, LONGEST_REQUEST, PATH, Ranges, Report, Request, Response,
};
use futures::channel::mpsc;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::{ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::body::Body;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;
use tracing::{info, warn};

use super::book::Book;
use super::questions::Questions;
use super::report::Denials;
use crate::args::Target;
use crate::credentials::Watched;
use crate::dial::dial_target;
use crate::tls;

/// How long connecting may take, the handshakes included.
const CONNECT: Duration = Duration::from_secs(8);

/// How long each place may take at which it may be.
const PLACE: Duration = Duration::from_secs(2);

/// How soon after a failure it is tried again: at once, and then less and less often.
const SOONEST: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(5);

/// How often the operator is asked whether it is there when it says nothing.
const PING: Duration = Duration::from_secs(20);

/// How often destinations that nobody calls are looked for.
const TIDY: Duration = Duration::from_secs(30);

/// How long denials are gathered before they are told.
const GATHERED: Duration = Duration::from_millis(500);

/// Where discovery is, and who we are.
#[derive(Clone, Debug)]
pub(crate) struct Connecting {
    pub(crate) to: Target,
    /// Where it is, if that name leads nowhere.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Who must answer.
    pub(crate) peer: ExpectedPeer,
    /// Our pod.
    pub(crate) pod: String,
    /// Its addresses.
    pub(crate) own: Vec<IpAddr>,
}

/// Asks discovery.
pub(crate) struct Client {
    pub(crate) connecting: Connecting,
    pub(crate) serving: Watched,
    pub(crate) book: Arc<Book>,
    pub(crate) denials: Arc<Denials>,
}

/// Why a stream ended. No variant is a reason to call anybody without TLS.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Credentials(String),
    #[error("connecting: {0}")]
    Dial(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("not within {CONNECT:?}")]
    Late,
    #[error("HTTP/2: {0}")]
    Http(#[from] hyper::Error),
    #[error("{}: {}", .0.code(), .0.message())]
    Status(#[from] Status),
}

type Sender = mpsc::Sender<Request>;

impl Client {
    /// Keeps a stream for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let mut wait = SOONEST;
        loop {
            let began = Instant::now();
            let ended = self.stream().await;
            if is_soon_tried_again(began.elapsed(), &ended) {
                wait = SOONEST;
            }
            match ended {
                Ok(()) => info!("discovery ended the stream: connecting again"),
                Err(error) => warn!(%error, "discovery is not reached: what is known goes on"),
            }
            // Not all sidecars at once, after the operator was away.
            sleep(wait + wait.mul_f64(chance())).await;
            wait = (wait * 2).min(LATEST);
        }
    }

    async fn stream(&mut self) -> Result<(), Error> {
        let mut outgoing = Outgoing::new(self.denials.clone());
        let (mut to, requests) = mpsc::channel(8);
        let mut responses =
            timeout(CONNECT, self.connect(requests)).await.map_err(|_| Error::Late)??;
        let hello = Hello {
            pod: self.connecting.pod.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut revision = self.revision();
        let first = asking(self.book.all());
        outgoing.put(Request {
            hello: Some(hello),
            report: Some(report(&revision, Vec::new())),
            ..first
        });
        info!(to = self.connecting.to.host, "discovery reached");
        let (mut tidy, mut earliest) = (tokio::time::interval(TIDY), Instant::now());
        loop {
            // Whether or not the operator reads, its answers are read.
            tokio::select! {
                response = responses.message() => match response? {
                    Some(response) => self.note(&response),
                    None => return Ok(()),
                },
                sent = outgoing.send(&mut to), if !outgoing.is_empty() => sent?,
                questions = self.book.questions(), if outgoing.is_empty() => {
                    outgoing.put(asking(questions));
                }
                _ = tidy.tick() => self.book.tidy(),
                changed = self.serving.changed() => {
                    let now = self.revision();
                    if changed.is_ok() && now != revision {
                        revision = now;
                        outgoing.put(Request {
                            report: Some(report(&revision, Vec::new())),
                            ..Request::default()
                        });
                    }
                }
                () = gathered(&self.denials, earliest), if outgoing.is_empty() => {
                    earliest = Instant::now() + GATHERED;
                    for denials in self.denials.take() {
                        let report = Some(report(&revision, denials));
                        outgoing.put(Request { report, ..Request::default() });
                    }
                }
            }
        }
    }

    fn note(&self, response: &Response) {
        for answer in response.answers.iter().filter(|answer| !self.book.note(answer)) {
            // As good as none: whoever waits for it fails by name.
            warn!(destination = answer.destination, "an answer is not understood");
        }
        if let Some(ranges) = &response.ranges {
            self.note_ranges(ranges);
        }
    }

    fn note_ranges(&self, ranges: &Ranges) {
        match self.book.note_ranges(ranges, &self.connecting.own) {
            Ok(()) => info!(
                ranges = ranges.inside.len(),
                whole = ranges.whole,
                "ranges of the cluster received"
            ),
            Err(error) => {
                warn!(%error, "ranges of the cluster are not used: every address is asked about");
            }
        }
    }

    /// The policies that are in force.
    fn revision(&self) -> String {
        let state = self.serving.borrow();
        let policy = state.current.as_ref().and_then(|current| current.policy.revision.clone());
        policy.unwrap_or_default()
    }

    /// Connects to the first place at which the operator proves to be there. A name may lead to somebody
    /// else: a wildcard in the pod's search list, or a name server of the pod's own.
    async fn dial(
        &self,
        connector: &TlsConnector,
        name: &ServerName<'static>,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let mut first = None;
        for place in places(&self.connecting.to, &self.connecting.addresses) {
            match shake(&place, connector, name).await {
                Ok(stream) => return Ok(stream),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or(Error::Late))
    }

    async fn connect(
        &self,
        requests: mpsc::Receiver<Request>,
    ) -> Result<Streaming<Response>, Error> {
        let state = self.serving.borrow().clone();
        let now = UnixTime::now();
        let missing = || Error::Credentials(state.missing(now).unwrap_or_default());
        let serving = state.usable(now).ok_or_else(missing)?;
        let credentials = &serving.credentials;
        let tls = |error: &dyn std::fmt::Display| Error::Tls(error.to_string());
        let config = tls::client_configuration(
            credentials.key.clone(),
            credentials.trust.clone(),
            self.connecting.peer.clone(),
            vec![b"h2".to_vec()],
        );
        let connector = TlsConnector::from(config.map_err(|error| tls(&error))?);
        let to = &self.connecting.to;
        // An absolute name is one for the resolver only.
        let host = to.host.trim_end_matches('.').to_owned();
        let name = ServerName::try_from(host).map_err(|error| tls(&error))?;
        let stream = self.dial(&connector, &name).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await?;
        drop(tokio::spawn(connection));
        // HTTP/2 wants an authority in each request (RFC 9113, 8.3.1).
        let origin = axum::http::Uri::from_static("https://discovery");
        let mut grpc = tonic::client::Grpc::with_origin(Channel(sender), origin)
            .max_decoding_message_size(LONGEST_MESSAGE)
            .max_encoding_message_size(LONGEST_REQUEST);
        let codec = ProstCodec::<Request, Response>::default();
        let path = axum::http::uri::PathAndQuery::from_static(PATH);
        grpc.ready().await?;
        let response = grpc.streaming(tonic::Request::new(requests), path, codec).await?;
        Ok(response.into_inner())
    }
}

/// Where the operator is looked for: by its name as an absolute one, which no search list completes; by its
/// addresses; and by its name as it was given, since that may be a short one.
fn places(to: &Target, addresses: &[SocketAddr]) -> Vec<Target> {
    let is_name = to.host.parse::<IpAddr>().is_err();
    let absolute = (is_name && to.host.contains('.')).then(|| {
        let host = format!("{}.", to.host.trim_end_matches('.'));
        Target { host, port: to.port }
    });
    let known = addresses.iter().map(|at| Target { host: at.ip().to_string(), port: at.port() });
    // An address that was given needs no other. A short name comes last: a search list may lead anywhere.
    if !is_name {
        return vec![to.clone()];
    }
    let mut places: Vec<_> = absolute.into_iter().chain(known).collect();
    if !places.contains(to) {
        places.push(to.clone());
    }
    places
}

async fn shake(
    to: &Target,
    connector: &TlsConnector,
    name: &ServerName<'static>,
) -> Result<TlsStream<TcpStream>, Error> {
    let shaking = async {
        let stream = dial_target(to, PLACE, None).await;
        let stream = stream.map_err(|refused| Error::Dial(refused.detail))?;
        connector.connect(name.clone(), stream).await.map_err(|error| Error::Tls(error.to_string()))
    };
    timeout(PLACE, shaking).await.map_err(|_| Error::Late)?
}

/// A replica that ends is not all of them: another one is there to be asked, however long none was
/// there before.
fn is_soon_tried_again(lasted: Duration, ended: &Result<(), Error>) -> bool {
    let is_one_replica = |error: &Error| matches!(error, Error::Status(status) if status.code() == Code::Unavailable);
    lasted > LATEST || ended.as_ref().is_err_and(is_one_replica)
}

fn asking(questions: Questions) -> Request {
    let texts = |all: Vec<SocketAddr>| all.iter().map(ToString::to_string).collect();
    Request {
        follow: texts(questions.follow),
        forget: texts(questions.forget),
        ..Request::default()
    }
}

fn report(revision: &str, denials: Vec<Denial>) -> Report {
    Report { policy_revision: revision.to_owned(), denials }
}

/// What is to be sent. Denials that were not sent when the stream ends are told over the next one.
struct Outgoing {
    waiting: VecDeque<Request>,
    denials: Arc<Denials>,
}

impl Outgoing {
    fn new(denials: Arc<Denials>) -> Self {
        Self { waiting: VecDeque::new(), denials }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn put(&mut self, request: Request) {
        self.waiting.push_back(request);
    }

    /// Sends the next one, once there is room for it; may be given up at any time.
    async fn send(&mut self, to: &mut Sender) -> Result<(), Error> {
        let ended = |_| Error::Status(Status::cancelled("the stream has ended"));
        std::future::poll_fn(|cx| to.poll_ready(cx)).await.map_err(ended)?;
        match self.waiting.pop_front() {
            Some(request) => to.start_send(request).map_err(ended),
            None => Ok(()),
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        for request in self.waiting.drain(..) {
            let denials = request.report.map(|report| report.denials).unwrap_or_default();
            self.denials.put_back(denials);
        }
    }
}

/// Waits until there are denials, and that it is not too soon after the last ones.
async fn gathered(denials: &Denials, earliest: Instant) {
    denials.some().await;
    sleep_until(earliest).await;
}

/// Any number from 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0_u8; 4];
    // Without randomness, all come back at once: slower, not worse.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

/// One HTTP/2 connection, as tonic wants it.
struct Channel(http2::SendRequest<Body>);

type Answering =
    Pin<Box<dyn Future<Output = Result<axum::http::Response<Incoming>, hyper::Error>> + Send>>;

impl tower::Service<axum::http::Request<Body>> for Channel {
    type Response = axum::http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: axum::http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_is_looked_for_by_a_name_that_no_search_list_completes() {
        let target = |host: &str| Target { host: host.to_owned(), port: 14142 };
        let at: SocketAddr = ([10, 96, 0, 9], 14142).into();
        let cases = [
            (
                "countersign-discovery.countersign-system.svc.cluster.local",
                vec![],
                vec![
                    "countersign-discovery.countersign-system.svc.cluster.local.",
                    "countersign-discovery.countersign-system.svc.cluster.local",
                ],
            ),
            ("discovery.svc", vec![at], vec!["discovery.svc.", "10.96.0.9", "discovery.svc"]),
            ("discovery.svc.", vec![], vec!["discovery.svc."]),
            ("discovery", vec![at], vec!["10.96.0.9", "discovery"]),
            ("192.0.2.1", vec![], vec!["192.0.2.1"]),
            ("fd00::1", vec![], vec!["fd00::1"]),
        ];
        for (host, addresses, expected) in cases {
            let found: Vec<_> =
                places(&target(host), &addresses).into_iter().map(|place| place.host).collect();
            assert_eq!(found, expected, "{host}");
        }
    }

    #[test]
    fn after_a_replica_that_ends_another_is_asked_soon_and_after_other_failures_less_and_less_often()
     {
        let status = |code, message: &str| Err(Error::Status(Status::new(code, message)));
        let (short, long) = (Duration::from_millis(300), LATEST + SOONEST);
        let cases = [
            (short, status(Code::Unavailable, "this replica ends"), true),
            (short, status(Code::PermissionDenied, "not your pod"), false),
            (short, status(Code::ResourceExhausted, "too many"), false),
            (short, Err(Error::Dial("refused".to_owned())), false),
            (short, Ok(()), false),
            (long, Ok(()), true),
            (long, Err(Error::Late), true),
        ];
        for (lasted, ended, expected) in cases {
            assert_eq!(is_soon_tried_again(lasted, &ended), expected, "{lasted:?} {ended:?}");
        }
    }
}
