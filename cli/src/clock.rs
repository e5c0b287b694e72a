//! The only place that reads the clock, so that everything else can be told what time it is.

use jiff::Timestamp;

/// The time, to the second: certificates and statuses know no less.
#[must_use]
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
