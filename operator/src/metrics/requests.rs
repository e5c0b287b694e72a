//! Counts what the API server is asked, and what it answers.

use std::fmt;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::http::{Request, Response};
use futures::FutureExt;
use futures::future::BoxFuture;
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tower::{Layer, Service};

use super::call::Call;
use super::{Book, Histograms};
use crate::api_client::{Deadlines, Fence};

/// How long a connection to the API server may take until it is there.
const CONNECT: Duration = Duration::from_secs(5);

/// What was asked, and what came of it.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CallLabels {
    verb: &'static str,
    resource: &'static str,
    code: Code,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct VerbLabels {
    verb: &'static str,
}

/// The status of an answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Code {
    Answer(u16),
    /// There was none.
    Error,
}

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Answer(code) => code.encode(encoder),
            Self::Error => "error".encode(encoder),
        }
    }
}

/// What the API server was asked; clones share it.
#[derive(Clone, Debug)]
pub struct ApiRequests {
    calls: Family<CallLabels, Counter>,
    durations: Histograms<VerbLabels>,
}

impl Default for ApiRequests {
    fn default() -> Self {
        let buckets = || Histogram::new(exponential_buckets(0.001, 2.0, 14));
        Self { calls: Family::default(), durations: Family::new_with_constructor(buckets) }
    }
}

impl ApiRequests {
    /// A client whose requests are counted and have deadlines.
    ///
    /// # Errors
    /// When the configuration names no server that could be connected to.
    pub fn client(&self, config: Config) -> kube::Result<Client> {
        self.fenced_client(config, &Fence::open())
    }

    /// The same, which writes only while the fence admits it.
    ///
    /// # Errors
    /// When the configuration names no server that could be connected to.
    pub fn fenced_client(&self, mut config: Config, fence: &Fence) -> kube::Result<Client> {
        config.connect_timeout = Some(CONNECT);
        let builder = ClientBuilder::try_from(config)?.with_layer(&Deadlines::default());
        Ok(builder.with_layer(self).with_layer(fence).build())
    }

    pub(super) fn register(&self, book: &mut Book<'_>) {
        book.add(
            "countersign_api_requests",
            "Requests to the API server, by verb, resource and status code",
            self.calls.clone(),
        );
        book.add(
            "countersign_api_request_duration_seconds",
            "From a request until the head of its answer, by verb",
            self.durations.clone(),
        );
    }

    fn note(&self, call: Call, code: Code, started: Instant) {
        let Call { verb, resource } = call;
        self.calls.get_or_create(&CallLabels { verb, resource, code }).inc();
        let seconds = started.elapsed().as_secs_f64();
        self.durations.get_or_create(&VerbLabels { verb }).observe(seconds);
    }
}

impl<S> Layer<S> for ApiRequests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, requests: self.clone() }
    }
}

/// A service whose requests are counted.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    inner: S,
    requests: ApiRequests,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = Call::of(request.method(), request.uri(), request.headers());
        let (requests, started) = (self.requests.clone(), Instant::now());
        let answering = self.inner.call(request);
        let counted = async move {
            let answered = answering.await;
            let code = answered.as_ref().map(|answer| Code::Answer(answer.status().as_u16()));
            requests.note(call, code.unwrap_or(Code::Error), started);
            answered
        };
        counted.boxed()
    }
}

#[cfg(test)]
mod tests;
