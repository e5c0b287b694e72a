//! Whether the kubelet of a pod is told to look at its volumes anew; pure. How often it was told
//! stands in the annotation by which it is told, so that a restart of ours tells nobody anew.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// A pod that still follows an older revision is told again: what the kubelet itself watches may be
/// a little behind what was written.
const FIRST_WAIT: Duration = Duration::from_millis(1500);

/// So often in all, each time after twice as long. The kubelet looks by itself within a minute or two.
const MOST: u32 = 5;

/// A pod that was made so long after the document began with it: kubelets follow what is written
/// within less. Both times are told in whole seconds.
const SURE: SignedDuration = SignedDuration::from_secs(3);

/// What is known of a pod.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known<'a> {
    /// The annotation.
    pub(super) annotation: Option<&'a str>,
    /// The revision that it says it follows.
    pub(super) follows: Option<&'a str>,
    /// Whether it began with the revision.
    pub(super) began_with_it: bool,
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
    let follows_it = known.follows.is_none_or(|follows| follows == revision);
    let Some(times) = times(known.annotation, revision) else {
        let needs_none = known.annotation.is_none() && known.began_with_it && follows_it;
        return if needs_none { Step::Leave } else { Step::Touch(revision.to_owned()) };
    };
    if follows_it || times >= MOST {
        return Step::Leave;
    }
    let wait = FIRST_WAIT * 2_u32.pow(times - 1);
    match wait.checked_sub(now.saturating_duration_since(known.told.unwrap_or(now))) {
        Some(left) if !left.is_zero() => Step::Wait(left),
        _ => Step::Touch(format!("{revision}.{}", times + 1)),
    }
}

/// Whether a pod that was made at one time began with what was written at another.
pub(super) fn began_with(made: Option<Timestamp>, written: Option<Timestamp>) -> bool {
    made.zip(written).is_some_and(|(made, written)| made.duration_since(written) >= SURE)
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
            let known = Known { annotation, follows, told: Some(told), began_with_it: false };
            let found = step("b", known, told + Duration::from_millis(after));
            assert_eq!(found, expected, "{annotation:?} {follows:?} {after}");
        }
    }

    #[test]
    fn a_pod_that_began_with_a_revision_is_told_of_the_next_one_only() {
        let touch = Step::Touch("b".to_owned());
        let cases = [
            (None, None, Step::Leave),
            (None, Some("b"), Step::Leave),
            (None, Some("a"), touch.clone()),
            (Some("a"), None, touch),
            (Some("b"), None, Step::Leave),
        ];
        for (annotation, follows, expected) in cases {
            let known = Known { annotation, follows, began_with_it: true, told: None };
            assert_eq!(step("b", known, Instant::now()), expected, "{annotation:?} {follows:?}");
        }
        let at = |second| Timestamp::from_second(second).ok();
        let cases = [
            (at(13), at(10), true),
            (at(12), at(10), false),
            (None, at(1), false),
            (at(9), None, false),
        ];
        for (made, written, expected) in cases {
            assert_eq!(began_with(made, written), expected, "{made:?} {written:?}");
        }
    }

    #[test]
    fn after_a_restart_a_pod_has_its_time_once_more() {
        let known = Known { annotation: Some("b"), follows: Some("a"), ..Known::default() };
        assert_eq!(step("b", known, Instant::now()), Step::Wait(FIRST_WAIT));
    }
}
