//! How often the API server was asked to write what, as it counts itself (`apiserver_request_total`
//! of its /metrics); pure.

use std::collections::BTreeMap;
use std::fmt;

/// The counter, as the API server names it.
const NAME: &str = "apiserver_request_total{";

/// Requests of these verbs write.
const VERBS: [&str; 6] = ["POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"];

/// One kind of write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// The API group; empty for the core one.
    pub group: String,
    /// The resource, and after a slash its subresource.
    pub resource: String,
    /// The verb.
    pub verb: String,
}

/// How many requests wanted to write what, those that were refused among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    writes: BTreeMap<Kind, u64>,
    /// Of these, how many were refused since somebody else had written before.
    pub conflicts: u64,
}

impl Kind {
    /// A kind of write by its words.
    #[must_use]
    pub fn new(verb: &str, group: &str, resource: &str) -> Self {
        Self { group: group.to_owned(), resource: resource.to_owned(), verb: verb.to_owned() }
    }

    /// Events and Leases are counted apart: they are no work on what they tell of.
    fn is_apart(&self) -> bool {
        self.resource == "events" || self.group == "coordination.k8s.io"
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}

impl Counters {
    /// Reads the API server's metrics.
    #[must_use]
    pub fn parse(metrics: &str) -> Self {
        let mut counters = Self::default();
        metrics.lines().filter_map(line).for_each(|(kind, code, count)| {
            if code == "409" {
                counters.conflicts += count;
            }
            *counters.writes.entry(kind).or_default() += count;
        });
        counters
    }

    /// What was counted since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut writes = BTreeMap::new();
        for (kind, count) in &self.writes {
            let more = count.saturating_sub(before.writes.get(kind).copied().unwrap_or(0));
            if more > 0 {
                writes.insert(kind.clone(), more);
            }
        }
        Self { writes, conflicts: self.conflicts.saturating_sub(before.conflicts) }
    }

    /// Leaves out writes of somebody who counted them.
    #[must_use]
    pub fn without(mut self, kind: &Kind, count: u64) -> Self {
        if let Some(counted) = self.writes.get_mut(kind) {
            *counted = counted.saturating_sub(count);
        }
        self.writes.retain(|_, count| *count > 0);
        self
    }

    /// Writes of objects: Events and Leases apart.
    pub fn objects(&self) -> impl Iterator<Item = (&Kind, u64)> {
        self.writes.iter().filter(|(kind, _)| !kind.is_apart()).map(|(kind, count)| (kind, *count))
    }

    /// How many of objects there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.objects().map(|(_, count)| count).sum()
    }

    /// How many Events were written.
    #[must_use]
    pub fn events(&self) -> u64 {
        let events = self.writes.iter().filter(|(kind, _)| kind.resource == "events");
        events.map(|(_, count)| count).sum()
    }

    /// How many of objects there were for each of so many.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn per(&self, count: usize) -> f64 {
        self.total() as f64 / count as f64
    }
}

/// Each kind of write of objects, with how many there were, and the Events behind them.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<_> = self.objects().map(|(kind, count)| format!("{count} {kind}")).collect();
        let objects = if each.is_empty() { "none".to_owned() } else { each.join(", ") };
        write!(f, "{objects}")?;
        match self.events() {
            0 => Ok(()),
            events => write!(f, " ({events} Events apart)"),
        }
    }
}

/// One line of the exposition, if it is about a write.
fn line(text: &str) -> Option<(Kind, &str, u64)> {
    let (labels, value) = text.strip_prefix(NAME)?.rsplit_once("} ")?;
    let label = |name: &str| {
        let found = labels.split("\",").find_map(|one| one.strip_prefix(name)?.strip_prefix("=\""));
        found.map(|value| value.trim_end_matches('"'))
    };
    let verb = label("verb").filter(|verb| VERBS.contains(verb))?;
    let resource = label("resource")?;
    let resource = match label("subresource").filter(|subresource| !subresource.is_empty()) {
        Some(subresource) => format!("{resource}/{subresource}"),
        None => resource.to_owned(),
    };
    let kind = Kind { group: label("group")?.to_owned(), resource, verb: verb.to_owned() };
    // Counters are floating point numbers, written as 1.234e+06 where they are large.
    let count = value.trim().parse::<f64>().ok().filter(|count| *count >= 0.0)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number")]
    Some((kind, label("code")?, count as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(verb: &str, resource: &str, subresource: &str, code: &str, count: &str) -> String {
        let group = match resource {
            "leases" => "coordination.k8s.io",
            "certificates" => "countersign.dev",
            _ => "",
        };
        format!(
            "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"\",\
             group=\"{group}\",resource=\"{resource}\",scope=\"resource\",\
             subresource=\"{subresource}\",verb=\"{verb}\",version=\"v1\"}} {count}\n"
        )
    }

    fn metrics() -> String {
        "# TYPE apiserver_request_total counter\n".to_owned()
            + "apiserver_request_duration_seconds_count{verb=\"POST\",resource=\"pods\"} 8\n"
            + &counted("GET", "secrets", "", "200", "40")
            + &counted("APPLY", "secrets", "", "201", "1.2e+03")
            + &counted("APPLY", "secrets", "", "200", "5")
            + &counted("PATCH", "certificates", "status", "200", "7")
            + &counted("PATCH", "certificates", "status", "409", "2")
            + &counted("POST", "events", "", "201", "30")
            + &counted("PUT", "leases", "", "200", "9")
    }

    #[test]
    fn what_the_api_server_counts_is_read_by_kind_of_write() {
        let found = Counters::parse(&metrics());
        assert_eq!(
            found.to_string(),
            "1205 APPLY secrets, 9 PATCH certificates/status (30 Events apart)"
        );
        assert_eq!((found.total(), found.events(), found.conflicts), (1214, 30, 2));
    }

    #[test]
    fn only_what_came_since_counts_and_not_what_others_wrote() {
        let before = Counters::parse(&counted("APPLY", "secrets", "", "201", "1000"));
        let since = Counters::parse(&metrics()).since(&before);
        assert_eq!(
            since.to_string(),
            "205 APPLY secrets, 9 PATCH certificates/status (30 Events apart)"
        );
        let status = Kind::new("PATCH", "countersign.dev", "certificates/status");
        assert_eq!(since.without(&status, 9).to_string(), "205 APPLY secrets (30 Events apart)");
        assert_eq!(before.since(&before).to_string(), "none");
    }
}
