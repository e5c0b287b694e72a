//! Whether the kubelet of a pod is told to look at its volumes anew; pure. How often it was told
//! stands in the annotation by which it is told, so that a restart of ours tells nobody anew.

use std::time::{Duration, Instant};

/// A pod that still follows an older revision is told again: what the kubelet itself watches may be
/// a little behind what was written.
const FIRST_WAIT: Duration = Duration::from_millis(1500);

/// So often in all, each time after twice as long. The kubelet looks by itself within a minute or two.
const MOST: u32 = 5;

/// What is known of a pod.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known<'a> {
    /// The annotation.
    pub(super) annotation: Option<&'a str>,
    /// The revision that it says it follows.
    pub(super) follows: Option<&'a str>,
    /// When it was told last, as far as is remembered.
    pub(super) told: Option<Instant>,
}

/// What to do about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Leave,
    /// Write this into the annotation.
    Touch(String),
    /// Look again after so long.
    Wait(Duration),
}

/// What to do about a pod that should follow a revision.
pub(super) fn step(revision: &str, known: Known<'_>, now: Instant) -> Step {
    let Some(times) = times(known.annotation, revision) else {
        return Step::Touch(revision.to_owned());
    };
    let follows_it = known.follows.is_none_or(|follows| follows == revision);
    if follows_it || times >= MOST {
        return Step::Leave;
    }
    let wait = FIRST_WAIT * 2_u32.pow(times - 1);
    match wait.checked_sub(now.saturating_duration_since(known.told.unwrap_or(now))) {
        Some(left) if !left.is_zero() => Step::Wait(left),
        _ => Step::Touch(format!("{revision}.{}", times + 1)),
    }
}

/// How often a pod was told of a revision: `revision`, and then `revision.2` and so on.
fn times(annotation: Option<&str>, revision: &str) -> Option<u32> {
    match annotation?.strip_prefix(revision)? {
        "" => Some(1),
        more => more.strip_prefix('.')?.parse().ok().filter(|times| *times > 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_told_once_and_again_while_it_follows_something_older() {
        let touch = |text: &str| Step::Touch(text.to_owned());
        let wait = |ms| Step::Wait(Duration::from_millis(ms));
        let cases = [
            // It was never told, or of something else.
            (None, None, 0, touch("b")),
            (Some("a"), None, 0, touch("b")),
            (Some("a.3"), Some("a"), 0, touch("b")),
            (Some("bc"), None, 0, touch("b")),
            (Some("b.x"), None, 0, touch("b")),
            (Some("b.0"), None, 0, touch("b")),
            // It was told, and says nothing, or that it knows.
            (Some("b"), None, 9000, Step::Leave),
            (Some("b"), Some("b"), 9000, Step::Leave),
            (Some("b.3"), Some("b"), 9000, Step::Leave),
            // It was told, and follows something else.
            (Some("b"), Some("a"), 0, wait(1500)),
            (Some("b"), Some("a"), 1000, wait(500)),
            (Some("b"), Some("a"), 1500, touch("b.2")),
            (Some("b.2"), Some("a"), 1500, wait(1500)),
            (Some("b.2"), Some("a"), 3000, touch("b.3")),
            (Some("b.4"), Some("a"), 12_000, touch("b.5")),
            (Some("b.5"), Some("a"), 99_000, Step::Leave),
            (Some("b.4294967295"), Some("a"), 99_000, Step::Leave),
        ];
        let told = Instant::now();
        for (annotation, follows, after, expected) in cases {
            let known = Known { annotation, follows, told: Some(told) };
            let found = step("b", known, told + Duration::from_millis(after));
            assert_eq!(found, expected, "{annotation:?} {follows:?} {after}");
        }
    }

    #[test]
    fn after_a_restart_a_pod_has_its_time_once_more() {
        let known = Known { annotation: Some("b"), follows: Some("a"), told: None };
        assert_eq!(step("b", known, Instant::now()), Step::Wait(FIRST_WAIT));
    }
}
