//! What the ranges of pods and Services say of an address, and what sidecars are told of them.

use std::net::IpAddr;
use std::sync::Arc;

use countersign_contract::discovery::Ranges as Told;
use ipnet::IpNet;
use tokio::sync::watch;

use super::super::answer::Addresses;
use super::super::published::{Evidence, PodAddress, judge, told};
use super::{Hub, lock};
use crate::kept::MeshPod;

impl Hub {
    /// Ranges came or went.
    pub(in crate::discovery) fn reranged(&self, ranges: &[IpNet]) {
        if ranges.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        let is_in = |ip: &IpAddr| ranges.iter().any(|range| range.contains(ip));
        let within: Vec<_> = state.followers.addresses().into_iter().filter(is_in).collect();
        state.mark(within);
        state.rarely.ranges();
        drop(state);
        self.changed.notify_one();
    }

    /// What sidecars are told of the ranges, now and whenever it changes.
    pub(in crate::discovery) fn told_ranges(&self) -> watch::Receiver<Option<Arc<Told>>> {
        self.told.subscribe()
    }

    /// Judges the ranges anew, and publishes what follows.
    pub(super) fn weigh(&self) {
        let pods = self.seen.pods.state();
        let addresses = pods.iter().flat_map(|pod| {
            let node = pod.node.as_deref().unwrap_or_default();
            pod.claims().iter().map(move |ip| (node, *ip))
        });
        let addresses = addresses.map(|(node, ip)| PodAddress {
            node,
            in_own: self.pod_ranges.has_of(node, ip),
            in_any: self.pod_ranges.has(ip),
        });
        let services = self.seen.services.state();
        let mut cluster_ips = services.iter().flat_map(|service| service.cluster_ips.iter());
        let services_fit = cluster_ips.all(|ip| self.ranges.has(*ip));
        let (of_pods, each_node_says) = self.pod_ranges.all();
        let (of_services, _) = self.ranges.all();
        let configured = self.pod_ranges.configured();
        let are_known = !of_services.is_empty() && (each_node_says || !configured.is_empty());
        let evidence = judge(addresses, services_fit && are_known);
        let exact = [of_services, configured, self.settings.external_ranges.clone()].concat();
        let told = Arc::new(told(evidence.is_whole, exact, of_pods));
        self.told.send_if_modified(|now| {
            let was = now.as_ref().is_some_and(|was| was.whole);
            let is_news = now.as_ref() != Some(&told) && (told.whole || was);
            if is_news {
                *now = Some(told);
            }
            is_news
        });
        let mut state = lock(&self.state);
        let before = std::mem::replace(&mut state.evidence, evidence);
        state.all_dirty |= before.nodes_are_kept_to != evidence.nodes_are_kept_to;
        if before.is_whole != evidence.is_whole {
            let hinted: Vec<_> = state.directory.hinted().collect();
            state.mark(hinted);
        }
    }

    /// Whether an address is that of a pod in the mesh: no other calls by it. An address of the pods' range
    /// that no pod has may be a node's, by which all of its pods call.
    pub(in crate::discovery) fn is_of_a_pod(&self, ip: IpAddr) -> bool {
        lock(&self.state).directory.pods_at(ip).next().is_some()
    }

    fn pod_may_have(&self, pod: &MeshPod, ip: IpAddr) -> bool {
        let node = pod.node.as_deref().unwrap_or_default();
        self.pod_ranges.has_of(node, ip) != Some(false)
    }
}

/// What is known of the ranges, while an answer is made.
pub(super) struct Known<'a> {
    hub: &'a Hub,
    evidence: Evidence,
}

impl<'a> Known<'a> {
    pub(super) fn new(hub: &'a Hub, evidence: Evidence) -> Self {
        Self { hub, evidence }
    }
}

impl Addresses for Known<'_> {
    fn is_for_services(&self, ip: IpAddr) -> bool {
        self.hub.ranges.has(ip)
    }

    fn is_for_pods(&self, ip: IpAddr) -> bool {
        self.hub.pod_ranges.has(ip)
    }

    fn is_for_claims(&self, ip: IpAddr) -> bool {
        self.hub.settings.external_ranges.iter().any(|range| range.contains(&ip))
    }

    fn hints_count(&self) -> bool {
        !self.evidence.is_whole
    }

    fn is_known_unmeshed(&self, ip: IpAddr) -> bool {
        self.hub.strangers.knows(ip)
    }

    fn may_have(&self, pod: &MeshPod, ip: IpAddr) -> bool {
        !self.evidence.nodes_are_kept_to || self.hub.pod_may_have(pod, ip)
    }
}
