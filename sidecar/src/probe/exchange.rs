//! One request and its answer, over HTTP/1.1 or HTTP/2, of a bounded size.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

/// How much of an answer's body is read, as the kubelet reads it.
const LONGEST_BODY: usize = 10 * 1024;

/// How much an HTTP/1.1 answer's head may be.
const LONGEST_HEAD: usize = 64 * 1024;

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("connecting to {at}, port {port}: {source}")]
    Connect { at: IpAddr, port: u16, source: std::io::Error },
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made: {0}")]
    Request(#[from] axum::http::Error),
    #[error("HTTP status {0}")]
    Status(StatusCode),
    #[error("stopped after {0} redirects")]
    Redirects(usize),
    #[error("gRPC status {0}")]
    Grpc(u16),
    #[error("the service says {0}, and not SERVING")]
    NotServing(&'static str),
    #[error("the answer is none of grpc.health.v1.Health/Check")]
    Garbled,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Its beginning, where it is longer than is read.
    pub(super) body: Vec<u8>,
    pub(super) trailers: HeaderMap,
}

/// Asks over HTTP/1.1.
pub(super) async fn over_http1<S>(stream: S, request: Request<Body>) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(LONGEST_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let asking = async { read(sender.send_request(request).await?).await };
    driven(connection, asking).await
}

/// Asks over HTTP/2.
pub(super) async fn over_http2<S>(stream: S, request: Request<Body>) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let builder = http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let asking = async { read(sender.send_request(request).await?).await };
    driven(connection, asking).await
}

/// Polls the connection while it is asked, and no longer: a probe leaves no task behind.
async fn driven(
    connection: impl Future<Output = hyper::Result<()>>,
    asking: impl Future<Output = Result<Answer, Failure>>,
) -> Result<Answer, Failure> {
    let driving = pin!(async {
        // Whoever asks hears of its error.
        drop(connection.await);
        std::future::pending::<()>().await;
    });
    tokio::select! {
        biased;
        answer = asking => answer,
        () = driving => Err(Failure::Garbled),
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, Failure> {
    let (head, mut incoming) = response.into_parts();
    let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {
        let frame = frame?;
        match frame.into_data() {
            Ok(data) => {
                let room = LONGEST_BODY - body.len();
                body.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room {
                    break;
                }
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok(Answer { status: head.status, headers: head.headers, body, trailers })
}
