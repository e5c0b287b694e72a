//! What a pod may say by annotation, and what becomes of a mistake; pure. docs/injection.md has the
//! same table.

use countersign_contract::names;

use super::time_limits::{DIAL, HALF_CLOSED, IDLE, PEER_EXPIRY, STALL};

/// What becomes of a value that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// The pod starts as if nothing had been said, which this describes.
    Default(&'static str),
    /// It is not let in: to go on without would lower its security, or cut its traffic, unseen.
    Refusal,
}

/// One annotation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    /// What its value must be.
    pub(super) wanted: &'static str,
    pub(super) mistake: Mistake,
}

const PORTS: &str = "a list of ports such as 9090,9091";
const CPU: &str = "a quantity of CPU of at least 1m, such as 10m";
const MEMORY: &str = "a quantity of memory of at least 8Mi, such as 32Mi";
const USUAL: Mistake = Mistake::Default("what is usual here holds");

/// All that a pod may say.
pub(super) const KNOWN: [Known; 19] = [
    // Callers would be turned away, or, worse, let in: nobody could tell which ports are meant.
    of(names::MODE_ANNOTATION, "redirect or explicit", Mistake::Refusal),
    // Without it nothing listens where callers call.
    of(names::INBOUND_ANNOTATION, "LISTEN=TARGET such as 8443=8080", Mistake::Refusal),
    // Without it the application calls nobody, or would be changed to call without TLS.
    of(names::UPSTREAMS_ANNOTATION, "PORT=HOST:PORT", Mistake::Refusal),
    // All mutual is the safe side, in either direction.
    of(names::SKIP_INBOUND_PORTS_ANNOTATION, PORTS, Mistake::Default("no port is skipped")),
    of(names::SKIP_OUTBOUND_PORTS_ANNOTATION, PORTS, Mistake::Default("no port is skipped")),
    of(
        names::PROBES_ANNOTATION,
        "rewrite or leave",
        Mistake::Default("they go through the sidecar"),
    ),
    of(
        names::DRAIN_TIMEOUT_ANNOTATION,
        "a duration of up to 24h, such as 25s",
        Mistake::Default("it is a little less than the pod's terminationGracePeriodSeconds"),
    ),
    of(IDLE.name, IDLE.wanted, USUAL),
    of(HALF_CLOSED.name, HALF_CLOSED.wanted, USUAL),
    of(STALL.name, STALL.wanted, USUAL),
    of(DIAL.name, DIAL.wanted, USUAL),
    of(PEER_EXPIRY.name, PEER_EXPIRY.wanted, USUAL),
    of(
        names::SIDECAR_LOG_ANNOTATION,
        "a level, or levels of targets such as info,countersign_sidecar=debug",
        USUAL,
    ),
    of(names::SIDECAR_LOG_FORMAT_ANNOTATION, "json or human", USUAL),
    of(names::SIDECAR_CPU_REQUEST_ANNOTATION, CPU, USUAL),
    of(names::SIDECAR_CPU_LIMIT_ANNOTATION, CPU, USUAL),
    of(names::SIDECAR_MEMORY_REQUEST_ANNOTATION, MEMORY, USUAL),
    of(names::SIDECAR_MEMORY_LIMIT_ANNOTATION, MEMORY, USUAL),
    // A label, which people write as an annotation.
    of(names::INJECT_LABEL, "a label, and not an annotation", Mistake::Default("it has no effect")),
];

const fn of(name: &'static str, wanted: &'static str, mistake: Mistake) -> Known {
    Known { name, wanted, mistake }
}

/// What we write ourselves.
const OURS: [&str; 6] = [
    names::STATUS_ANNOTATION,
    names::CREDENTIALS_REVISION_ANNOTATION,
    names::POLICY_REVISION_ANNOTATION,
    names::INJECTION_NOTES_ANNOTATION,
    names::SIDECAR_VERSION_ANNOTATION,
    names::REDIRECT_NEEDS_ANNOTATION,
];

/// What is wrong with the name of an annotation, if anything.
pub(super) fn fault(name: &str) -> Option<String> {
    let rest = name.strip_prefix("countersign.dev/")?;
    if name == names::INJECT_LABEL {
        return Some(format!("annotation {name} has no effect: it is a label"));
    }
    if rest == "sidecar-image" {
        let why = "the sidecar's image is chosen by whoever installs Countersign";
        return Some(format!("annotation {name} has no effect: {why}"));
    }
    if OURS.contains(&name) || KNOWN.iter().any(|known| known.name == name) {
        return None;
    }
    let rest: String = rest.chars().take(63).collect();
    let nearest = KNOWN.iter().min_by_key(|known| apart(&rest, last_part(known.name)))?.name;
    Some(format!("annotation countersign.dev/{rest} is not known: perhaps {nearest} is meant"))
}

fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// How far a name is from one that is known: not far, where it is a part of it.
fn apart(one: &str, other: &str) -> usize {
    let is_part = !one.is_empty() && other.contains(one);
    if is_part { 1 } else { distance(one, other) }
}

/// How many characters must be put in, taken out or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, a) in one.bytes().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], line + 1);
        for (column, b) in other.bytes().enumerate() {
            let changed = corner + usize::from(a != b);
            corner = row[column + 1];
            row[column + 1] = changed.min(corner + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_known_is_told_with_the_one_that_is_nearest() {
        let cases = [
            ("countersign.dev/skip-inbound-port", Some("countersign.dev/skip-inbound-ports")),
            ("countersign.dev/upstream", Some("countersign.dev/upstreams")),
            ("countersign.dev/drain", Some("countersign.dev/drain-timeout")),
            ("countersign.dev/log-format", Some("countersign.dev/sidecar-log-format")),
            ("countersign.dev/sidecar-image", Some("whoever installs")),
            ("countersign.dev/inject", Some("label")),
            ("countersign.dev/mode", None),
            ("countersign.dev/credentials-revision", None),
            ("prometheus.io/scrape", None),
            ("countersign.develop/mode", None),
        ];
        for (name, expected) in cases {
            let told = fault(name);
            assert_eq!(told.is_some(), expected.is_some(), "{told:?}");
            let told = told.unwrap_or_default();
            assert!(told.contains(expected.unwrap_or_default()), "{told}");
        }
        assert!(fault(&format!("countersign.dev/{}", "ü".repeat(5000))).unwrap().len() < 400);
    }

    #[test]
    fn the_distance_is_that_of_levenshtein() {
        for (one, other, expected) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }

    /// Names, and what a mistake does, as the docs have them.
    #[test]
    fn the_docs_say_of_every_annotation_what_a_mistake_does() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/injection.md");
        let text = std::fs::read_to_string(path).unwrap();
        for known in KNOWN.iter().filter(|known| known.name != names::INJECT_LABEL) {
            let row = text.lines().find(|line| line.starts_with(&format!("| `{}` |", known.name)));
            let row = row.unwrap_or_else(|| panic!("{} is in no table", known.name));
            let said = match known.mistake {
                Mistake::Refusal => "refused",
                Mistake::Default(_) => "default",
            };
            assert!(row.contains(said), "{row} does not say {said}");
        }
    }
}
