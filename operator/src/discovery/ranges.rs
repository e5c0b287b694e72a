//! The addresses that are set aside for Services (ServiceCIDR, KEP-1880). One of them that no Service
//! has is a Service's that was not seen yet, or that is gone: never somebody outside of the mesh.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

use futures::StreamExt;
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tracing::{info, warn};

use crate::watch::Once;

/// The ranges, by the name of the object that says them.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    all: RwLock<HashMap<String, Vec<IpNet>>>,
    /// Whether they were read once, or cannot be: clusters before 1.33 do not say.
    pub(super) read: Once,
}

impl Ranges {
    /// Whether an address is set aside for a Service.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.values().flatten().any(|range| range.contains(&ip))
    }

    fn note(&self, object: &ServiceCIDR) {
        let cidrs = object.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
        let ranges = cidrs.filter_map(|cidr| cidr.parse().ok()).collect();
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(object.name_any(), ranges);
    }

    fn forget(&self, object: &ServiceCIDR) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.remove(&object.name_any());
    }
}

/// Follows them, for as long as it is polled.
pub(super) async fn follow(client: Client, ranges: &Ranges) {
    let api: Api<ServiceCIDR> = Api::all(client);
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => ranges.note(&object),
            // While all are read anew, those of before stand: they are hardly ever taken away.
            Ok(Event::Delete(object)) => ranges.forget(&object),
            Ok(Event::InitDone) => ranges.read.set(),
            Ok(Event::Init) => {}
            Err(error) if is_unknown(&error) => {
                info!("this cluster does not say which addresses are for Services");
                ranges.read.set();
                return std::future::pending().await;
            }
            Err(error) => warn!(%error, "watching the addresses that are for Services"),
        }
    }
}

/// Whether the API server does not know the kind, or does not let us read it.
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
}
