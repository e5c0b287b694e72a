//! Who talked to whom: one entry for each pair, for as long as the sidecar runs.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::live::{About, To};
use crate::metrics::Direction;

/// So many are kept; of more, the one that was seen longest ago goes.
const MOST: usize = 1024;

/// Who, and by which door.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Edge {
    direction: Direction,
    /// Who is at the other end; nothing, where nobody had to say.
    peer: Option<String>,
    /// Our port, for a caller; a Service, a pod or an address, for whom we call.
    to: String,
}

/// How often, and since when, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    connections: u64,
    first: u64,
    last: u64,
}

/// The edges that one worker saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edges(HashMap<Edge, Count>);

impl Edges {
    /// A connection was admitted.
    pub(crate) fn note(&mut self, about: &About) {
        let Some(edge) = Edge::of(about) else { return };
        self.add(edge, Count { connections: 1, first: about.since, last: about.since });
    }

    /// Takes in what another worker saw.
    pub(crate) fn add_all(&mut self, others: &Self) {
        for (edge, count) in &others.0 {
            self.add(edge.clone(), *count);
        }
    }

    fn add(&mut self, edge: Edge, more: Count) {
        if self.0.len() >= MOST && !self.0.contains_key(&edge) {
            let oldest = self.0.iter().min_by_key(|(_, count)| count.last);
            if let Some(oldest) = oldest.map(|(edge, _)| edge.clone()) {
                self.0.remove(&oldest);
            }
        }
        let count = self.0.entry(edge).or_insert(Count { connections: 0, ..more });
        count.connections += more.connections;
        count.first = count.first.min(more.first);
        count.last = count.last.max(more.last);
    }

    /// For people and programs: the busiest first.
    pub(crate) fn json(&self, identity: Option<&str>) -> String {
        let mut edges: Vec<_> = self.0.iter().collect();
        edges.sort_by_key(|(edge, count)| (std::cmp::Reverse(count.connections), &edge.to));
        let one = |(edge, count): (&Edge, &Count)| -> Value {
            json!({
                "direction": format!("{:?}", edge.direction),
                "peer": edge.peer,
                "to": edge.to,
                "connections": count.connections,
                "first": count.first,
                "last": count.last,
            })
        };
        let edges: Vec<Value> = edges.into_iter().map(one).collect();
        json!({ "identity": identity, "edges": edges }).to_string() + "\n"
    }
}

impl Edge {
    /// Nothing of a pod that calls itself.
    fn of(about: &About) -> Option<Self> {
        let to = match (&about.to, about.direction) {
            (To::Own(_), _) => return None,
            (To::Address(to), Direction::inbound) => to.port().to_string(),
            (To::Served(_, port), _) => port.to_string(),
            (To::Behind { name, .. }, _) => name.to_string(),
            (to, _) => to.to_string(),
        };
        let peer = about.peer.as_ref().map(ToString::to_string);
        Some(Self { direction: about.direction, peer, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(port: u16, since: u64) -> About {
        let to = To::Address(([127, 0, 0, 1], port).into());
        let client = ([127, 0, 0, 1], 9).into();
        About {
            direction: Direction::inbound,
            client,
            to,
            peer: None,
            since,
            carrier: Default::default(),
        }
    }

    #[test]
    fn each_pair_is_counted_and_the_one_seen_longest_ago_gives_way() {
        let mut edges = Edges::default();
        for port in 1..=1024 {
            edges.note(&about(port, 1000 + u64::from(port)));
        }
        edges.note(&about(1, 5000));
        edges.note(&about(2000, 5001));
        assert_eq!(edges.0.len(), MOST);
        let seen = |port: u16| edges.0.get(&Edge::of(&about(port, 0)).unwrap()).copied();
        assert_eq!(seen(1), Some(Count { connections: 2, first: 1001, last: 5000 }));
        assert_eq!(seen(2), None);
        let mut both = edges.clone();
        both.add_all(&edges);
        assert_eq!(both.0[&Edge::of(&about(1, 0)).unwrap()].connections, 4);
        let text = both.json(Some("spiffe://d/ns/shop/sa/web"));
        assert!(text.starts_with(r#"{"edges":[{"connections":4,"direction":"inbound""#), "{text}");
    }
}
