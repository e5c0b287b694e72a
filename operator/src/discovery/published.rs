//! Which addresses may be of the cluster, as sidecars are told; and whether the ranges of Nodes and
//! Services can be relied on, judged by the addresses that pods and Services really have. Pure.

use std::collections::HashMap;
use std::net::IpAddr;

use countersign_contract::discovery::Ranges as Told;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// So many ranges are told; of more, shorter prefixes are, which cover them.
const MOST: usize = 256;

/// A Node's range is told as one that is no narrower than this: the next Node's is likely to be next
/// to it, and an address within costs a question, and no more.
const WIDEST: [u8; 2] = [16, 48];

/// How far ranges can be relied on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// Pods have addresses of their own Node's range, so that a pod which has another lies.
    pub(super) nodes_are_kept_to: bool,
    /// No pod and no Service has an address outside of all ranges.
    pub(super) is_whole: bool,
}

/// An address of a pod: its Node, whether that Node's range has it, and whether any range has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PodAddress<'a> {
    pub(super) node: &'a str,
    pub(super) in_own: Option<bool>,
    pub(super) in_any: bool,
}

/// Judges ranges. A network that does not keep to the Nodes' ranges shows on many Nodes; a Node whose
/// kubelet lies is one of few.
pub(super) fn judge<'a>(
    pods: impl Iterator<Item = PodAddress<'a>>,
    services_fit: bool,
) -> Evidence {
    let mut keeps_to: HashMap<&str, bool> = HashMap::new();
    let mut outside: Vec<&str> = Vec::new();
    let mut fits = 0;
    for pod in pods {
        if let Some(in_own) = pod.in_own {
            *keeps_to.entry(pod.node).or_insert(true) &= in_own;
        }
        if pod.in_any {
            fits += 1;
        } else {
            outside.push(pod.node);
        }
    }
    let keeping = keeps_to.values().filter(|keeps| **keeps).count();
    let others = keeps_to.len() - keeping;
    let nodes_are_kept_to = keeping >= 2 && others * 2 <= keeping;
    // An address that only a lying Node claims is no reason to ask about the whole world.
    let is_lie = |node: &&str| nodes_are_kept_to && keeps_to.get(*node) == Some(&false);
    let is_whole = services_fit && fits > 0 && outside.iter().all(is_lie);
    Evidence { nodes_are_kept_to, is_whole }
}

/// What sidecars are told: nothing to rely on, if the ranges are not whole.
pub(super) fn told(is_whole: bool, exact: Vec<IpNet>, of_nodes: Vec<IpNet>) -> Told {
    if !is_whole {
        return Told::default();
    }
    let all = exact.into_iter().chain(of_nodes.into_iter().map(|range| widened(range, WIDEST)));
    let mut all = IpNet::aggregate(&all.collect());
    let mut widest = [32, 128];
    while all.len() > MOST && widest != [0, 0] {
        widest = widest.map(|length: u8| length.saturating_sub(4));
        all = IpNet::aggregate(&all.into_iter().map(|range| widened(range, widest)).collect());
    }
    all.sort_unstable();
    Told { inside: all.iter().map(ToString::to_string).collect(), whole: true }
}

/// The range of which the prefix has so many bits at most.
fn widened(range: IpNet, most: [u8; 2]) -> IpNet {
    let ip = range.addr();
    let length = range.prefix_len().min(if ip.is_ipv4() { most[0] } else { most[1] });
    let wide = match ip {
        IpAddr::V4(ip) => Ipv4Net::new(ip, length).map(|net| IpNet::V4(net.trunc())),
        IpAddr::V6(ip) => Ipv6Net::new(ip, length).map(|net| IpNet::V6(net.trunc())),
    };
    wide.unwrap_or(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(node: &str, in_own: Option<bool>, in_any: bool) -> PodAddress<'_> {
        PodAddress { node, in_own, in_any }
    }

    #[test]
    fn ranges_are_relied_on_as_far_as_pods_keep_to_them() {
        let good = |node| at(node, Some(true), true);
        let elsewhere = |node| at(node, Some(false), true);
        let outside = |node| at(node, Some(false), false);
        let cases = [
            (vec![], (false, false)),
            (vec![good("a")], (false, true)),
            (vec![good("a"), good("b")], (true, true)),
            // One Node lies, by an address of another Node's, and by one of nobody's.
            (vec![good("a"), good("b"), elsewhere("c")], (true, true)),
            (vec![good("a"), good("b"), outside("c")], (true, true)),
            // A network with ranges of its own.
            (vec![elsewhere("a"), elsewhere("b"), good("c")], (false, true)),
            (vec![outside("a"), outside("b")], (false, false)),
            (vec![outside("a")], (false, false)),
            // Nodes that say nothing, where ranges were configured, or were not.
            (vec![at("a", None, true), at("b", None, true)], (false, true)),
            (vec![at("a", None, true), at("b", None, false)], (false, false)),
        ];
        for (pods, (nodes_are_kept_to, is_whole)) in cases {
            let judged = judge(pods.iter().copied(), true);
            assert_eq!(judged, Evidence { nodes_are_kept_to, is_whole }, "{pods:?}");
            assert!(!judge(pods.into_iter(), false).is_whole, "Services have other addresses");
        }
    }

    #[test]
    fn ranges_of_nodes_are_told_with_room_for_the_next_one() {
        let parse = |texts: &[&str]| -> Vec<IpNet> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let exact = parse(&["10.96.0.0/12", "fd00:96::/112", "192.0.2.0/24"]);
        let nodes = parse(&["10.244.0.0/24", "10.244.1.0/24", "fd00:244::/64"]);
        let found = told(true, exact.clone(), nodes.clone());
        let expected =
            ["10.96.0.0/12", "10.244.0.0/16", "192.0.2.0/24", "fd00:96::/112", "fd00:244::/48"];
        assert_eq!((found.inside, found.whole), (expected.map(str::to_owned).to_vec(), true));
        assert_eq!(told(false, exact, nodes), Told::default());
    }

    #[test]
    fn however_many_ranges_there_are_a_few_are_told_that_cover_them() {
        let all: Vec<IpNet> = (0..=255)
            .flat_map(|a| [1, 3].map(|b| format!("{a}.{b}.0.0/24").parse().unwrap()))
            .collect();
        let found = told(true, all.clone(), Vec::new());
        let nets: Vec<IpNet> = found.inside.iter().map(|text| text.parse().unwrap()).collect();
        assert!(found.whole && nets.len() <= MOST, "{}", nets.len());
        assert!(all.iter().all(|range| nets.iter().any(|net| net.contains(range))));
    }
}
