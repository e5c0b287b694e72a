//! Which versions of the sidecar run. A pod keeps its own until it is made anew.

use std::collections::BTreeMap;

use countersign_contract::names;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::core::PartialObjectMeta;
use serde::Serialize;

use crate::cluster::{Cluster, all};
use crate::error::Error;
use crate::text::count;

/// What is said of a pod that was injected before versions were noted.
const UNKNOWN: &str = "unknown";

/// How many pods have which version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Versions(BTreeMap<String, usize>);

/// Reads them, in one namespace or in all.
///
/// # Errors
/// When pods cannot be read.
pub async fn gather(cluster: &Cluster, namespace: Option<&str>) -> Result<Versions, Error> {
    let client = cluster.client.clone();
    let api: Api<PartialObjectMeta<Pod>> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let injected = ListParams::default().labels(&format!("{}=true", names::INJECTED_LABEL));
    let pods = all(&api, &injected).await?;
    let version = |pod: &PartialObjectMeta<Pod>| {
        pod.annotations().get(names::SIDECAR_VERSION_ANNOTATION).cloned()
    };
    Ok(Versions::of(pods.iter().map(version)))
}

impl Versions {
    /// Counts them.
    pub fn of(pods: impl Iterator<Item = Option<String>>) -> Self {
        let mut counts = BTreeMap::new();
        for version in pods {
            *counts.entry(version.unwrap_or_else(|| UNKNOWN.to_owned())).or_default() += 1;
        }
        Self(counts)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many pods have another version than this.
    #[must_use]
    pub fn others_than(&self, version: &str) -> usize {
        self.0.iter().filter(|(other, _)| *other != version).map(|(_, count)| count).sum()
    }

    /// A line for people.
    #[must_use]
    pub fn summary(&self, operator: Option<&str>) -> String {
        if self.0.is_empty() {
            return "no pod has one".to_owned();
        }
        let of_version = |(version, pods): (&String, &usize)| format!("{pods} of {version}");
        let all: Vec<_> = self.0.iter().map(of_version).collect();
        let all = all.join(", ");
        match operator.map(|operator| (operator, self.others_than(operator))) {
            Some((operator, others)) if others > 0 => format!(
                "{all}; {} not of the operator's version {operator}, until made anew",
                count(others, "pod")
            ),
            _ => all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_counted_and_those_that_differ_are_told() {
        let of = |versions: &[&str]| {
            let version = |version: &&str| (!version.is_empty()).then(|| (*version).to_owned());
            Versions::of(versions.iter().map(version))
        };
        let cases = [
            (of(&[]), Some("0.2.0"), "no pod has one"),
            (of(&["0.2.0", "0.2.0"]), Some("0.2.0"), "2 of 0.2.0"),
            (of(&["0.2.0", "0.1.0"]), None, "1 of 0.1.0, 1 of 0.2.0"),
            (
                of(&["0.2.0", "0.1.0", "", ""]),
                Some("0.2.0"),
                "1 of 0.1.0, 1 of 0.2.0, 2 of unknown; 3 pods not of the operator's version 0.2.0, until made anew",
            ),
        ];
        for (versions, operator, expected) in cases {
            assert_eq!(versions.summary(operator), expected);
        }
    }
}
