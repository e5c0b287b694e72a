//! How often the Secret of a Certificate is put right, where somebody else keeps changing it: two
//! writers that each know better would otherwise fill etcd.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// So many repairs are made at once,
const AT_ONCE: usize = 10;

/// in so much time;
const WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// those that follow are this far apart.
const APART: SignedDuration = SignedDuration::from_mins(1);

/// When Secrets were put right of late, by the uid of their Certificate. A restart forgets it.
#[derive(Debug, Default)]
pub struct Repairs(Mutex<HashMap<String, VecDeque<Timestamp>>>);

impl Repairs {
    /// A Secret was put right.
    pub fn note(&self, uid: &str, now: Timestamp) {
        let mut repairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = repairs.entry(uid.to_owned()).or_default();
        times.push_back(now);
        while times.len() > AT_ONCE {
            times.pop_front();
        }
    }

    /// The last times, the oldest first.
    #[must_use]
    pub fn of(&self, uid: &str) -> Vec<Timestamp> {
        let repairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        repairs.get(uid).into_iter().flatten().copied().collect()
    }

    /// A Certificate is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// Until when a Secret is left as it is, if it was put right too often; pure.
#[must_use]
pub fn next_at(repairs: &[Timestamp], now: Timestamp) -> Option<Timestamp> {
    let lately = repairs.iter().filter(|time| now.duration_since(**time) < WITHIN).count();
    let next = repairs.last()?.checked_add(APART).ok()?;
    (lately >= AT_ONCE && now < next).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::support::now;

    fn seconds_ago(ages: impl IntoIterator<Item = i64>) -> Vec<Timestamp> {
        ages.into_iter().map(|age| now() - SignedDuration::from_secs(age)).collect()
    }

    #[test]
    fn a_secret_is_put_right_at_once_until_it_was_too_often() {
        let ten = |last: i64| seconds_ago((0..10).map(|place| last + 9 - place));
        let cases = [
            ("never", Vec::new(), None),
            ("a few times", seconds_ago([5, 4, 3, 2, 1]), None),
            ("nine times", ten(0).split_off(1), None),
            ("ten times", ten(0), Some(60)),
            ("ten times, and then a while not", ten(20), Some(40)),
            ("ten times, and then a minute not", ten(60), None),
            ("ten times in an hour", seconds_ago((0..10).map(|place| 3600 - 400 * place)), None),
        ];
        for (what, repairs, seconds) in cases {
            let expected = seconds.map(|seconds| now() + SignedDuration::from_secs(seconds));
            assert_eq!(next_at(&repairs, now()), expected, "{what}");
        }
    }

    #[test]
    fn only_what_counts_is_remembered() {
        let repairs = Repairs::default();
        for time in seconds_ago((0..30).rev()) {
            repairs.note("uid-of-web", time);
        }
        assert_eq!(repairs.of("uid-of-web"), seconds_ago((0..10).rev()));
        assert!(repairs.of("uid-of-api").is_empty());
        repairs.forget("uid-of-web");
        assert!(repairs.of("uid-of-web").is_empty());
    }
}
