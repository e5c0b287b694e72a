//! One request and its response.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::HeaderValue;
use hyper::rt::Executor;
use hyper::upgrade::{self, OnUpgrade};
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::sync::Mutex;

use super::line::Line;
use super::serve::tunnel;
use super::tasks::Tasks;
use super::{body, expectation, headers};
use crate::metrics::Metrics;

/// Why a request has no response. Whoever made it sees its connection or its stream broken off, as it
/// would without us.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A sweep found that the connection may not go on.
    #[error("no request may begin any more")]
    Over,
    /// Nothing that follows would be looked at, and nobody asked for that.
    #[error("the application goes over to a protocol that was not asked for")]
    Unasked,
    /// The application's side of it; hyper passes on the reason that HTTP/2 gives.
    #[error("the application: {0}")]
    App(#[from] hyper::Error),
}

/// What requests go to the application by.
pub(super) enum Sender {
    Http1(http1::SendRequest<body::Request>),
    Http2(http2::SendRequest<body::Request>),
}

impl Sender {
    /// Begins to send; the response comes later.
    async fn send(
        &mut self,
        request: Request<body::Request>,
    ) -> hyper::Result<futures::future::BoxFuture<'static, hyper::Result<Response<Incoming>>>> {
        Ok(match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                Box::pin(sender.send_request(request))
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                Box::pin(sender.send_request(request))
            }
        })
    }
}

/// What all requests of a connection share.
pub(super) struct Exchange {
    pub(super) line: Arc<Line>,
    pub(super) sender: Mutex<Sender>,
    /// Who calls.
    pub(super) told: Option<HeaderValue>,
    pub(super) metrics: Metrics,
    pub(super) tasks: Tasks,
}

impl Exchange {
    pub(super) async fn exchange(
        self: Arc<Self>,
        mut request: Request<Incoming>,
    ) -> Result<Response<body::Response>, Error> {
        let busy = self.line.begins();
        if self.line.is_over() {
            return Err(Error::Over);
        }
        let (method, version) = (request.method().clone(), request.version());
        let client = upgrade::on(&mut request);
        let may_switch = headers::of_request(&mut request, self.told.as_ref());
        let mut response = self.pass(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS && !may_switch {
            return Err(Error::Unasked);
        }
        if switches(&method, response.status()) {
            self.tunnel(version, client, upgrade::on(&mut response));
        }
        headers::of_response(&mut response);
        self.metrics.answered(response.status().as_u16());
        Ok(response.map(|body| body::Response::new(body, busy)))
    }

    async fn pass(&self, request: Request<Incoming>) -> Result<Response<Incoming>, Error> {
        let (waiting, hearing) = expectation::of(&request).unzip();
        let mut request = request.map(|body| body::Request::new(body, waiting));
        if let Some(hearing) = hearing {
            hearing.listen(&mut request);
        }
        let response = self.sender.lock().await.send(request).await?;
        Ok(response.await?)
    }

    /// HTTP/1.1 goes over to the tunnel as a whole, HTTP/2 with one stream.
    fn tunnel(&self, version: Version, client: OnUpgrade, app: OnUpgrade) {
        if version == Version::HTTP_2 {
            self.tasks.execute(async move { drop(tunnel([client, app]).await) });
        } else {
            self.line.open_tunnel([client, app]);
        }
    }
}

/// Whether what follows is not HTTP.
fn switches(method: &Method, status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || (*method == Method::CONNECT && status.is_success())
}
