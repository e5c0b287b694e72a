//! When the API server is asked again for what it refused. Time mends a conflict, a timeout, a missing
//! right; it does not mend an object that the API server calls invalid.

use std::error::Error;
use std::time::Duration;

/// How long until a write is tried again that the API server calls invalid: only a change of something
/// else can help, and that wakes the reconciler by itself.
const LASTING: Duration = Duration::from_secs(300);

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
