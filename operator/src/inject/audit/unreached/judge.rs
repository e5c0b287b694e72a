//! When an injected pod is reported for not reaching discovery; pure.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

/// Whether this replica and those that report to it are all replicas of discovery. `replicas` are the pods
/// behind discovery's Service, whether or not they are ready; an endpoint that names no pod is not known.
pub(super) fn knows_all<'a>(
    own: &str,
    relaying: &BTreeSet<String>,
    replicas: impl Iterator<Item = Option<&'a str>>,
) -> bool {
    let mut is_there = false;
    for replica in replicas {
        let Some(replica) = replica else { return false };
        is_there |= replica == own;
        if replica != own && !relaying.contains(replica) {
            return false;
        }
    }
    // Without its own endpoint, what was read of the Service is not all.
    is_there
}

/// Since when pods have had no stream, by their uids, and which of them were reported.
#[derive(Debug, Default)]
pub(super) struct Watched {
    since: HashMap<String, Instant>,
    reported: HashSet<String>,
}

impl Watched {
    /// Forgets all pods but these.
    pub(super) fn keep(&mut self, pods: &HashSet<String>) {
        self.reported.retain(|uid| pods.contains(uid));
    }

    /// Takes in which pods have no stream now, or that this is not known, and returns those to report: they
    /// had none at every look within `patience`. Each is reported once.
    pub(super) fn look(
        &mut self,
        unheard: Option<HashSet<String>>,
        now: Instant,
        patience: Duration,
        most: usize,
    ) -> Vec<String> {
        let unheard = unheard.unwrap_or_default();
        self.since.retain(|uid, _| unheard.contains(uid));
        for uid in unheard.difference(&self.reported) {
            self.since.entry(uid.clone()).or_insert(now);
        }
        let late = self.since.iter().filter(|(_, since)| now.duration_since(**since) >= patience);
        let late: Vec<String> = late.map(|(uid, _)| uid.clone()).take(most).collect();
        for uid in &late {
            self.since.remove(uid);
            self.reported.insert(uid.clone());
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_streams_are_known_while_every_replica_of_the_service_reports() {
        // The leader, who reports to it, and who is behind the Service.
        type Case<'a> = (&'a str, &'a [&'a str], &'a [Option<&'a str>], bool);
        let cases: [Case<'_>; 9] = [
            ("a", &[], &[Some("a")], true),
            ("a", &["b"], &[Some("a"), Some("b")], true),
            ("a", &["b", "c"], &[Some("a"), Some("b")], true),
            // A rollout, or a relay that broke off.
            ("a", &["b"], &[Some("a"), Some("b"), Some("c")], false),
            ("a", &[], &[Some("a"), Some("b")], false),
            // The Service was not read, or the leader is not in it.
            ("a", &["b"], &[], false),
            ("a", &["b"], &[Some("b")], false),
            ("", &["b"], &[Some("b")], false),
            ("a", &["b"], &[Some("a"), None], false),
        ];
        for (own, relaying, replicas, expected) in cases {
            let relaying = relaying.iter().map(|name| (*name).to_owned()).collect();
            let knows = knows_all(own, &relaying, replicas.iter().copied());
            assert_eq!(knows, expected, "{own} {relaying:?} {replicas:?}");
        }
    }

    #[test]
    fn a_pod_is_reported_once_after_it_had_no_stream_at_every_look() {
        let (begin, patience) = (Instant::now(), Duration::from_secs(120));
        // At which second which pods had no stream, or that it was not known; and who is reported.
        type Look<'a> = (u64, Option<&'a [&'a str]>, &'a [&'a str]);
        let cases: [(&str, &[Look<'_>]); 6] = [
            (
                "never",
                &[(0, Some(&["a"]), &[]), (60, Some(&["a"]), &[]), (120, Some(&["a"]), &["a"])],
            ),
            (
                "once",
                &[(0, Some(&["a"]), &[]), (120, Some(&["a"]), &["a"]), (300, Some(&["a"]), &[])],
            ),
            (
                "a stream between: a replica ended, and the next one has it",
                &[(0, Some(&["a"]), &[]), (60, Some(&[]), &[]), (120, Some(&["a"]), &[])],
            ),
            (
                "not known between: a rollout, or another leader",
                &[
                    (0, Some(&["a"]), &[]),
                    (60, None, &[]),
                    (120, Some(&["a"]), &[]),
                    (240, Some(&["a"]), &["a"]),
                ],
            ),
            ("never known", &[(0, None, &[]), (300, None, &[])]),
            (
                "each by its own time",
                &[
                    (0, Some(&["a"]), &[]),
                    (60, Some(&["a", "b"]), &[]),
                    (120, Some(&["a", "b"]), &["a"]),
                    (180, Some(&["a", "b"]), &["b"]),
                ],
            ),
        ];
        for (what, looks) in cases {
            let mut watched = Watched::default();
            for (second, unheard, expected) in looks {
                let unheard = unheard.map(|all| all.iter().map(|uid| (*uid).to_owned()).collect());
                let now = begin + Duration::from_secs(*second);
                let reported = watched.look(unheard, now, patience, 8);
                assert_eq!(reported, *expected, "{what} at {second}");
            }
        }
    }

    #[test]
    fn many_pods_are_reported_by_turns_and_a_pod_that_is_gone_is_forgotten() {
        let all: HashSet<String> = (0..5).map(|number| number.to_string()).collect();
        let (mut watched, begin) = (Watched::default(), Instant::now());
        let mut look = |second| {
            let now = begin + Duration::from_secs(second);
            watched.look(Some(all.clone()), now, Duration::from_secs(1), 2).len()
        };
        assert_eq!([0, 1, 2, 3, 4].map(&mut look), [0, 2, 2, 1, 0]);
        watched.keep(&HashSet::new());
        assert!(watched.reported.is_empty());
    }
}
