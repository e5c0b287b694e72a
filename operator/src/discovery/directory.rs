//! Which object is behind an address: indexes over what the watches saw, and nothing of the objects
//! themselves.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::claims::Claims;
use crate::kept::{MeshPod, MeshService, MeshSlice};

/// A namespace, and a name in it.
pub(super) type Key = (String, String);

/// Of two Services that claim an address, the older one has it; the uid decides between equals.
type Age = (Option<Timestamp>, Box<str>);

/// The indexes. Whatever changes one of them says which addresses could be answered otherwise now.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Services by their cluster IPs, which the API server gives out itself.
    cluster: Claims<Age>,
    /// Services by addresses that their authors wrote, or that a load balancer has.
    external: Claims<Age>,
    /// Pods by their own addresses.
    pods: Claims<()>,
    /// The slices of each Service, by name.
    slices_of: HashMap<Key, BTreeSet<String>>,
    slices: HashMap<Arc<Key>, Listed>,
    /// The slices in which an address stands.
    standing: HashMap<IpAddr, Vec<Arc<Key>>>,
    /// How many slices say of an address that a pod of their own namespace has it.
    hinted: HashMap<IpAddr, usize>,
}

/// What one slice lists.
#[derive(Debug)]
struct Listed {
    service: Key,
    /// Each address, and whether the slice says that a pod has it.
    ips: Box<[(IpAddr, bool)]>,
}

impl Directory {
    /// The Service whose cluster IP an address is.
    pub(super) fn cluster_ip(&self, ip: IpAddr) -> Option<&Key> {
        self.cluster.at(ip).next()
    }

    /// The oldest Service that claims an address beside its cluster IPs. Such a claim proves nothing:
    /// it counts only where the address can be no cluster IP's and no pod's.
    pub(super) fn external_ip(&self, ip: IpAddr) -> Option<&Key> {
        self.external.at(ip).next()
    }

    /// The injected pods that claim an address; more than one is a conflict.
    pub(super) fn pods_at(&self, ip: IpAddr) -> impl Iterator<Item = &Key> {
        self.pods.at(ip)
    }

    /// The slices of a Service.
    pub(super) fn slices_of(&self, service: &Key) -> impl Iterator<Item = ObjectRef<MeshSlice>> {
        let names = self.slices_of.get(service).into_iter().flatten();
        names.map(|name| ObjectRef::new(name).within(&service.0))
    }

    /// Whether a slice says of an address that a pod of the slice's own namespace has it. That is a
    /// reason to ask the API server, and never an answer.
    pub(super) fn is_hinted(&self, ip: IpAddr) -> bool {
        self.hinted.contains_key(&ip)
    }

    /// All addresses of which a slice says so.
    pub(super) fn hinted(&self) -> impl Iterator<Item = IpAddr> {
        self.hinted.keys().copied()
    }

    /// A Service is there, or gone.
    pub(super) fn note_service(&mut self, service: &MeshService, is_there: bool) -> Vec<IpAddr> {
        let (key, age) = (key(service), age(service));
        let (cluster, external): (&[_], &[_]) = match is_there {
            true => (&service.cluster_ips, &service.external_ips),
            false => (&[], &[]),
        };
        let mut changed = self.cluster.note(&key, &age, cluster);
        changed.extend(self.external.note(&key, &age, external));
        changed
    }

    /// An injected pod is there, or gone.
    pub(super) fn note_pod(&mut self, pod: &MeshPod, is_there: bool) -> Vec<IpAddr> {
        let claims = if is_there { pod.claims() } else { &[] };
        let mut changed = self.pods.note(&key(pod), &(), claims);
        let behind: Vec<_> = changed.iter().flat_map(|ip| self.called_by(*ip)).collect();
        changed.extend(behind);
        changed
    }

    /// An address, and those of the Services behind which it stands.
    pub(super) fn around(&self, ip: IpAddr) -> Vec<IpAddr> {
        let mut all = self.called_by(ip);
        all.push(ip);
        all
    }

    fn called_by(&self, ip: IpAddr) -> Vec<IpAddr> {
        let slices = self.standing.get(&ip).into_iter().flatten();
        let services = slices.filter_map(|slice| self.slices.get(slice)).map(|it| &it.service);
        services.flat_map(|service| self.addresses_of(service)).collect()
    }

    fn addresses_of(&self, service: &Key) -> impl Iterator<Item = IpAddr> {
        self.cluster.of(service).iter().chain(self.external.of(service)).copied()
    }

    /// A slice is there, or gone.
    pub(super) fn note_slice(&mut self, slice: &MeshSlice, is_there: bool) -> Vec<IpAddr> {
        let slice_key = key(slice);
        let mut changed = self.forget_slice(&slice_key);
        let Some(name) = slice.service.as_deref().filter(|_| is_there) else { return changed };
        let slice_key = Arc::new(slice_key);
        let service = (slice_key.0.clone(), name.to_owned());
        let mut ips: Vec<_> = slice.endpoints.iter().map(|it| (it.ip, it.pod.is_some())).collect();
        // Where one address stands twice, the hint counts.
        ips.sort_unstable_by(|one, other| (one.0, other.1).cmp(&(other.0, one.1)));
        ips.dedup_by_key(|(ip, _)| *ip);
        for (ip, is_pod) in &ips {
            self.standing.entry(*ip).or_default().push(slice_key.clone());
            if *is_pod && self.hint(*ip) {
                changed.push(*ip);
            }
        }
        self.slices_of.entry(service.clone()).or_default().insert(slice_key.1.clone());
        changed.extend(self.addresses_of(&service));
        self.slices.insert(slice_key, Listed { service, ips: ips.into() });
        changed
    }

    /// Returns whether it is the first hint.
    fn hint(&mut self, ip: IpAddr) -> bool {
        let count = self.hinted.entry(ip).or_default();
        *count += 1;
        *count == 1
    }

    /// Returns whether it was the last hint.
    fn unhint(&mut self, ip: IpAddr) -> bool {
        let Some(count) = self.hinted.get_mut(&ip) else { return false };
        *count -= 1;
        let was_last = *count == 0;
        if was_last {
            self.hinted.remove(&ip);
        }
        was_last
    }

    fn forget_slice(&mut self, slice: &Key) -> Vec<IpAddr> {
        let Some(Listed { service, ips }) = self.slices.remove(slice) else { return Vec::new() };
        let mut changed: Vec<_> = self.addresses_of(&service).collect();
        for (ip, is_pod) in ips {
            if let Some(standing) = self.standing.get_mut(&ip) {
                standing.retain(|other| **other != *slice);
                if standing.is_empty() {
                    self.standing.remove(&ip);
                }
            }
            if is_pod && self.unhint(ip) {
                changed.push(ip);
            }
        }
        if let Some(names) = self.slices_of.get_mut(&service) {
            names.remove(&slice.1);
            if names.is_empty() {
                self.slices_of.remove(&service);
            }
        }
        changed
    }
}

fn key<K: ResourceExt>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn age(service: &MeshService) -> Age {
    let since = service.creation_timestamp().map(|time| time.0);
    (since, service.uid().unwrap_or_default().into())
}

#[cfg(test)]
mod tests;
