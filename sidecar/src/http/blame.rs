//! Whose fault it is that a connection ended, by what hyper says of it.

use std::error::Error;
use std::io;

use countersign_contract::Ending;

use super::exchange;
use crate::relay::Ended;

type Cause<'a> = &'a (dyn Error + 'static);

/// How a connection ended of which neither socket had anything to say; `request` is the one whose head came
/// last, if that could not be read.
pub(super) fn of(error: &hyper::Error, request: Option<&str>) -> Ended {
    let causes = causes(error);
    let how = if error.is_user() && !causes.iter().any(|cause| is_of_request(*cause)) {
        Ending::AppReset
    } else if causes.iter().any(|cause| is_early_end(*cause)) {
        Ending::PeerReset
    } else {
        Ending::HttpProtocol
    };
    let mut detail = causes.iter().map(ToString::to_string).collect::<Vec<_>>().join(": ");
    if let Some(request) = request.filter(|_| how == Ending::HttpProtocol) {
        detail = format!("{detail}: {request}");
    }
    Ended { detail: Some(detail), ..Ended::new(how) }
}

/// An error, and what is behind it.
fn causes(error: &hyper::Error) -> Vec<Cause<'_>> {
    let (mut causes, mut next): (Vec<Cause<'_>>, Option<Cause<'_>>) = (Vec::new(), Some(error));
    while let Some(cause) = next {
        causes.push(cause);
        next = cause.source();
    }
    causes
}

/// Whether it was a request's body that could not be sent to the application, since it is none.
fn is_of_request(cause: Cause<'_>) -> bool {
    matches!(cause.downcast_ref(), Some(exchange::Error::App(error)) if error.is_user())
}

/// Whether somebody ended in the middle of a message.
fn is_early_end(cause: Cause<'_>) -> bool {
    let is_message = cause.downcast_ref().is_some_and(hyper::Error::is_incomplete_message);
    let kind = cause.downcast_ref().map(io::Error::kind);
    is_message || kind == Some(io::ErrorKind::UnexpectedEof)
}
