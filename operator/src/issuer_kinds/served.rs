//! What is published of an answer of API discovery; pure.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::discovery::v2::{
    APIGroupDiscovery, APIGroupDiscoveryList, APIResourceDiscovery, GroupVersionKind,
};

/// The most that keys and values may take together; the API server accepts 1 MiB with the metadata.
const MAX_BYTES: usize = 768 * 1024;

/// The longest key of a ConfigMap.
const MAX_KEY: usize = 253;

/// The data of the ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct IssuerKinds {
    /// From `<Kind>.<group>` to `<plural>/<scope>`; a kind has no dot.
    pub(super) data: BTreeMap<String, String>,
    /// How many kinds did not fit.
    pub(super) omitted: usize,
}

/// Every kind of a group that is not Kubernetes' own. A kind with two plurals or scopes is not published:
/// which one an issuer has would be a guess.
pub(super) fn served(list: &APIGroupDiscoveryList) -> IssuerKinds {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (key, value) in list.items.iter().flat_map(kinds_of) {
        found.entry(key).or_default().insert(value);
    }
    let single = |(key, values): (String, BTreeSet<String>)| {
        let mut values = values.into_iter();
        values.next().filter(|_| values.next().is_none()).map(|value| (key, value))
    };
    bounded(found.into_iter().filter_map(single).collect(), MAX_BYTES)
}

/// Kinds that are called issuers come first where not all fit.
fn bounded(mut all: Vec<(String, String)>, max_bytes: usize) -> IssuerKinds {
    all.sort_by_key(|(key, _)| !is_called_issuer(key));
    let mut left = max_bytes;
    let mut kinds = IssuerKinds::default();
    for (key, value) in all {
        let size = key.len() + value.len();
        if key.len() > MAX_KEY || size > left {
            kinds.omitted += 1;
            continue;
        }
        left -= size;
        kinds.data.insert(key, value);
    }
    kinds
}

fn is_called_issuer(key: &str) -> bool {
    let kind = key.split('.').next().unwrap_or_default();
    kind.to_ascii_lowercase().contains("issuer")
}

fn kinds_of(group: &APIGroupDiscovery) -> impl Iterator<Item = (String, String)> + '_ {
    let name = group.metadata.as_ref().and_then(|it| it.name.as_deref()).unwrap_or_default();
    let resources = group.versions.iter().flat_map(|version| &version.resources);
    resources
        .filter(move |_| !is_of_kubernetes(name))
        .filter_map(move |resource| entry(name, resource))
}

/// The API server reserves `*.k8s.io`; `*.x-k8s.io` is open to all.
fn is_of_kubernetes(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io")
}

/// An issuer is an object that can be read, of a kind of its own group.
fn entry(group: &str, resource: &APIResourceDiscovery) -> Option<(String, String)> {
    let APIResourceDiscovery { resource: plural, response_kind, scope, verbs, .. } = resource;
    let plural = plural.as_deref().filter(|plural| !plural.is_empty() && !plural.contains('/'))?;
    let GroupVersionKind { group: of, kind, .. } = response_kind.as_ref()?;
    let kind = kind.as_deref().filter(|kind| !kind.is_empty())?;
    let is_its = of.as_deref().is_none_or(|of| of.is_empty() || of == group);
    let scope = scope.as_deref().filter(|scope| ["Cluster", "Namespaced"].contains(scope))?;
    let is_read = verbs.iter().any(|verb| verb == "get");
    (is_its && is_read).then(|| (format!("{kind}.{group}"), format!("{plural}/{scope}")))
}

#[cfg(test)]
mod tests;
