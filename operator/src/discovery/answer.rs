//! What is said of a destination; pure, over what the watches saw.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use countersign_contract::discovery::{Answer, Endpoint as Told, Kind, Protocol};
use countersign_contract::policy::Mode;
use countersign_contract::{SpiffeId, TrustDomain};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::directory::{Directory, Key};
use super::topology::Topology;
use crate::kept::MeshPod;

/// What an answer is made of.
pub(super) struct View<'a> {
    pub(super) directory: &'a Directory,
    pub(super) trust_domain: &'a TrustDomain,
    pub(super) service: &'a dyn Fn(&Key) -> Option<Arc<Service>>,
    pub(super) slice: &'a dyn Fn(&ObjectRef<EndpointSlice>) -> Option<Arc<EndpointSlice>>,
    pub(super) pod: &'a dyn Fn(&Key) -> Option<Arc<MeshPod>>,
    /// Whether an address is set aside for Services.
    pub(super) is_reserved: &'a dyn Fn(IpAddr) -> bool,
    /// Whether an address is set aside for pods, and not known to be of nobody in the mesh.
    pub(super) is_strange: &'a dyn Fn(IpAddr) -> bool,
    /// The zone of a node, if it has one.
    pub(super) zone: &'a dyn Fn(&str) -> Option<Box<str>>,
    /// Whether a pod is known not to be injected, by its uid.
    pub(super) is_plain: &'a dyn Fn(&str) -> bool,
    /// How a port of a pod speaks TLS.
    pub(super) mode: ModeOf<'a>,
}

/// From a namespace, the labels of a pod in it and a port.
pub(super) type ModeOf<'a> = &'a dyn Fn(&str, &BTreeMap<String, String>, u16) -> Mode;

/// An answer, and the pods that must be asked for before it can be whole.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Nothing, if nothing is known yet.
    pub(super) answer: Option<Answer>,
    pub(super) unknown: Vec<Unknown>,
    /// A pod's address, of which it must be asked who has it.
    pub(super) strange: Option<IpAddr>,
    /// Whether it is for one node only.
    pub(super) is_near: bool,
}

/// A pod of which it is not known whether it is injected, and an address of its.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unknown {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) ip: IpAddr,
}

/// Who may answer at an address.
enum Standing {
    As(Told),
    NotKnown(Unknown),
    /// Its address is another's by now.
    Stale,
}

impl View<'_> {
    /// What is said of a destination to somebody on a node.
    pub(super) fn answer(&self, destination: SocketAddr, node: Option<&str>) -> Found {
        match self.directory.service(destination.ip()) {
            Some(key) => match (self.service)(key) {
                Some(service) => self.of_service(&service, key, destination, node),
                None => Found::default(),
            },
            None => self.of_address(destination),
        }
    }

    /// A pod that is called by its own address, or something else.
    fn of_address(&self, destination: SocketAddr) -> Found {
        let (ip, port) = (destination.ip(), destination.port());
        let known = self.directory.pod(ip).and_then(|key| (self.pod)(key));
        if let Some(pod) = known {
            let endpoints = vec![self.of_pod(&pod, destination)];
            let name = format!("Pod {}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
            return said(destination, Kind::Pod, name, endpoints, false);
        }
        // A pod that a slice names and that the watch of injected pods does not have, is not injected
        // or not seen yet.
        let mut is_plain = false;
        let slices = self.directory.standing(ip).filter_map(|slice| (self.slice)(&slice));
        for slice in slices {
            let all = slice.endpoints.iter().flatten();
            let here = all.filter(|e| e.addresses.iter().any(|a| a.parse() == Ok(ip)));
            for endpoint in here {
                match self.standing(endpoint, ip, port) {
                    Standing::NotKnown(pod) => {
                        return Found { unknown: vec![pod], ..Found::default() };
                    }
                    Standing::As(_) => is_plain = true,
                    Standing::Stale => {}
                }
            }
        }
        if (self.is_reserved)(ip) {
            return Found::default();
        }
        if !is_plain && (self.is_strange)(ip) {
            return Found { strange: Some(ip), ..Found::default() };
        }
        said(destination, Kind::Outside, String::new(), Vec::new(), false)
    }

    fn of_service(
        &self,
        service: &Service,
        key: &Key,
        destination: SocketAddr,
        node: Option<&str>,
    ) -> Found {
        let spec = service.spec.as_ref();
        let name = format!("Service {}/{}", key.0, key.1);
        let ports = spec.into_iter().flat_map(|spec| spec.ports.iter().flatten());
        let port = ports.into_iter().find(|port| is_it(port, destination.port()));
        let is_local =
            spec.is_some_and(|spec| spec.internal_traffic_policy.as_deref() == Some("Local"));
        let slices: Vec<_> =
            self.directory.slices_of(key).filter_map(|s| (self.slice)(&s)).collect();
        let mut all = Vec::new();
        for slice in &slices {
            let named = port.and_then(|port| port_of(slice, port.name.as_deref()));
            let Some(number) = named else { continue };
            for endpoint in slice.endpoints.iter().flatten() {
                let ips = endpoint.addresses.iter().filter_map(|ip| ip.parse::<IpAddr>().ok());
                let same = ips.filter(|ip| ip.is_ipv4() == destination.is_ipv4());
                all.extend(same.map(|ip| Candidate { endpoint, ip, number, turn: turn(endpoint) }));
            }
        }
        let ready = all.iter().filter(|one| one.turn == Turn::First).map(|one| one.endpoint);
        let topology = match is_local {
            true => Topology::Local(node),
            false => Topology::hinted(ready, node, node.and_then(|node| (self.zone)(node))),
        };
        let is_near = topology != Topology::Same;
        let found: Vec<_> = all
            .iter()
            .filter(|one| topology.has(one.endpoint, one.turn == Turn::First))
            .map(|one| (one.turn, self.standing(one.endpoint, one.ip, one.number)))
            .collect();
        // As kube-proxy does: who is about to end serves only where nobody else does.
        let best = found.iter().map(|(turn, _)| *turn).min().unwrap_or(Turn::Never);
        let mut unknown = Vec::new();
        let mut endpoints = Vec::new();
        for (_, standing) in
            found.into_iter().filter(|(turn, _)| *turn == best && best != Turn::Never)
        {
            match standing {
                Standing::As(told) => endpoints.push(told),
                Standing::NotKnown(pod) => unknown.push(pod),
                Standing::Stale => {}
            }
        }
        endpoints.sort_by(|one, other| one.address.cmp(&other.address));
        endpoints.dedup();
        if endpoints.is_empty() && !unknown.is_empty() {
            return Found { unknown, is_near, ..Found::default() };
        }
        let is_sticky =
            spec.is_some_and(|spec| spec.session_affinity.as_deref() == Some("ClientIP"));
        let said = said(destination, Kind::Service, name, endpoints, is_sticky);
        Found { unknown, is_near, ..said }
    }

    fn standing(&self, endpoint: &Endpoint, ip: IpAddr, port: u16) -> Standing {
        let address = SocketAddr::new(ip, port);
        let target = endpoint.target_ref.as_ref();
        let target = target.filter(|target| target.kind.as_deref() == Some("Pod"));
        if let Some(key) = self.directory.pod(ip) {
            let is_another = target
                .is_some_and(|target| target.name.as_ref().is_some_and(|name| *name != key.1));
            return match (self.pod)(key) {
                Some(_) if is_another => Standing::Stale,
                Some(pod) => Standing::As(self.of_pod(&pod, address)),
                None => Standing::Stale,
            };
        }
        let Some(target) = target else { return Standing::As(plain(address)) };
        let uid = target.uid.clone().unwrap_or_default();
        if (self.is_plain)(&uid) {
            return Standing::As(plain(address));
        }
        let namespace = target.namespace.clone().unwrap_or_default();
        let key = (namespace, target.name.clone().unwrap_or_default());
        Standing::NotKnown(Unknown { key, uid, ip })
    }

    /// How a port of an injected pod is called. Ports that face customers are called as customers
    /// call them.
    fn of_pod(&self, pod: &MeshPod, address: SocketAddr) -> Told {
        let namespace = pod.namespace().unwrap_or_default();
        let mode = || (self.mode)(&namespace, pod.labels(), address.port());
        let domain = self.trust_domain.clone();
        match SpiffeId::of_service_account(domain, &namespace, &pod.service_account) {
            Ok(id) if pod.is_covered(address.port()) && is_mutual(mode()) => Told {
                address: address.to_string(),
                protocol: Protocol::Mutual.into(),
                identity: id.to_string(),
            },
            _ => plain(address),
        }
    }
}

fn is_mutual(mode: Mode) -> bool {
    matches!(mode, Mode::Mutual | Mode::Permissive)
}

fn plain(address: SocketAddr) -> Told {
    let protocol = Protocol::Plain.into();
    Told { address: address.to_string(), protocol, identity: String::new() }
}

fn said(
    destination: SocketAddr,
    kind: Kind,
    name: String,
    endpoints: Vec<Told>,
    sticky: bool,
) -> Found {
    let destination = destination.to_string();
    let answer = Answer { destination, kind: kind.into(), name, endpoints, sticky };
    Found { answer: Some(answer), ..Found::default() }
}

/// What is said of an address that was a Service's or a pod's, and of which it is not known whose it is
/// now.
pub(super) fn nobody(destination: SocketAddr, was: Kind) -> Answer {
    let name = if was == Kind::Pod { "no pod" } else { "no Service" };
    let (kind, name) = (was.into(), name.to_owned());
    Answer { destination: destination.to_string(), kind, name, ..Answer::default() }
}

fn is_it(port: &ServicePort, number: u16) -> bool {
    port.port == i32::from(number) && port.protocol.as_deref().unwrap_or("TCP") == "TCP"
}

/// The number of a Service's port on the endpoints of a slice; they go by the same name.
fn port_of(slice: &EndpointSlice, name: Option<&str>) -> Option<u16> {
    let mut ports = slice.ports.iter().flatten();
    let is_named = |found: Option<&str>| found.unwrap_or_default() == name.unwrap_or_default();
    let port = ports.find(|port| {
        is_named(port.name.as_deref()) && port.protocol.as_deref().unwrap_or("TCP") == "TCP"
    });
    port.and_then(|port| u16::try_from(port.port?).ok())
}

/// An address of an endpoint, and its port.
struct Candidate<'a> {
    endpoint: &'a Endpoint,
    ip: IpAddr,
    number: u16,
    turn: Turn,
}

/// When an endpoint serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// It is ready.
    First,
    /// It is about to end, and serves while it does.
    Last,
    Never,
}

/// What a slice leaves unsaid counts as ready (discovery.k8s.io/v1, EndpointConditions).
fn turn(endpoint: &Endpoint) -> Turn {
    let Some(conditions) = &endpoint.conditions else { return Turn::First };
    let is_ready = conditions.ready.unwrap_or(true);
    let ends = conditions.terminating.unwrap_or(false) && conditions.serving.unwrap_or(is_ready);
    match (is_ready, ends) {
        (true, _) => Turn::First,
        (false, true) => Turn::Last,
        (false, false) => Turn::Never,
    }
}

#[cfg(test)]
mod tests;
