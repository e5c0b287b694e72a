//! One request and its response.

use std::sync::Arc;

use countersign_contract::Ending;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::HeaderValue;
use hyper::rt::Executor;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version, header};
use tokio::sync::Mutex;

use super::line::{Busy, Line};
use super::requests::{NoRoom, Requests};
use super::serve::tunnel;
use super::tasks::Tasks;
use super::{body, expectation, headers, upgrade};
use crate::metrics::Metrics;
use crate::relay::Ended;

/// Why a request has no response. Whoever made it sees its connection or its stream broken off, as it
/// would without us.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A sweep found that the connection may not go on.
    #[error("no request may begin any more")]
    Over,
    /// Nothing that follows would be read, and the client did not ask for that.
    #[error("{0}")]
    Unasked(upgrade::Refused),
    /// The client may send it again: nothing of it was passed on (RFC 9113, 8.7).
    #[error("too many requests wait")]
    Refused(#[source] h2::Error),
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
    /// The same for HTTP/2, of which requests wait beside each other. What does not fit goes before hyper
    /// reads the next head.
    pub(super) fn exchange_if_it_fits(
        self: Arc<Self>,
        requests: &Requests,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<body::Response>, Error>> + Send + use<> {
        let entered = requests.enter(request.headers(), request.uri());
        let request = entered.map(|(head, stream)| (head, stream, request));
        async move {
            match request {
                Ok((head, stream, request)) => {
                    let response = self.exchange(request).await?;
                    drop(head);
                    Ok(response.map(|body| body.holding(stream)))
                }
                Err(NoRoom::TooManyHeaders) => Ok(self.too_many_headers()),
                Err(NoRoom::Full) => {
                    Err(Error::Refused(h2::Error::from(h2::Reason::REFUSED_STREAM)))
                }
            }
        }
    }

    /// As HTTP/1.1 is answered by hyper.
    fn too_many_headers(&self) -> Response<body::Response> {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        self.metrics.answered(status.as_u16());
        let mut response = Response::new(body::Response::empty(self.line.begins()));
        *response.status_mut() = status;
        response
    }

    pub(super) async fn exchange(
        self: Arc<Self>,
        mut request: Request<Incoming>,
    ) -> Result<Response<body::Response>, Error> {
        let busy = self.line.begins();
        if self.line.is_over() {
            return Err(Error::Over);
        }
        let (method, version) = (request.method().clone(), request.version());
        let client = hyper::upgrade::on(&mut request);
        let asked = headers::of_request(&mut request, self.told.as_ref());
        let mut response = match self.pass(request).await {
            Ok(response) => response,
            Err(Error::App(error)) if error.is_parse() && version < Version::HTTP_2 => {
                return Ok(self.unreadable(&error, busy));
            }
            Err(error) => return Err(error),
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(refused) = asked.refuse(response.headers())
        {
            return Err(Error::Unasked(refused));
        }
        if switches(&method, response.status()) {
            self.tunnel(version, client, hyper::upgrade::on(&mut response));
        }
        headers::of_response(&mut response);
        self.metrics.answered(response.status().as_u16());
        Ok(response.map(|body| body::Response::new(body, busy)))
    }

    async fn pass(&self, request: Request<Incoming>) -> Result<Response<Incoming>, Error> {
        let (waiting, hearing) = expectation::of(&request).unzip();
        let coming = self.line.takes_body();
        let mut request = request.map(|body| body::Request::new(body, waiting, coming));
        if let Some(hearing) = hearing {
            hearing.listen(&mut request);
        }
        let response = self.sender.lock().await.send(request).await?;
        Ok(response.await?)
    }

    /// What a client gets whose application answered with what is no response.
    fn unreadable(&self, error: &hyper::Error, busy: Busy) -> Response<body::Response> {
        let detail = format!("the application's response cannot be read: {error}");
        self.line.breaks(Ended { detail: Some(detail), ..Ended::new(Ending::AppReset) });
        self.metrics.answered(StatusCode::BAD_GATEWAY.as_u16());
        let mut response = Response::new(body::Response::empty(busy));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
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
