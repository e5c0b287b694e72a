//! Puts together what both ends of a call say of it; pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What one sidecar tells.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Told {
    /// Its own SPIFFE ID.
    pub identity: Option<String>,
    /// What it saw.
    pub edges: Vec<Seen>,
}

/// One edge, as one end saw it.
#[derive(Clone, Debug, Deserialize)]
pub struct Seen {
    /// `inbound` or `outbound`.
    pub direction: String,
    /// Who was at the other end; nothing, where nobody had to say.
    pub peer: Option<String>,
    /// Our port, or whom we called.
    pub to: String,
    /// How many connections.
    pub connections: u64,
    /// When the first one began, in seconds since 1970.
    pub first: i64,
    /// When the last one did.
    pub last: i64,
}

/// Who talks to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// The identity that calls; `anonymous` where nobody had to say.
    pub from: String,
    /// The identity that is called; an address or a name, where it has none.
    pub to: String,
    /// Whether both proved who they are.
    pub mutual: bool,
    /// By which Services and ports.
    pub by: Vec<String>,
    /// How many connections there were.
    pub connections: u64,
    /// When the first one began, in seconds since 1970.
    pub first: i64,
    /// When the last one did.
    pub last: i64,
}

#[derive(Default)]
struct Sum {
    by: BTreeSet<String>,
    /// As the callers count, and as those do who are called.
    connections: [u64; 2],
    first: Option<i64>,
    last: i64,
}

/// Every edge once, the busiest first. What both ends saw is not counted twice; where one of them
/// was started later, the other one knows better.
#[must_use]
pub fn merge(told: &[Told]) -> Vec<Edge> {
    let mut sums: BTreeMap<(String, String, bool), Sum> = BTreeMap::new();
    for one in told {
        let own = one.identity.clone().unwrap_or_else(|| "unknown".to_owned());
        for seen in &one.edges {
            let is_call = seen.direction == "outbound";
            let (from, to, by) = match (is_call, &seen.peer) {
                (true, Some(peer)) => (own.clone(), peer.clone(), seen.to.clone()),
                (true, None) => (own.clone(), seen.to.clone(), "plaintext".to_owned()),
                (false, peer) => {
                    let from = peer.clone().unwrap_or_else(|| "anonymous".to_owned());
                    (from, own.clone(), format!("port {}", seen.to))
                }
            };
            let sum = sums.entry((from, to, seen.peer.is_some())).or_default();
            sum.by.insert(by);
            sum.connections[usize::from(is_call)] += seen.connections;
            sum.first = Some(sum.first.map_or(seen.first, |first| first.min(seen.first)));
            sum.last = sum.last.max(seen.last);
        }
    }
    let mut edges: Vec<Edge> = sums.into_iter().map(edge).collect();
    edges.sort_by_key(|edge| std::cmp::Reverse(edge.connections));
    edges
}

fn edge(((from, to, mutual), sum): ((String, String, bool), Sum)) -> Edge {
    Edge {
        from,
        to,
        mutual,
        by: sum.by.into_iter().collect(),
        connections: sum.connections[0].max(sum.connections[1]),
        first: sum.first.unwrap_or_default(),
        last: sum.last,
    }
}

#[cfg(test)]
pub(super) fn example() -> Vec<Edge> {
    let told = r#"[
        {"identity": "spiffe://d/ns/desk/sa/caller", "edges": [
            {"direction": "outbound", "peer": "spiffe://d/ns/shop/sa/web", "to": "Service shop/web",
             "connections": 5, "first": 100, "last": 200},
            {"direction": "outbound", "peer": null, "to": "192.0.2.1:443",
             "connections": 1, "first": 150, "last": 150}]},
        {"identity": "spiffe://d/ns/shop/sa/web", "edges": [
            {"direction": "inbound", "peer": "spiffe://d/ns/desk/sa/caller", "to": "8080",
             "connections": 7, "first": 90, "last": 190},
            {"direction": "inbound", "peer": null, "to": "8443",
             "connections": 2, "first": 90, "last": 95}]}
    ]"#;
    merge(&serde_json::from_str::<Vec<Told>>(told).expect("what sidecars tell"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_ends_saw_is_one_edge() {
        let edges = example();
        let of = |edge: &Edge| (edge.from.clone(), edge.to.clone(), edge.connections, edge.mutual);
        let (caller, web) = ("spiffe://d/ns/desk/sa/caller", "spiffe://d/ns/shop/sa/web");
        let expected = [
            (caller.to_owned(), web.to_owned(), 7, true),
            ("anonymous".to_owned(), web.to_owned(), 2, false),
            (caller.to_owned(), "192.0.2.1:443".to_owned(), 1, false),
        ];
        assert_eq!(edges.iter().map(of).collect::<Vec<_>>(), expected);
        assert_eq!(edges[0].by, ["Service shop/web", "port 8080"]);
        assert_eq!((edges[0].first, edges[0].last), (90, 200));
    }
}
