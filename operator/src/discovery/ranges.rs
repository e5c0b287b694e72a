//! The addresses that are set aside for Services (ServiceCIDR, KEP-1880) and for pods (of each Node).
//! One of them that nobody has is somebody's that was not seen yet, or that is gone: it is not
//! simply outside of the mesh.

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use futures::StreamExt;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use crate::watch::Once;

/// So many are read at once: Nodes are large.
const PAGE: u32 = 100;

/// A kind whose objects set addresses aside.
pub(super) trait SetsAside:
    Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + 'static
{
    /// For whom.
    const FOR: &'static str;

    /// Which.
    fn ranges(&self) -> impl Iterator<Item = &String>;

    /// In which zone it is, if it is anywhere.
    fn zone(&self) -> Option<&str> {
        None
    }
}

impl SetsAside for ServiceCIDR {
    const FOR: &'static str = "Services";

    fn ranges(&self) -> impl Iterator<Item = &String> {
        self.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten())
    }
}

impl SetsAside for Node {
    const FOR: &'static str = "pods";

    fn ranges(&self) -> impl Iterator<Item = &String> {
        self.spec.iter().flat_map(|spec| spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr))
    }

    fn zone(&self) -> Option<&str> {
        self.labels().get("topology.kubernetes.io/zone").map(String::as_str)
    }
}

/// The ranges, by the name of the object that says them.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    all: RwLock<HashMap<String, Aside>>,
    /// Whether they were read once, or cannot be.
    pub(super) was_read: Once,
}

/// What one object says.
#[derive(Debug, Default)]
struct Aside {
    ranges: Vec<IpNet>,
    zone: Option<Box<str>>,
}

impl Ranges {
    /// Those that were configured, which no object says.
    pub(super) fn of(configured: &[IpNet]) -> Self {
        let configured = Aside { ranges: configured.to_vec(), zone: None };
        let all = RwLock::new(HashMap::from([(String::new(), configured)]));
        Self { all, was_read: Once::default() }
    }

    /// All of them, and whether each object but what was configured says some.
    pub(super) fn all(&self) -> (Vec<IpNet>, bool) {
        let all = self.read();
        let mut objects = all.iter().filter(|(name, _)| !name.is_empty());
        let each_says = objects.all(|(_, aside)| !aside.ranges.is_empty());
        (all.values().flat_map(|aside| aside.ranges.iter().copied()).collect(), each_says)
    }

    /// Those that were configured.
    pub(super) fn configured(&self) -> Vec<IpNet> {
        self.read().get("").map(|aside| aside.ranges.clone()).unwrap_or_default()
    }

    /// Whether an object's own range has an address; nothing, if it says none of that family.
    pub(super) fn has_of(&self, name: &str, ip: IpAddr) -> Option<bool> {
        let all = self.read();
        let is_same = |range: &&IpNet| range.addr().is_ipv4() == ip.is_ipv4();
        let mut same = all.get(name)?.ranges.iter().filter(is_same).peekable();
        same.peek()?;
        Some(same.any(|range| range.contains(&ip)))
    }

    /// Whether an address is in one.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.read().values().flat_map(|aside| &aside.ranges).any(|range| range.contains(&ip))
    }

    /// In which zone an object is.
    pub(super) fn zone(&self, name: &str) -> Option<Box<str>> {
        self.read().get(name)?.zone.clone()
    }

    /// Returns the ranges that it says now or said before, if they are others.
    fn note<K: SetsAside>(&self, object: &K) -> Vec<IpNet> {
        let mut ranges: Vec<IpNet> =
            object.ranges().filter_map(|range| range.parse().ok()).collect();
        ranges.sort_unstable();
        ranges.dedup();
        let aside = Aside { ranges, zone: object.zone().map(Into::into) };
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let now = aside.ranges.clone();
        let before = all.insert(object.name_any(), aside).unwrap_or_default().ranges;
        if now == before { Vec::new() } else { [now, before].concat() }
    }

    fn forget<K: SetsAside>(&self, object: &K) -> Vec<IpNet> {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.remove(&object.name_any()).unwrap_or_default().ranges
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Aside>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows them, for as long as it is polled; `changed` is given those that came or went.
pub(super) async fn follow<K: SetsAside>(
    client: Client,
    ranges: &Ranges,
    changed: impl Fn(&[IpNet]),
) {
    let api: Api<K> = Api::all(client);
    let config = watcher::Config::default().page_size(PAGE);
    let mut events = watcher(api, config).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => changed(&ranges.note(&object)),
            // While all are read anew, those of before stand: they are hardly ever taken away.
            Ok(Event::Delete(object)) => changed(&ranges.forget(&object)),
            Ok(Event::InitDone) => ranges.was_read.set(),
            Ok(Event::Init) => {}
            Err(error) if is_unknown(&error) => {
                info!("this cluster does not say which addresses are for {}", K::FOR);
                ranges.was_read.set();
                return std::future::pending().await;
            }
            Err(error) => warn!(
                error = crate::story::story(&error),
                "watching the addresses that are for {}",
                K::FOR
            ),
        }
    }
}

/// Whether the API server does not know the kind (ServiceCIDR before 1.33), or does not let us read
/// it.
fn is_unknown(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) =
        error
    else {
        return false;
    };
    matches!(error, kube::Error::Api(status) if matches!(status.code, 403 | 404))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_is_a_services_if_any_range_has_it() {
        let ranges = Ranges::default();
        let object = |name: &str, cidrs: &[&str]| -> ServiceCIDR {
            serde_json::from_value(
                json!({ "metadata": { "name": name }, "spec": { "cidrs": cidrs } }),
            )
            .unwrap()
        };
        ranges.note(&object("kubernetes", &["10.96.0.0/12", "fd00:96::/112"]));
        ranges.note(&object("more", &["172.20.0.0/16", "nonsense"]));
        let has = |ip: &str| ranges.has(ip.parse().unwrap());
        assert!(
            has("10.96.0.1") && has("10.111.255.255") && has("fd00:96::7") && has("172.20.3.4")
        );
        assert!(!has("10.112.0.1") && !has("192.0.2.1") && !has("fd00:97::7"));
        ranges.forget(&object("more", &[]));
        assert!(!has("172.20.3.4"));
    }

    #[test]
    fn an_address_is_a_pods_if_a_node_or_who_installed_says_so() {
        let ranges = Ranges::of(&["192.0.2.0/24".parse().unwrap()]);
        let node = |spec| -> Node {
            serde_json::from_value(json!({ "metadata": { "name": "one" }, "spec": spec })).unwrap()
        };
        let has = |ip: &str| ranges.has(ip.parse().unwrap());
        ranges.note(&node(json!({ "podCIDRs": ["10.244.1.0/24", "fd00:1::/64"] })));
        assert!(has("10.244.1.7") && has("fd00:1::7") && has("192.0.2.7"));
        assert!(!has("10.244.2.7"));
        let has_of = |name: &str, ip: &str| ranges.has_of(name, ip.parse().unwrap());
        assert_eq!(has_of("one", "10.244.1.7"), Some(true));
        assert_eq!(has_of("one", "192.0.2.7"), Some(false));
        assert_eq!(has_of("two", "10.244.1.7"), None);
        assert!(ranges.all().1, "every node says a range");
        assert!(
            ranges.note(&node(json!({ "podCIDRs": ["fd00:1::/64", "10.244.1.0/24"] }))).is_empty()
        );
        // Some networks give nodes no range of their own.
        ranges.note(&node(json!({})));
        assert!(!has("10.244.1.7") && has("192.0.2.7"));
        assert!(!ranges.all().1 && ranges.has_of("one", [10, 244, 1, 7].into()).is_none());
        assert_eq!(ranges.zone("one"), None);
        let zoned = json!({ "metadata": { "name": "one", "labels": { "topology.kubernetes.io/zone": "x" } } });
        ranges.note::<Node>(&serde_json::from_value(zoned).unwrap());
        assert_eq!(ranges.zone("one").as_deref(), Some("x"));
    }
}
