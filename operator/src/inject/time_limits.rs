//! Time limits of the sidecar that a pod, or the chart, may set; pure.

use std::time::Duration;

use countersign_contract::names;

use super::args::InjectArgs;

/// One limit: how it is called everywhere, and between which bounds it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimit {
    /// The annotation.
    pub(super) name: &'static str,
    /// The sidecar's flag.
    pub(super) flag: &'static str,
    /// What its value must be.
    pub(super) wanted: &'static str,
    least: Duration,
    most: Duration,
    /// What holds where a pod says nothing; the sidecar's own default, if nothing.
    usual: fn(&InjectArgs) -> Option<kube::core::Duration>,
}

const HOUR: u64 = 3600;

pub(super) const IDLE: TimeLimit = TimeLimit {
    name: names::IDLE_TIMEOUT_ANNOTATION,
    flag: "--idle-timeout",
    wanted: "a duration from 1s to 720h, such as 1h",
    least: Duration::from_secs(1),
    most: Duration::from_secs(720 * HOUR),
    usual: |args| args.sidecar_idle_timeout,
};

pub(super) const HALF_CLOSED: TimeLimit = TimeLimit {
    name: names::HALF_CLOSED_TIMEOUT_ANNOTATION,
    flag: "--half-closed-timeout",
    wanted: "a duration from 1s to 720h, such as 1h",
    least: Duration::from_secs(1),
    most: Duration::from_secs(720 * HOUR),
    usual: |args| args.sidecar_half_closed_timeout,
};

pub(super) const STALL: TimeLimit = TimeLimit {
    name: names::STALL_TIMEOUT_ANNOTATION,
    flag: "--stall-timeout",
    wanted: "a duration from 1s to 168h, such as 30m",
    least: Duration::from_secs(1),
    most: Duration::from_secs(168 * HOUR),
    usual: |args| args.sidecar_stall_timeout,
};

pub(super) const DIAL: TimeLimit = TimeLimit {
    name: names::DIAL_TIMEOUT_ANNOTATION,
    flag: "--dial-timeout",
    wanted: "a duration from 100ms to 5m, such as 10s",
    least: Duration::from_millis(100),
    most: Duration::from_secs(300),
    usual: |args| args.sidecar_dial_timeout,
};

/// Within it a certificate that has ended still counts: hence a day at most.
pub(super) const PEER_EXPIRY: TimeLimit = TimeLimit {
    name: names::PEER_EXPIRY_GRACE_ANNOTATION,
    flag: "--peer-expiry-grace",
    wanted: "a duration of up to 24h, such as 1h",
    least: Duration::ZERO,
    most: Duration::from_secs(24 * HOUR),
    usual: |args| args.sidecar_peer_expiry_grace,
};

/// All of them.
pub(super) const TIME_LIMITS: [TimeLimit; 5] = [IDLE, HALF_CLOSED, STALL, DIAL, PEER_EXPIRY];

impl TimeLimit {
    /// Reads a Go duration that lies between the bounds, in whole milliseconds.
    pub(super) fn parse(&self, text: &str) -> Option<Duration> {
        let parsed = crate::duration::parse(text)?;
        let is_legal =
            (self.least..=self.most).contains(&parsed) && parsed.subsec_nanos() % 1_000_000 == 0;
        is_legal.then_some(parsed)
    }

    /// What holds where a pod says nothing.
    pub(super) fn usual(&self, args: &InjectArgs) -> Option<Duration> {
        (self.usual)(args).map(Duration::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_lies_between_its_bounds() {
        let cases = [
            (IDLE, "1h30m", true),
            (IDLE, "0s", false),
            (IDLE, "721h", false),
            (HALF_CLOSED, "1s", true),
            (STALL, "168h", true),
            (STALL, "168h1s", false),
            (DIAL, "100ms", true),
            (DIAL, "1.5s", true),
            (DIAL, "99ms", false),
            (DIAL, "6m", false),
            (DIAL, "1s1us", false),
            (PEER_EXPIRY, "0s", true),
            (PEER_EXPIRY, "24h", true),
            (PEER_EXPIRY, "25h", false),
            (PEER_EXPIRY, "-1s", false),
            (PEER_EXPIRY, "soon", false),
            (PEER_EXPIRY, "", false),
            (IDLE, "99999999999999999999999999999h", false),
        ];
        for (limit, text, legal) in cases {
            assert_eq!(limit.parse(text).is_some(), legal, "{} {text}", limit.name);
        }
    }
}
