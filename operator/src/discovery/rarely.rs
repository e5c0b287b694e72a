//! What concerns many addresses at once is looked at once a second at most, however often it changes.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::ResourceExt;
use tokio::time::Instant;

use crate::kept::MeshPod;

/// So often.
const EVERY: Duration = Duration::from_secs(1);

/// What waits to be looked at, and since when it was not.
#[derive(Debug, Default)]
pub(super) struct Rarely {
    work: Work,
    last: Option<Instant>,
}

/// What is to be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Namespaces whose policies changed.
    namespaces: BTreeSet<String>,
    /// Policies changed, and it is not known of which namespaces.
    all: bool,
    /// Pods, Services or ranges changed, by which ranges are judged.
    pub(super) ranges: bool,
}

impl Work {
    /// Whether policies changed.
    pub(super) fn has_policies(&self) -> bool {
        self.all || !self.namespaces.is_empty()
    }

    /// Whether policies changed that a pod may be under.
    pub(super) fn concerns(&self, pod: &MeshPod) -> bool {
        self.all || pod.namespace().is_some_and(|namespace| self.namespaces.contains(&namespace))
    }
}

impl Rarely {
    pub(super) fn policies_of(&mut self, namespace: String) {
        self.work.namespaces.insert(namespace);
    }

    pub(super) fn all_policies(&mut self) {
        self.work.all = true;
    }

    pub(super) fn ranges(&mut self) {
        self.work.ranges = true;
    }

    /// When something is to be looked at, if anything is.
    pub(super) fn due(&self) -> Option<Instant> {
        let earliest = self.last.map_or_else(Instant::now, |last| last + EVERY);
        (self.work != Work::default()).then_some(earliest)
    }

    /// What is to be looked at now.
    pub(super) fn take(&mut self, now: Instant) -> Option<Work> {
        let is_early = self.last.is_some_and(|last| now < last + EVERY);
        if is_early || self.work == Work::default() {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.work))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_that_change_all_the_time_are_looked_at_once_a_second() {
        let (mut rarely, began) = (Rarely::default(), Instant::now());
        assert!(rarely.due().is_none() && rarely.take(began).is_none());
        let mut taken = Vec::new();
        for change in 0..50 {
            rarely.policies_of("evil".to_owned());
            let now = began + Duration::from_millis(50) * change;
            taken.extend(rarely.take(now).map(|work| (change, work.namespaces.len())));
        }
        assert_eq!(taken, [(0, 1), (20, 1), (40, 1)]);
        assert_eq!(rarely.due(), Some(began + Duration::from_secs(3)));
        let work = rarely.take(began + Duration::from_secs(3)).unwrap();
        assert!(work.has_policies() && !work.ranges);
    }
}
