//! `Expect: 100-continue`: the client sends its body once the application says that it wants it.
//!
//! hyper tells the client to go on as soon as it is asked for the body. It is asked once the
//! application has said so, or has said nothing for a while: some never do.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use hyper::{Request, StatusCode, Version, header};
use tokio::time::{Sleep, sleep};

/// How long an application may take to say that it wants the body.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct State {
    goes_on: AtomicBool,
    waker: AtomicWaker,
}

/// Waits for the application's word.
pub(super) struct Waiting {
    state: Arc<State>,
    late: Pin<Box<Sleep>>,
}

/// What hears it.
#[derive(Clone)]
pub(super) struct Hearing(Arc<State>);

/// Both, for a request that expects it. HTTP/2 has flow control for this, and hardly anybody asks.
pub(super) fn of<B>(request: &Request<B>) -> Option<(Waiting, Hearing)> {
    let expects = request.headers().get(header::EXPECT)?;
    let is_known = expects.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !is_known || request.version() != Version::HTTP_11 {
        return None;
    }
    let state = Arc::new(State::default());
    let waiting = Waiting { state: state.clone(), late: Box::pin(sleep(PATIENCE)) };
    Some((waiting, Hearing(state)))
}

impl Hearing {
    /// Listens to what comes before the response itself.
    pub(super) fn listen<B>(self, request: &mut Request<B>) {
        hyper::ext::on_informational(request, move |response| {
            if response.status() == StatusCode::CONTINUE {
                self.0.goes_on.store(true, Relaxed);
                self.0.waker.wake();
            }
        });
    }
}

impl Waiting {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.state.waker.register(cx.waker());
        if self.state.goes_on.load(Relaxed) {
            return Poll::Ready(());
        }
        self.late.as_mut().poll(cx)
    }
}
