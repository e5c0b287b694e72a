//! Whether anything was left behind, or went wrong that should not; pure.

use super::load::Tally;
use super::sidecar::Seen;

/// What strangers and the faults here explain.
const EXPECTED: [&str; 9] = [
    "dial_failed",
    "dial_timeout",
    "first_byte_timeout",
    "handshake_aborted",
    "handshake_timeout",
    "no_client_certificate",
    "plaintext",
    // The outbound sidecar hears so of an application that is away.
    "refused_by_peer",
    "tls_protocol",
];

/// What was seen of one sidecar, each time when it was idle.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    pub(super) at_the_start: Seen,
    pub(super) after_a_minute: Seen,
    pub(super) at_the_end: Seen,
}

/// What is wrong with one sidecar; nothing if all is well.
pub(super) fn complaints(name: &str, seen: &Times, seconds: u64) -> Vec<String> {
    let Times { at_the_start, after_a_minute, at_the_end } = seen;
    let mut all = Vec::new();
    let mut check = |is_well: bool, what: String| {
        if !is_well {
            all.push(format!("{name}: {what}"));
        }
    };
    let (before, after) = (at_the_start.descriptors, at_the_end.descriptors);
    check(before == after, format!("{after} descriptors at the end, {before} at the start"));
    let (before, after) = (after_a_minute.memory, at_the_end.memory);
    let may = (before * 1.1).max(before + 1024.0);
    check(after <= may, format!("{after:.0} kB at the end, {before:.0} kB after a minute"));
    let live = at_the_end.sum("countersign_sidecar_connections");
    check(live == 0.0, format!("{live} connections are live, and no client is"));
    let pending = at_the_end.sum("countersign_sidecar_pending_handshakes");
    check(pending == 0.0, format!("{pending} handshakes are under way, and no client is"));
    let opened = at_the_end.sum("countersign_sidecar_connections_opened_total");
    let closed = at_the_end.sum("countersign_sidecar_connections_closed_total");
    check(opened == closed, format!("{opened} connections were opened, {closed} closed"));
    for (labels, count) in at_the_end.labelled("countersign_sidecar_refusals_total") {
        let is_expected = EXPECTED.iter().any(|reason| labels.contains(&format!("\"{reason}\"")));
        check(count == 0.0 || is_expected, format!("{count} refusals with {labels}"));
    }
    let reloads = at_the_end.sum("countersign_sidecar_credential_reloads_total{result=\"ok\"}");
    let wanted = seconds as f64 * 0.8;
    check(reloads >= wanted, format!("{reloads} sets of credentials were taken in {seconds} s"));
    all
}

/// What is wrong with what clients saw.
pub(super) fn of_clients(tally: &Tally) -> Vec<String> {
    let mut all = tally.told.clone();
    if tally.failures > 0 {
        all.push(format!("{} clients failed, or were not cut", tally.failures));
    }
    if tally.excused > tally.served() / 4 {
        all.push(format!("{} clients met a fault: too many to say anything", tally.excused));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(descriptors: usize, memory: f64, metrics: &[(&str, f64)]) -> Seen {
        let metrics = metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Seen { descriptors, memory, metrics }
    }

    fn said_of(at_the_end: Seen) -> usize {
        let at_the_start = seen(20, 6000.0, &[]);
        let after_a_minute = seen(20, 8000.0, &[]);
        complaints("x", &Times { at_the_start, after_a_minute, at_the_end }, 0).len()
    }

    #[test]
    fn only_what_is_left_behind_or_unexpected_is_complained_of() {
        let refused = |reason: &str| {
            format!(
                "countersign_sidecar_refusals_total{{direction=\"inbound\",reason=\"{reason}\"}}"
            )
        };
        let cases = [
            (seen(20, 8900.0, &[]), 0),
            (seen(20, 9100.0, &[]), 1),
            (seen(21, 8000.0, &[]), 1),
            (
                seen(
                    20,
                    8000.0,
                    &[("countersign_sidecar_connections{direction=\"inbound\"}", 1.0)],
                ),
                1,
            ),
            (seen(20, 8000.0, &[("countersign_sidecar_pending_handshakes", 2.0)]), 1),
            (seen(20, 8000.0, &[("countersign_sidecar_connections_opened_total{}", 2.0)]), 1),
            (seen(20, 8000.0, &[(&refused("plaintext"), 2.0)]), 0),
            (seen(20, 8000.0, &[(&refused("peer_expired"), 2.0)]), 1),
            (seen(20, 8000.0, &[(&refused("peer_expired"), 0.0)]), 0),
        ];
        for (at_the_end, count) in cases {
            assert_eq!(said_of(at_the_end.clone()), count, "{at_the_end:?}");
        }
    }
}
