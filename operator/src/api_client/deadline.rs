//! Deadlines for answers of the API server. kube's own read timeout counts the time for which a
//! connection idles, and would cut watches that are quiet.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use axum::body::Bytes;
use axum::http::{Request, Response};
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use kube::client::Body;
use tokio::time::{Sleep, sleep, timeout};
use tower::{Layer, Service};

/// How long an answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From the request until the head of the answer.
    pub head: Duration,
    /// Between two pieces of its body. The body of a watch has none: kube's watcher ends a watch that
    /// is quiet for longer than the API server lets one last.
    pub pause: Duration,
}

impl Default for Deadlines {
    /// Longer than the API server queues a request, and than it takes to collect a long list.
    fn default() -> Self {
        Self { head: Duration::from_secs(30), pause: Duration::from_secs(30) }
    }
}

/// The API server took too long.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the API server did not answer within {0:?}")]
pub struct TimedOut(Duration);

impl<S> Layer<S> for Deadlines {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Timed<S> {
        Timed { inner, deadlines: *self }
    }
}

/// A service whose answers have deadlines.
#[derive(Clone, Debug)]
pub struct Timed<S> {
    inner: S,
    deadlines: Deadlines,
}

impl<S, B> Service<Request<Body>> for Timed<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    type Response = Response<TimedBody<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Deadlines { head, pause } = self.deadlines;
        let limit = (!is_watch(request.uri().query().unwrap_or_default())).then_some(pause);
        let answering = self.inner.call(request);
        let timed = async move {
            let answered = timeout(head, answering).await.map_err(|_| TimedOut(head))?;
            Ok(answered.map_err(Into::into)?.map(|inner| TimedBody { inner, limit, pause: None }))
        };
        timed.boxed()
    }
}

/// Whether the query of a request asks for a watch.
pub(crate) fn is_watch(query: &str) -> bool {
    query.split('&').any(|parameter| matches!(parameter, "watch=true" | "watch=1"))
}

/// A body of which the next piece must come in time.
#[derive(Debug)]
pub struct TimedBody<B> {
    inner: B,
    limit: Option<Duration>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<B> HttpBody for TimedBody<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            self.pause = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(limit) = self.limit else { return Poll::Pending };
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(pause.as_mut().poll(context));
        Poll::Ready(Some(Err(TimedOut(limit).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{pending, ready};

    use tower::ServiceBuilder;

    use super::*;

    const SHORT: Deadlines =
        Deadlines { head: Duration::from_millis(20), pause: Duration::from_millis(20) };

    /// A body that begins and never ends.
    struct Stalled(Option<Bytes>);

    impl HttpBody for Stalled {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.take().map_or(Poll::Pending, |piece| Poll::Ready(Some(Ok(Frame::data(piece)))))
        }
    }

    fn get(uri: &str) -> Request<Body> {
        Request::get(uri).body(Body::empty()).unwrap()
    }

    async fn next<B: HttpBody + Unpin>(body: &mut B) -> Option<Result<Frame<B::Data>, B::Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
    }

    #[tokio::test]
    async fn request_that_is_never_answered_fails() {
        let silent = tower::service_fn(|_| pending::<Result<Response<Stalled>, Infallible>>());
        let mut timed = ServiceBuilder::new().layer(SHORT).service(silent);
        let asked = timeout(Duration::from_secs(10), timed.call(get("/api/v1/pods?watch=true")));
        let error = asked.await.expect("it does not wait for ever").err().unwrap();
        assert!(error.is::<TimedOut>(), "{error}");
    }

    #[tokio::test]
    async fn answer_that_stalls_fails_and_quiet_watch_does_not() {
        for (uri, fails) in [("/api/v1/pods", true), ("/api/v1/pods?watch=true", false)] {
            let answer = || ready(Ok::<_, Infallible>(Response::new(Stalled(Some("{".into())))));
            let mut timed = ServiceBuilder::new().layer(SHORT).service_fn(move |_| answer());
            let mut body = timed.call(get(uri)).await.unwrap().into_body();
            assert!(next(&mut body).await.unwrap().is_ok(), "{uri}");
            let second = timeout(Duration::from_millis(200), next(&mut body)).await;
            let failed = second.is_ok_and(|frame| frame.is_some_and(|frame| frame.is_err()));
            assert_eq!(failed, fails, "{uri}");
        }
    }
}
