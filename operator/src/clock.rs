//! The only place that reads the clock, so that everything else can be told what time it is.

use jiff::Timestamp;

/// Where `now` comes from.
#[derive(Clone, Copy, Debug)]
pub struct Clock(fn() -> Timestamp);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        Self(Timestamp::now)
    }

    /// Whatever a test says that it is.
    #[must_use]
    pub fn of(now: fn() -> Timestamp) -> Self {
        Self(now)
    }

    /// The time, to the second: certificates and statuses know no less.
    #[must_use]
    pub fn now(self) -> Timestamp {
        let now = (self.0)();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }
}
