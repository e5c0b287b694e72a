//! Which object is behind an address: indexes over what the watches saw, and nothing of the objects
//! themselves.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::kept::MeshPod;

/// The label by which a slice belongs to a Service (KEP-752).
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A namespace, and a name in it.
pub(super) type Key = (String, String);

/// The indexes. Whatever changes one of them says which addresses could be answered otherwise now.
#[derive(Debug, Default)]
pub(super) struct Directory {
    services: Addresses<Key>,
    pods: Addresses<Key>,
    /// The slices of each Service, by name.
    slices_of: HashMap<Key, BTreeSet<String>>,
    /// The Service and the addresses of each slice.
    slices: HashMap<Key, (Key, Vec<IpAddr>)>,
    /// The slices in which an address stands.
    standing: HashMap<IpAddr, HashSet<Key>>,
}

impl Directory {
    /// The Service that is called by an address.
    pub(super) fn service(&self, ip: IpAddr) -> Option<&Key> {
        self.services.owner(ip)
    }

    /// The injected pod that has an address.
    pub(super) fn pod(&self, ip: IpAddr) -> Option<&Key> {
        self.pods.owner(ip)
    }

    /// The slices of a Service.
    pub(super) fn slices_of(
        &self,
        service: &Key,
    ) -> impl Iterator<Item = ObjectRef<EndpointSlice>> {
        let names = self.slices_of.get(service).into_iter().flatten();
        names.map(|name| ObjectRef::new(name).within(&service.0))
    }

    /// The slices in which an address stands.
    pub(super) fn standing(&self, ip: IpAddr) -> impl Iterator<Item = ObjectRef<EndpointSlice>> {
        let keys = self.standing.get(&ip).into_iter().flatten();
        keys.map(|(namespace, name)| ObjectRef::new(name).within(namespace))
    }

    /// A Service is there, or gone.
    pub(super) fn note_service(&mut self, service: &Service, is_there: bool) -> Vec<IpAddr> {
        let now = if is_there { addresses_of_service(service) } else { Vec::new() };
        self.services.note(key(service), now)
    }

    /// An injected pod is there, or gone. A pod that ended has no address any longer: another one may
    /// have it by now.
    pub(super) fn note_pod(&mut self, pod: &MeshPod, is_there: bool) -> Vec<IpAddr> {
        let now = if is_there && !pod.has_ended { pod.ips.to_vec() } else { Vec::new() };
        let mut dirty = self.pods.note(key(pod), now);
        let behind: Vec<_> = dirty.iter().flat_map(|ip| self.called_by(*ip)).collect();
        dirty.extend(behind);
        dirty
    }

    /// More is known of who has an address.
    pub(super) fn around(&self, ip: IpAddr) -> Vec<IpAddr> {
        let mut dirty = self.called_by(ip);
        dirty.push(ip);
        dirty
    }

    /// The addresses of the Services behind which an address stands.
    fn called_by(&self, ip: IpAddr) -> Vec<IpAddr> {
        let slices = self.standing.get(&ip).into_iter().flatten();
        let services = slices.filter_map(|slice| self.slices.get(slice));
        services.flat_map(|(service, _)| self.services.of(service)).copied().collect()
    }

    /// A slice is there, or gone.
    pub(super) fn note_slice(&mut self, slice: &EndpointSlice, is_there: bool) -> Vec<IpAddr> {
        let slice_key = key(slice);
        let mut dirty = self.forget_slice(&slice_key);
        let service = slice.labels().get(SERVICE_NAME).filter(|_| is_there);
        if let Some(service) = service {
            let service = (slice_key.0.clone(), service.clone());
            let listed = slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses);
            let ips: Vec<IpAddr> = listed.filter_map(|ip| ip.parse().ok()).collect();
            for ip in &ips {
                self.standing.entry(*ip).or_default().insert(slice_key.clone());
            }
            self.slices_of.entry(service.clone()).or_default().insert(slice_key.1.clone());
            dirty.extend(&ips);
            dirty.extend(self.services.of(&service));
            self.slices.insert(slice_key, (service, ips));
        }
        dirty
    }

    fn forget_slice(&mut self, slice: &Key) -> Vec<IpAddr> {
        let Some((service, ips)) = self.slices.remove(slice) else { return Vec::new() };
        for ip in &ips {
            take(&mut self.standing, ip, slice);
        }
        if let Some(names) = self.slices_of.get_mut(&service) {
            names.remove(&slice.1);
            if names.is_empty() {
                self.slices_of.remove(&service);
            }
        }
        ips.into_iter().chain(self.services.of(&service).iter().copied()).collect()
    }
}

fn take<K: Hash + Eq>(map: &mut HashMap<K, HashSet<Key>>, from: &K, what: &Key) {
    if let Some(set) = map.get_mut(from) {
        set.remove(what);
        if set.is_empty() {
            map.remove(from);
        }
    }
}

/// Who has which addresses. Of two that claim one, for as long as two watches differ, the later one
/// has it.
#[derive(Debug)]
struct Addresses<K> {
    owners: HashMap<IpAddr, K>,
    of: HashMap<K, Vec<IpAddr>>,
}

impl<K> Default for Addresses<K> {
    fn default() -> Self {
        Self { owners: HashMap::new(), of: HashMap::new() }
    }
}

impl<K: Hash + Eq + Clone> Addresses<K> {
    fn owner(&self, ip: IpAddr) -> Option<&K> {
        self.owners.get(&ip)
    }

    fn of(&self, owner: &K) -> &[IpAddr] {
        self.of.get(owner).map_or(&[], Vec::as_slice)
    }

    /// Somebody has these addresses, and no others; returns those that it has now or had before.
    fn note(&mut self, owner: K, now: Vec<IpAddr>) -> Vec<IpAddr> {
        let before = self.of.remove(&owner).unwrap_or_default();
        for ip in &before {
            if self.owners.get(ip) == Some(&owner) {
                self.owners.remove(ip);
            }
        }
        for ip in &now {
            self.owners.insert(*ip, owner.clone());
        }
        let touched = before.into_iter().chain(now.iter().copied()).collect();
        if !now.is_empty() {
            self.of.insert(owner, now);
        }
        touched
    }
}

fn key<K: ResourceExt>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Every address by which a Service is called within the cluster; those of load balancers included,
/// since kube-proxy leads them to the endpoints without leaving the node.
fn addresses_of_service(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let own = spec.cluster_ips.iter().flatten().chain(spec.cluster_ip.iter());
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let led = ingress.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
    let led = led.filter_map(|ingress| ingress.ip.as_ref());
    let all = own.chain(spec.external_ips.iter().flatten()).chain(led);
    let distinct: BTreeSet<IpAddr> = all.filter_map(|ip| ip.parse().ok()).collect();
    distinct.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
        serde_json::from_value(value).unwrap()
    }

    fn service(ips: &[&str]) -> Service {
        object(
            json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {"clusterIPs": ips}}),
        )
    }

    fn slice(name: &str, ips: &[&str]) -> EndpointSlice {
        object(json!({
            "metadata": {"name": name, "namespace": "shop", "labels": {SERVICE_NAME: "web"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ips}],
        }))
    }

    fn pod(name: &str, ip: &str, phase: &str) -> MeshPod {
        object(json!({
            "metadata": {"name": name, "namespace": "shop"},
            "status": {"podIPs": [{"ip": ip}], "phase": phase},
        }))
    }

    fn texts(ips: Vec<IpAddr>) -> Vec<String> {
        let distinct: BTreeSet<String> = ips.iter().map(ToString::to_string).collect();
        distinct.into_iter().collect()
    }

    #[test]
    fn a_change_names_every_address_that_could_be_answered_otherwise() {
        let mut directory = Directory::default();
        let seen = [
            texts(directory.note_service(&service(&["10.96.0.7", "fd00::7"]), true)),
            texts(directory.note_slice(&slice("web-1", &["10.0.0.1"]), true)),
            texts(directory.note_pod(&pod("web-a", "10.0.0.1", "Running"), true)),
            texts(directory.note_pod(&pod("web-a", "10.0.0.1", "Succeeded"), true)),
            texts(directory.note_slice(&slice("web-1", &["10.0.0.2"]), true)),
            texts(directory.note_slice(&slice("web-1", &[]), false)),
            texts(directory.note_service(&service(&[]), false)),
        ];
        let both: &[&str] = &["10.96.0.7", "fd00::7"];
        let with = |ips: &[&'static str]| [ips, both].concat();
        assert_eq!(
            seen,
            [
                both.to_vec(),
                with(&["10.0.0.1"]),
                with(&["10.0.0.1"]),
                with(&["10.0.0.1"]),
                with(&["10.0.0.1", "10.0.0.2"]),
                with(&["10.0.0.2"]),
                both.to_vec(),
            ]
        );
        assert!(directory.slices.is_empty() && directory.standing.is_empty());
        assert!(directory.slices_of.is_empty() && directory.services.of.is_empty());
    }

    #[test]
    fn an_address_that_went_on_to_another_pod_is_that_ones() {
        let mut directory = Directory::default();
        let ip = "10.0.0.1".parse().unwrap();
        directory.note_pod(&pod("old", "10.0.0.1", "Running"), true);
        directory.note_pod(&pod("new", "10.0.0.1", "Running"), true);
        directory.note_pod(&pod("old", "10.0.0.1", "Running"), false);
        assert_eq!(directory.pod(ip), Some(&("shop".to_owned(), "new".to_owned())));
    }

    #[test]
    fn a_service_is_called_by_the_addresses_that_stay_in_the_cluster() {
        let service: Service = object(json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"clusterIP": "None", "clusterIPs": ["None"], "externalIPs": ["192.0.2.1"]},
            "status": {"loadBalancer": {"ingress": [
                {"ip": "192.0.2.2"}, {"ip": "192.0.2.3", "ipMode": "Proxy"}, {"hostname": "x.example"},
            ]}},
        }));
        assert_eq!(texts(addresses_of_service(&service)), ["192.0.2.1", "192.0.2.2"]);
    }
}
