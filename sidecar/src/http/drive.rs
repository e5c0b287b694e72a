//! Drives both sides of a connection, and ends them: when they are done, when the pod ends, and when
//! a sweep says so.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use countersign_contract::Ending;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::line::Line;
use super::peer::Peer;
use super::serve::tunnel;
use super::tasks::Tasks;
use super::{blame, body, exchange};
use crate::relay::Ended;

/// How long requests that are under way may take to end once their peer may not go on.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long the application may take to see that no more requests will come.
const PARTING: Duration = Duration::from_secs(1);

/// The client's side of a connection.
pub(super) trait Serving: Future<Output = hyper::Result<()>> {
    /// Has it end once it has answered what has begun: `GOAWAY`, or `Connection: close`.
    fn retire(self: Pin<&mut Self>);
}

impl<S> Serving for http1::UpgradeableConnection<TokioIo<Peer>, S>
where
    S: Service<Request<Incoming>, Response = Response<body::Response>, Error = exchange::Error>,
{
    fn retire(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Serving for http2::Connection<TokioIo<Peer>, S, Tasks>
where
    S: Service<Request<Incoming>, Response = Response<body::Response>, Error = exchange::Error>,
    S::Future: Send + 'static,
{
    fn retire(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Both sides, until the end of both. `peer` is given where hyper does not read while it answers.
pub(super) async fn drive<S: Serving>(
    line: &Arc<Line>,
    stop: &CancellationToken,
    peer: Option<Peer>,
    serving: S,
    app: impl Future<Output = hyper::Result<()>>,
) -> Ended {
    let mut serving = Box::pin(serving);
    let mut app = pin!(app);
    let (mut head, mut farewell) = (pin!(sleep(FAREWELL)), pin!(sleep(FAREWELL)));
    let (mut judged, mut is_stopped, mut app_ended, mut is_retired) = (None, false, false, false);
    let served = loop {
        tokio::select! {
            biased;
            how = line.verdict(), if judged.is_none() => {
                judged = Some(how);
                if !is_gentle(how) {
                    return Ended::judged(how);
                }
                line.end();
                serving.as_mut().retire();
                farewell.as_mut().reset(Instant::now() + FAREWELL);
            }
            () = farewell.as_mut(), if judged.is_some() => {
                return Ended::judged(judged.unwrap_or(Ending::Failed));
            }
            () = stop.cancelled(), if !is_stopped => {
                is_stopped = true;
                serving.as_mut().retire();
            }
            served = serving.as_mut() => break served,
            ended = app.as_mut(), if !app_ended => {
                app_ended = true;
                note(line, ended);
            }
            () = broken(peer.as_ref()) => {
                return line.fault().unwrap_or_else(|| Ended::new(Ending::PeerReset));
            }
            // Nobody is there any more who could answer another request.
            () = line.rests(), if app_ended && !is_retired => {
                is_retired = true;
                serving.as_mut().retire();
            }
            () = late(line, head.as_mut()) => {
                return Ended::http(match line.request() {
                    Some(request) => format!("the head of a request does not end: {request}"),
                    None => "the head of a request does not end".to_owned(),
                });
            }
        }
    };
    // With it goes what requests are sent by, so that the application is told that it was the last.
    drop(serving);
    let rest = async { if app_ended { Ok(()) } else { app.await } };
    let ended = finish(line, served, rest).await;
    judged.map_or(ended, Ended::judged)
}

/// What is left once the client's side is done.
async fn finish(
    line: &Line,
    served: hyper::Result<()>,
    app: impl Future<Output = hyper::Result<()>>,
) -> Ended {
    match (served, line.tunnel()) {
        (Ok(()), Some(ends)) => through(line, ends, app).await,
        (Ok(()), None) => {
            drop(timeout(PARTING, app).await);
            line.fault().unwrap_or_else(|| Ended::new(Ending::Closed))
        }
        (Err(error), _) => {
            line.fault().unwrap_or_else(|| blame::of(&error, line.request().as_deref()))
        }
    }
}

/// The application's side broke: hyper may have nothing to say of that on the client's.
fn note(line: &Line, ended: hyper::Result<()>) {
    if let Err(error) = ended
        && !error.is_user()
        && !error.is_canceled()
    {
        line.breaks(Ended { detail: Some(error.to_string()), ..Ended::new(Ending::AppReset) });
    }
}

async fn broken(peer: Option<&Peer>) {
    match peer {
        Some(peer) => peer.broken().await,
        None => std::future::pending().await,
    }
}

/// Whether a connection may end what it has begun, for a moment, though not begin anything.
fn is_gentle(how: Ending) -> bool {
    matches!(
        how,
        Ending::PeerExpired
            | Ending::PeerUntrusted
            | Ending::PeerNotAllowed
            | Ending::PolicyChanged
            | Ending::IdleTimeout
    )
}

/// Waits for as long as the head of a request may take, if one comes.
async fn late(line: &Line, mut timer: Pin<&mut Sleep>) {
    let late = std::future::poll_fn(|cx| {
        let Some(deadline) = line.deadline() else { return Poll::Pending };
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    });
    late.await;
}

/// What is no longer HTTP, under the same eyes.
async fn through(
    line: &Line,
    ends: [OnUpgrade; 2],
    app: impl Future<Output = hyper::Result<()>>,
) -> Ended {
    // The application's side hands over its end once it is driven so far.
    let carried = async { futures::join!(tunnel(ends), app).0 };
    tokio::select! {
        biased;
        how = line.verdict() => Ended::judged(how),
        carried = carried => match (line.fault(), carried) {
            (Some(fault), _) => fault,
            (None, Ok(())) => Ended::new(Ending::Closed),
            (None, Err(error)) => Ended::app(&error),
        },
    }
}
