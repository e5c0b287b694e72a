//! When the API server is asked again for what it refused. Time mends a conflict, a timeout, a missing
//! right; it does not mend an object that the API server calls invalid.

use std::error::Error;
use std::time::Duration;

use jiff::SignedDuration;

/// How long until a write is tried again that the API server calls invalid: only a change of something
/// else can help, and that wakes the reconciler by itself.
const LASTING: Duration = Duration::from_secs(300);

/// The longest interval at which an object is retried that waits for another one. The change that lets it go
/// on is watched, and wakes it before.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The same after an error of the API server's, whose end is not watched.
pub(crate) const LONGEST_AFTER_ERROR: Duration = Duration::from_secs(60);

/// Whether the API server refuses something for what it is, now and later.
#[must_use]
pub(crate) fn is_lasting(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => matches!(status.code, 400 | 405 | 406 | 413 | 415 | 422),
        _ => error.source().is_some_and(is_lasting),
    }
}

/// How long until it is tried again.
#[must_use]
pub(crate) fn after(error: &(dyn Error + 'static), soon: Duration) -> Duration {
    if is_lasting(error) { LASTING } else { soon }
}

/// How long until an object is retried that has waited for so long: a tenth of that, so that thousands that
/// wait for ever cost little.
#[must_use]
pub(crate) fn by_age(waited: SignedDuration, first: Duration, longest: Duration) -> Duration {
    Duration::try_from(waited / 10).unwrap_or_default().clamp(first, longest)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("writing")]
    struct Writing(#[source] kube::Error);

    fn refused(code: u16) -> Writing {
        let status = json!({ "status": "Failure", "code": code, "reason": "any", "message": "no" });
        let status: Status = serde_json::from_value(status).unwrap();
        Writing(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn interval_grows_with_the_time_waited() {
        let seconds = Duration::from_secs;
        let cases = [
            (-5, 300, 5),
            (0, 300, 5),
            (50, 300, 5),
            (600, 300, 60),
            (3000, 300, 300),
            (1_000_000, 300, 300),
            (1_000_000, 60, 60),
        ];
        for (waited, longest, expected) in cases {
            let found = by_age(SignedDuration::from_secs(waited), seconds(5), seconds(longest));
            assert_eq!(found, seconds(expected), "{waited}");
        }
    }

    #[test]
    fn what_time_does_not_mend_is_not_tried_again_each_second() {
        let soon = Duration::from_secs(1);
        for code in [400, 413, 422] {
            assert_eq!(after(&refused(code), soon), LASTING, "{code}");
        }
        for code in [401, 403, 404, 409, 410, 429, 500, 503, 504] {
            assert_eq!(after(&refused(code), soon), soon, "{code}");
        }
        assert_eq!(after(&Writing(kube::Error::LinesCodecMaxLineLengthExceeded), soon), soon);
    }
}
