//! Applications that are asked how they are: over TLS, and with the health service of gRPC.

use std::convert::Infallible;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use crate::authority::Set;
use crate::peer::{chain, key};
use countersign_sidecar::tls::provider::provider;

/// Serves on a port of its own, in a thread of its own, until the test ends.
fn serve<F, A>(answer: A) -> u16
where
    A: Fn(tokio::net::TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
    });
    port
}

/// Answers every request well, in the version of HTTP that TLS agreed upon.
pub(crate) fn tls_server(set: &Set, alpn: &[&str]) -> u16 {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain(set), key(set))
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            // Who speaks no TLS is none of this test's business.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let well = service_fn(async |_: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(Body::from("ok")))
            });
            if is_h2 {
                let server = http2::Builder::new(TokioExecutor::new());
                drop(server.serve_connection(TokioIo::new(stream), well).await);
            } else {
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), well).await);
            }
        }
    })
}

/// Answers as `grpc.health.v1.Health` does, about services whose names say how they are.
pub(crate) fn health_server() -> u16 {
    serve(async |stream| {
        let server = http2::Builder::new(TokioExecutor::new());
        let service = service_fn(health);
        drop(server.serve_connection(TokioIo::new(stream), service).await);
    })
}

async fn health(request: Request<Incoming>) -> Result<Response<Said>, Infallible> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let body = to_bytes(Body::new(request.into_body()), 1024).await.unwrap();
    // The prefix, and the tag and length of the only field.
    let service = body.get(7..).unwrap_or_default();
    let (message, status): (&'static [u8], _) = match service {
        b"" => (&[0, 0, 0, 0, 2, 8, 1], "0"),
        b"sick" => (&[0, 0, 0, 0, 2, 8, 2], "0"),
        b"garbled" => (b"hello", "0"),
        _ => (b"", "5"),
    };
    Ok(Response::new(Said { message: Some(Bytes::from_static(message)), status }))
}

/// A message, and then a status in the trailers.
struct Said {
    message: Option<Bytes>,
    status: &'static str,
}

impl hyper::body::Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        let status = std::mem::take(&mut self.status);
        let trailers = HeaderMap::from_iter([(
            axum::http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(status),
        )]);
        Poll::Ready((!status.is_empty()).then_some(Ok(Frame::trailers(trailers))))
    }
}
