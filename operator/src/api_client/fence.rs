//! Writes go through only while the Lease is held: of two replicas one writes, also where the
//! connection over which one renews its Lease stalls and its other connections do not.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::BoxError;
use axum::http::{Method, Request, Response};
use futures::FutureExt;
use futures::future::BoxFuture;
use kube::client::Body;
use tokio::sync::watch;
use tower::{Layer, Service};

/// Until when this process may write. Clones share it.
#[derive(Clone, Debug)]
pub struct Fence(Arc<watch::Sender<Until>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// No other replica exists.
    Always,
    /// The Lease is not held.
    Closed,
    /// The Lease is held until then.
    At(Instant),
}

impl Until {
    /// Whether writes are admitted; pure.
    fn admits(self, now: Instant) -> bool {
        match self {
            Self::Always => true,
            Self::Closed => false,
            Self::At(end) => now < end,
        }
    }
}

/// A write was not sent, or was given up.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum Refused {
    /// It was not sent.
    #[error("not written: this replica holds no Lease that was renewed lately")]
    NotLeading,
    /// It was sent, and not answered while the Lease was held.
    #[error("given up: this replica could not renew its Lease in time")]
    Expired,
}

impl Fence {
    /// A fence that admits every write: there is one replica, without election.
    #[must_use]
    pub fn open() -> Self {
        Self(Arc::new(watch::Sender::new(Until::Always)))
    }

    /// A fence that admits writes once the Lease is held.
    #[must_use]
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(Until::Closed)))
    }

    /// The Lease is held until then.
    pub(crate) fn hold_until(&self, end: Instant) {
        self.0.send_replace(Until::At(end));
    }

    /// The Lease is not held any longer.
    pub(crate) fn close(&self) {
        self.0.send_replace(Until::Closed);
    }

    fn admits(&self) -> bool {
        self.0.borrow().admits(Instant::now())
    }

    /// Waits until writes are not admitted.
    pub(crate) async fn expired(&self) {
        let mut changes = self.0.subscribe();
        loop {
            let until = *changes.borrow_and_update();
            if !until.admits(Instant::now()) {
                return;
            }
            let end = async {
                match until {
                    Until::At(end) => tokio::time::sleep_until(end.into()).await,
                    Until::Always | Until::Closed => std::future::pending().await,
                }
            };
            // The sender is in `self`.
            tokio::select! { () = end => {} _ = changes.changed() => {} }
        }
    }
}

impl<S> Layer<S> for Fence {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Fenced<S> {
        Fenced { inner, fence: self.clone() }
    }
}

/// A service that sends no write while the fence admits none.
#[derive(Clone, Debug)]
pub struct Fenced<S> {
    inner: S,
    fence: Fence,
}

impl<S, B> Service<Request<Body>> for Fenced<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !needs_lease(request.method(), request.uri().path()) {
            return self.inner.call(request).map(|answer| answer.map_err(Into::into)).boxed();
        }
        if !self.fence.admits() {
            return async { Err(Refused::NotLeading.into()) }.boxed();
        }
        let (answering, fence) = (self.inner.call(request), self.fence.clone());
        let writing = async move {
            tokio::select! {
                biased;
                answer = answering => answer.map_err(Into::into),
                // The request goes with its connection: what is not sent yet never will be.
                () = fence.expired() => Err(Refused::Expired.into()),
            }
        };
        writing.boxed()
    }
}

/// Reads need none, nor do Events, which change nothing and which every replica writes.
fn needs_lease(method: &Method, path: &str) -> bool {
    let is_event = path.starts_with("/apis/events.k8s.io/");
    *method != Method::GET && !is_event
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;
    use std::time::Duration;

    use super::*;

    #[test]
    fn writes_are_admitted_while_the_lease_is_held() {
        let now = Instant::now();
        let (before, after) = (now - Duration::from_millis(1), now + Duration::from_millis(1));
        let cases = [
            (Until::Always, true),
            (Until::Closed, false),
            (Until::At(after), true),
            (Until::At(now), false),
            (Until::At(before), false),
        ];
        for (until, admits) in cases {
            assert_eq!(until.admits(now), admits, "{until:?}");
        }
    }

    #[test]
    fn reads_and_events_need_no_lease() {
        let events = "/apis/events.k8s.io/v1/namespaces/shop/events";
        let secrets = "/api/v1/namespaces/shop/secrets/events";
        let cases = [
            (Method::GET, secrets, false),
            (Method::PATCH, secrets, true),
            (Method::POST, secrets, true),
            (Method::DELETE, secrets, true),
            (Method::PUT, secrets, true),
            (Method::POST, events, false),
        ];
        for (method, path, needs) in cases {
            assert_eq!(needs_lease(&method, path), needs, "{method} {path}");
        }
    }

    fn fenced(
        fence: &Fence,
    ) -> impl Service<Request<Body>, Response = Response<()>, Error = BoxError> {
        let silent = tower::service_fn(|_| pending::<Result<Response<()>, Infallible>>());
        fence.layer(silent)
    }

    #[tokio::test]
    async fn write_is_given_up_when_the_lease_expires() {
        let fence = Fence::closed();
        let write = || Request::patch("/api/v1/nodes/a").body(Body::empty()).unwrap();
        let error = fenced(&fence).call(write()).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Refused::NotLeading)), "{error}");
        fence.hold_until(Instant::now() + Duration::from_millis(10));
        let mut service = fenced(&fence);
        let writing = service.call(write());
        // A renewal lets it go on.
        fence.hold_until(Instant::now() + Duration::from_millis(30));
        let written = tokio::time::timeout(Duration::from_secs(10), writing).await;
        let error = written.expect("it does not wait for ever").unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Refused::Expired)), "{error}");
    }
}
