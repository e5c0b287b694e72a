//! What is said of a destination; pure, over what the watches saw.
//!
//! An address belongs, in this order, to the Service whose cluster IP it is, to the pod that has it,
//! to a Service that claims it as an external address where that is allowed, and to nobody we know.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use countersign_contract::discovery::{Answer, Endpoint as Told, Kind, LONGEST_MESSAGE, Protocol};
use countersign_contract::policy::Mode;
use countersign_contract::{SpiffeId, TrustDomain};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tonic_prost::prost::Message;

use super::directory::{Directory, Key};
use super::plain::Verdict;
use super::topology::Topology;
use crate::kept::{EndpointState, MeshEndpoint, MeshPod, MeshService, MeshSlice};

/// What an answer is made of.
pub(super) struct View<'a> {
    pub(super) directory: &'a Directory,
    pub(super) service: &'a dyn Fn(&Key) -> Option<Arc<MeshService>>,
    pub(super) slice: &'a dyn Fn(&ObjectRef<MeshSlice>) -> Option<Arc<MeshSlice>>,
    pub(super) pod: &'a dyn Fn(&Key) -> Option<Arc<MeshPod>>,
    pub(super) addresses: &'a dyn Addresses,
    /// The zone of a node, if it has one.
    pub(super) zone: &'a dyn Fn(&str) -> Option<Box<str>>,
    /// What the API server said of a pod that the watch does not have, by its uid, at an address.
    pub(super) asked: &'a dyn Fn(&str, IpAddr) -> Option<Verdict>,
}

/// What addresses are set aside for.
pub(super) trait Addresses {
    /// Whether an address is set aside for Services.
    fn is_for_services(&self, ip: IpAddr) -> bool;
    /// Whether an address is set aside for pods.
    fn is_for_pods(&self, ip: IpAddr) -> bool;
    /// Whether a Service may claim an address beside its cluster IPs, as far as was configured.
    fn is_for_claims(&self, ip: IpAddr) -> bool;
    /// Whether what slices say of an address is a reason to ask: not where the ranges of pods are
    /// known, since an address outside of them is no pod's.
    fn hints_count(&self) -> bool;
    /// Whether the API server was asked about an address, and no pod of the mesh has it.
    fn is_known_unmeshed(&self, ip: IpAddr) -> bool;
    /// Whether a pod can have an address on its node.
    fn may_have(&self, pod: &MeshPod, ip: IpAddr) -> bool;
}

/// How a port of a pod speaks TLS: from a namespace, the labels of a pod in it and a port.
pub(super) type ModeOf<'a> = &'a mut dyn FnMut(&str, &BTreeMap<String, String>, u16) -> Mode;

/// What the indexes say of a destination. The policies of its pods are applied afterwards, since they
/// may have to be compiled first, and everybody waits for the indexes.
#[derive(Default)]
pub(super) struct Draft {
    found: Found,
    subject: Option<Subject>,
    /// How many endpoints were considered.
    pub(super) considered: usize,
}

/// What a destination is.
struct Subject {
    destination: SocketAddr,
    kind: Kind,
    name: String,
    endpoints: Vec<Endpoint>,
    sticky: bool,
}

/// Where a caller may be sent.
enum Endpoint {
    /// To an address outside of the mesh.
    Plain(SocketAddr),
    /// To a port of an injected pod.
    Of(Arc<MeshPod>, SocketAddr),
}

/// An answer, and what must be asked before it can be whole.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Nothing, if nothing is known yet.
    pub(super) answer: Option<Answer>,
    /// Pods that a slice names, and that the watch does not have.
    pub(super) unknown: Vec<Unknown>,
    /// Addresses for pods, of which the API server must be asked who has them.
    pub(super) strange: Vec<IpAddr>,
    /// What an earlier answer was, where it holds no longer and nothing is waited for.
    pub(super) was: Option<Kind>,
    /// Whether it is for one node only.
    pub(super) is_near: bool,
}

/// A pod of which it is not known whether it is injected, and an address of its.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unknown {
    pub(super) key: Key,
    pub(super) uid: Box<str>,
    pub(super) ip: IpAddr,
}

/// Which injected pod has an address.
enum Holder {
    One(Arc<MeshPod>),
    /// Several claim it, and none of them is believed.
    Contested,
    None,
}

/// Who may answer at an address.
enum Standing {
    As(Endpoint),
    NotKnown(Unknown),
    Strange(IpAddr),
    /// Its address is another's by now.
    Stale,
}

impl View<'_> {
    /// What is said of a destination to a caller on a node.
    pub(super) fn draft(&self, destination: SocketAddr, node: Option<&str>) -> Draft {
        let ip = destination.ip();
        if let Some(key) = self.directory.cluster_ip(ip) {
            return self.at_service(key, destination, node);
        }
        match self.holder(ip) {
            Holder::One(pod) => {
                let name = format!("Pod {}/{}", namespace(&pod), pod.name_any());
                let endpoints = vec![Endpoint::Of(pod, destination)];
                said(destination, Kind::Pod, name, endpoints, false)
            }
            Holder::Contested => {
                let name = "several pods that claim one address".to_owned();
                said(destination, Kind::Pod, name, Vec::new(), false)
            }
            Holder::None => {
                match self.directory.external_ip(ip).filter(|_| self.may_be_claimed(ip)) {
                    Some(key) => self.at_service(key, destination, node),
                    None => self.unclaimed(destination),
                }
            }
        }
    }

    /// Whether an address can be neither a cluster IP's nor a pod's, and was configured.
    fn may_be_claimed(&self, ip: IpAddr) -> bool {
        let addresses = self.addresses;
        addresses.is_for_claims(ip) && !addresses.is_for_services(ip) && !addresses.is_for_pods(ip)
    }

    fn at_service(&self, key: &Key, destination: SocketAddr, node: Option<&str>) -> Draft {
        match (self.service)(key) {
            Some(service) => self.of_service(&service, key, destination, node),
            None => Draft::was(Kind::Service),
        }
    }

    /// The pod that has an address: of several the one whose deletion has not begun, and none where
    /// that does not decide. A claim that the pod's node cannot give out counts for nothing.
    fn holder(&self, ip: IpAddr) -> Holder {
        let mut holder = Holder::None;
        for pod in self.directory.pods_at(ip).filter_map(|key| (self.pod)(key)) {
            if !self.addresses.may_have(&pod, ip) {
                continue;
            }
            holder = match holder {
                Holder::None => Holder::One(pod),
                Holder::One(other) => match (other.is_deleting(), pod.is_deleting()) {
                    (true, false) => Holder::One(pod),
                    (false, true) => Holder::One(other),
                    _ => Holder::Contested,
                },
                Holder::Contested => return Holder::Contested,
            };
        }
        holder
    }

    /// An address that no object claims which we watch.
    fn unclaimed(&self, destination: SocketAddr) -> Draft {
        let (ip, addresses) = (destination.ip(), self.addresses);
        if addresses.is_for_services(ip) {
            return Draft::was(Kind::Service);
        }
        if self.is_strange(ip) {
            let mut draft = Draft::was(Kind::Pod);
            draft.found.strange.push(ip);
            return draft;
        }
        said(destination, Kind::Outside, String::new(), Vec::new(), false)
    }

    /// Whether an address may be of a pod that was not seen yet.
    fn is_strange(&self, ip: IpAddr) -> bool {
        let addresses = self.addresses;
        let may_be =
            addresses.is_for_pods(ip) || addresses.hints_count() && self.directory.is_hinted(ip);
        may_be && !addresses.is_known_unmeshed(ip)
    }

    fn of_service(
        &self,
        service: &MeshService,
        key: &Key,
        destination: SocketAddr,
        node: Option<&str>,
    ) -> Draft {
        let port = service.ports.iter().find(|port| port.number == destination.port());
        let slices: Vec<_> =
            self.directory.slices_of(key).filter_map(|s| (self.slice)(&s)).collect();
        let mut all = Vec::new();
        for slice in &slices {
            let Some(number) = port.and_then(|port| slice.port(&port.name)) else { continue };
            let same = slice.endpoints.iter();
            let same = same.filter(|endpoint| endpoint.ip.is_ipv4() == destination.is_ipv4());
            all.extend(same.map(|endpoint| (endpoint, number)));
        }
        let considered = all.len();
        let is_ready = |endpoint: &MeshEndpoint| endpoint.state == EndpointState::Ready;
        let ready = all.iter().map(|(endpoint, _)| *endpoint).filter(|it| is_ready(it));
        let topology = match service.is_local {
            true => Topology::Local(node),
            false => Topology::hinted(ready, node, node.and_then(|node| (self.zone)(node))),
        };
        let is_near = topology != Topology::Same;
        all.retain(|(endpoint, _)| topology.has(endpoint, is_ready(endpoint)));
        // As kube-proxy does: a terminating endpoint serves only where no ready one does.
        let best = all.iter().map(|(endpoint, _)| endpoint.state).min();
        let serving = all.iter().filter(|(endpoint, _)| {
            Some(endpoint.state) == best && endpoint.state != EndpointState::NotServing
        });
        let (mut endpoints, mut found) = (Vec::new(), Found { is_near, ..Found::default() });
        // Whatever stands in several slices is judged once.
        let mut judged = HashSet::new();
        for (endpoint, number) in serving {
            if !judged.insert((endpoint.ip, *number, endpoint.pod.as_deref())) {
                continue;
            }
            match self.standing(endpoint, &key.0, *number) {
                Standing::As(endpoint) => endpoints.push(endpoint),
                Standing::NotKnown(pod) => found.unknown.push(pod),
                Standing::Strange(ip) => found.strange.push(ip),
                Standing::Stale => {}
            }
        }
        endpoints.sort_by_key(Endpoint::address);
        endpoints.dedup_by_key(|endpoint| endpoint.address());
        if endpoints.is_empty() && !(found.unknown.is_empty() && found.strange.is_empty()) {
            return Draft { found, subject: None, considered };
        }
        let name = format!("Service {}/{}", key.0, key.1);
        let said = said(destination, Kind::Service, name, endpoints, service.is_sticky);
        Draft { found, considered, ..said }
    }

    fn standing(&self, endpoint: &MeshEndpoint, namespace_of_slice: &str, port: u16) -> Standing {
        let ip = endpoint.ip;
        let (address, target) = (SocketAddr::new(ip, port), endpoint.pod.as_deref());
        match self.holder(ip) {
            Holder::One(pod) => {
                // A slice sends the caller's identity to a pod of its own namespace only, even if it names no pod.
                let is_it = pod.is_in(namespace_of_slice)
                    && target.is_none_or(|target| pod.name_any() == *target.name);
                return match is_it {
                    true => Standing::As(Endpoint::Of(pod, address)),
                    false => Standing::Stale,
                };
            }
            Holder::Contested => return Standing::Stale,
            Holder::None => {}
        }
        let Some(target) = target else {
            return match self.is_strange(ip) {
                true => Standing::Strange(ip),
                false => Standing::As(Endpoint::Plain(address)),
            };
        };
        let key = (namespace_of_slice.to_owned(), target.name.to_string());
        // A pod that the watch has, and that has another address by now.
        let known = (self.pod)(&key).filter(|pod| pod.uid().as_deref() == Some(&*target.uid));
        if known.is_some_and(|pod| !pod.ips.is_empty()) {
            return Standing::Stale;
        }
        match (self.asked)(&target.uid, ip) {
            Some(Verdict::Unmeshed) => Standing::As(Endpoint::Plain(address)),
            Some(Verdict::Gone) => Standing::Stale,
            None => Standing::NotKnown(Unknown { key, uid: target.uid.clone(), ip }),
        }
    }
}

impl Draft {
    /// It was something that is gone, or is not there yet.
    fn was(kind: Kind) -> Self {
        Self { found: Found { was: Some(kind), ..Found::default() }, ..Self::default() }
    }

    /// The answer, by the policies of the pods.
    pub(super) fn answer(self, domain: &TrustDomain, mode: ModeOf<'_>) -> Found {
        let Some(subject) = self.subject else { return self.found };
        let Subject { destination, kind, name, endpoints, sticky } = subject;
        let told = endpoints.iter().map(|endpoint| endpoint.told(domain, &mut *mode));
        let mut endpoints: Vec<Told> = told.collect();
        endpoints.sort_by(|one, other| one.address.cmp(&other.address));
        endpoints.truncate(most_of(&endpoints));
        let destination = destination.to_string();
        let answer = Answer { destination, kind: kind.into(), name, endpoints, sticky };
        Found { answer: Some(answer), ..self.found }
    }
}

impl Endpoint {
    fn address(&self) -> SocketAddr {
        let (Self::Plain(address) | Self::Of(_, address)) = self;
        *address
    }

    /// How it is called. Ports that face customers are called as customers call them.
    fn told(&self, domain: &TrustDomain, mode: ModeOf<'_>) -> Told {
        let (pod, address) = match self {
            Self::Plain(address) => return plain(*address),
            Self::Of(pod, address) => (pod, *address),
        };
        let namespace = namespace(pod);
        let is_mutual = pod.is_covered(address.port())
            && is_mutual(mode(&namespace, pod.labels(), address.port()));
        match SpiffeId::of_service_account(domain.clone(), &namespace, &pod.service_account) {
            Ok(id) if is_mutual => Told {
                address: address.to_string(),
                protocol: Protocol::Mutual.into(),
                identity: id.to_string(),
            },
            _ => plain(address),
        }
    }
}

/// How many endpoints fit into a message, in which there may be other answers; the next ones are as good.
fn most_of(endpoints: &[Told]) -> usize {
    let mut bytes = 0;
    let fits = |endpoint: &&Told| {
        // Its own length stands before it.
        bytes += endpoint.encoded_len() + 4;
        bytes <= LONGEST_MESSAGE / 2
    };
    endpoints.iter().take_while(fits).count()
}

fn namespace(pod: &MeshPod) -> String {
    pod.namespace().unwrap_or_default()
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
    endpoints: Vec<Endpoint>,
    sticky: bool,
) -> Draft {
    let (found, considered) = (Found::default(), endpoints.len());
    let subject = Some(Subject { destination, kind, name, endpoints, sticky });
    Draft { found, subject, considered }
}

/// What is said of an address that was a Service's or a pod's, and of which it is not known whose it is
/// now.
pub(super) fn nobody(destination: SocketAddr, was: Kind) -> Answer {
    let name = if was == Kind::Pod { "no pod" } else { "no Service" };
    let (kind, name) = (was.into(), name.to_owned());
    Answer { destination: destination.to_string(), kind, name, ..Answer::default() }
}

#[cfg(test)]
mod tests;
