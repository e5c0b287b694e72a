//! Which of a Service's endpoints serve whom, by where both are: as kube-proxy has it (KEP-2433, KEP-3015,
//! KEP-2086); pure.

use crate::kept::MeshEndpoint;

/// Whom a caller is led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topology<'a> {
    /// To all, wherever it is.
    Same,
    /// To all, as long as it is where it is.
    All,
    /// To those on its node, and to nobody if there is none.
    Local(Option<&'a str>),
    /// To those that are meant for its node.
    ForNode(&'a str),
    /// To those that are meant for its zone.
    ForZone(Box<str>),
}

impl<'a> Topology<'a> {
    /// What hints say to a caller on a node of a zone. They count where every ready endpoint has one and
    /// one of them is meant for the caller; those for nodes go before those for zones.
    pub(super) fn hinted<'e>(
        ready: impl Iterator<Item = &'e MeshEndpoint> + Clone,
        node: Option<&'a str>,
        zone: Option<Box<str>>,
    ) -> Self {
        let has_some = ready.clone().next().is_some();
        let by_node = has_some && ready.clone().all(|endpoint| nodes(endpoint).next().is_some());
        let by_zone = has_some && ready.clone().all(|endpoint| zones(endpoint).next().is_some());
        if !by_node && !by_zone {
            return Self::Same;
        }
        let node = node.filter(|node| by_node && ready.clone().any(|e| is_for_node(e, node)));
        if let Some(node) = node {
            return Self::ForNode(node);
        }
        let zone = zone.filter(|zone| by_zone && ready.clone().any(|e| is_for_zone(e, zone)));
        zone.map_or(Self::All, Self::ForZone)
    }

    /// Whether an endpoint serves the caller. Hints are for those that are ready: the others serve only
    /// where nobody is.
    pub(super) fn has(&self, endpoint: &MeshEndpoint, is_ready: bool) -> bool {
        match self {
            Self::Same | Self::All => true,
            Self::Local(node) => endpoint.node.as_deref() == *node,
            Self::ForNode(node) => !is_ready || is_for_node(endpoint, node),
            Self::ForZone(zone) => !is_ready || is_for_zone(endpoint, zone),
        }
    }
}

fn is_for_node(endpoint: &MeshEndpoint, node: &str) -> bool {
    nodes(endpoint).any(|name| **name == *node)
}

fn is_for_zone(endpoint: &MeshEndpoint, zone: &str) -> bool {
    zones(endpoint).any(|name| **name == *zone)
}

fn nodes(endpoint: &MeshEndpoint) -> impl Iterator<Item = &Box<str>> {
    endpoint.hints.iter().flat_map(|hints| &hints.nodes)
}

fn zones(endpoint: &MeshEndpoint) -> impl Iterator<Item = &Box<str>> {
    endpoint.hints.iter().flat_map(|hints| &hints.zones)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::{EndpointState, Hints};

    /// An endpoint called as its node, with hints.
    fn endpoint(node: &str, nodes: &[&str], zones: &[&str]) -> MeshEndpoint {
        let named = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect();
        let hints = Hints { nodes: named(nodes), zones: named(zones) };
        MeshEndpoint {
            ip: [10, 0, 0, 1].into(),
            state: EndpointState::Ready,
            node: Some(node.into()),
            pod: None,
            hints: (hints != Hints::default()).then(|| Box::new(hints)),
        }
    }

    fn led(endpoints: &[MeshEndpoint], node: Option<&str>, zone: Option<&str>) -> String {
        let topology = Topology::hinted(endpoints.iter(), node, zone.map(Into::into));
        let all = endpoints.iter().filter(|endpoint| topology.has(endpoint, true));
        all.filter_map(|endpoint| endpoint.node.as_deref()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_caller_is_led_to_who_is_meant_for_it_if_everybody_is_meant_for_somebody() {
        let zoned = [endpoint("a", &[], &["x"]), endpoint("b", &[], &["y"])];
        let both = [endpoint("a", &["a"], &["x"]), endpoint("b", &["b"], &["x"])];
        let partly = [endpoint("a", &[], &["x"]), endpoint("b", &[], &[])];
        let cases = [
            (&zoned, Some("n"), Some("x"), "a"),
            (&zoned, Some("n"), Some("y"), "b"),
            // Nobody is meant for it, or it is not known where it is.
            (&zoned, Some("n"), Some("z"), "a b"),
            (&zoned, Some("n"), None, "a b"),
            (&zoned, None, None, "a b"),
            // One that has none: whoever writes hints has not come that far.
            (&partly, Some("n"), Some("x"), "a b"),
            (&both, Some("b"), Some("x"), "b"),
            (&both, Some("n"), Some("x"), "a b"),
        ];
        for (endpoints, node, zone, expected) in cases {
            assert_eq!(led(endpoints, node, zone), expected, "{node:?} {zone:?}");
        }
    }

    #[test]
    fn without_hints_everybody_is_led_to_the_same() {
        let bare = [endpoint("a", &[], &[])];
        assert_eq!(Topology::hinted(bare.iter(), Some("a"), Some("x".into())), Topology::Same);
        assert_eq!(Topology::hinted([].iter(), Some("a"), None), Topology::Same);
        let zoned = [endpoint("a", &[], &["x"])];
        assert_eq!(Topology::hinted(zoned.iter(), None, None), Topology::All);
    }

    #[test]
    fn who_is_about_to_end_serves_whoever_is_left() {
        let zone = Topology::ForZone("x".into());
        let other = endpoint("b", &[], &["y"]);
        assert!(!zone.has(&other, true) && zone.has(&other, false));
        assert!(!Topology::Local(Some("a")).has(&other, false));
        assert!(Topology::Local(Some("b")).has(&other, true));
    }
}
