//! Who shall sign: by its name, and how it is.

use std::fmt;
use std::str::FromStr;

use countersign_contract::names::API_GROUP;
use countersign_crds::{ClusterIssuer, Condition, Issuer, IssuerRef};
use kube::api::{Api, DynamicObject};
use kube::discovery::{self, Scope};

use crate::cluster::{Cluster, Found};
use crate::error::story;

/// An issuer's name, with what is left out filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerName {
    /// `Issuer` unless said.
    pub kind: String,
    /// Ours unless said.
    pub group: String,
    /// Its name.
    pub name: String,
}

impl IssuerName {
    /// Whom a reference names.
    #[must_use]
    pub fn of(reference: &IssuerRef) -> Self {
        Self {
            kind: reference.effective_kind().to_owned(),
            group: reference.effective_group().to_owned(),
            name: reference.name.clone(),
        }
    }

    /// The reference that names it.
    #[must_use]
    pub fn reference(&self) -> IssuerRef {
        let Self { kind, group, name } = self.clone();
        IssuerRef { name, kind: Some(kind), group: Some(group) }
    }

    /// Whether it is one of ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.group == API_GROUP
    }

    /// Reads what its status says.
    pub async fn conditions(&self, cluster: &Cluster) -> Found<Vec<Condition>> {
        match (self.is_ours(), self.kind.as_str()) {
            (true, "ClusterIssuer") => {
                let found = cluster.look_cluster_wide::<ClusterIssuer>(&self.name).await;
                found.map(|issuer| issuer.status.unwrap_or_default().conditions)
            }
            (true, _) => {
                let found = cluster.look::<Issuer>(&self.name).await;
                found.map(|issuer| issuer.status.unwrap_or_default().conditions)
            }
            (false, _) => {
                let read = self.of_others(cluster).await;
                read.unwrap_or_else(|error| Found::Unknown(story(&error)))
            }
        }
    }

    /// Issuers of others have conditions of the same form, as far as is known.
    async fn of_others(&self, cluster: &Cluster) -> kube::Result<Found<Vec<Condition>>> {
        let group = match discovery::group(&cluster.client, &self.group).await {
            Ok(group) => group,
            Err(kube::Error::Discovery(_)) => return Ok(Found::Missing),
            Err(error) => return Err(error),
        };
        let Some((resource, capabilities)) = group.recommended_kind(&self.kind) else {
            return Ok(Found::Missing);
        };
        let api: Api<DynamicObject> = match capabilities.scope {
            Scope::Cluster => Api::all_with(cluster.client.clone(), &resource),
            Scope::Namespaced => {
                Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource)
            }
        };
        let Some(object) = api.get_opt(&self.name).await? else { return Ok(Found::Missing) };
        let conditions = object.data.pointer("/status/conditions").cloned().unwrap_or_default();
        Ok(Found::There(serde_json::from_value(conditions).unwrap_or_default()))
    }
}

/// A text that names no issuer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it names no issuer: write name, Kind/name or Kind.group/name, such as ClusterIssuer/countersign"
)]
pub struct NoIssuer;

impl FromStr for IssuerName {
    type Err = NoIssuer;

    fn from_str(text: &str) -> Result<Self, NoIssuer> {
        let (kind, name) = text.split_once('/').unwrap_or(("Issuer", text));
        let (kind, group) = kind.split_once('.').unwrap_or((kind, API_GROUP));
        let is_known = ["Issuer", "ClusterIssuer"].contains(&kind) || group != API_GROUP;
        let is_whole = ![kind, group, name].contains(&"") && !name.contains('/');
        if !is_known || !is_whole {
            return Err(NoIssuer);
        }
        let [kind, group, name] = [kind, group, name].map(str::to_owned);
        Ok(Self { kind, group, name })
    }
}

impl fmt::Display for IssuerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, group, name } = self;
        if self.is_ours() {
            write!(formatter, "{kind} {name}")
        } else {
            write!(formatter, "{kind}.{group} {name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_named_in_one_word() {
        let cases = [
            ("ca", Some("Issuer ca")),
            ("Issuer/ca", Some("Issuer ca")),
            ("ClusterIssuer/ca", Some("ClusterIssuer ca")),
            ("StepIssuer.certmanager.step.sm/ca", Some("StepIssuer.certmanager.step.sm ca")),
            ("ClusterIssuer.countersign.dev/ca", Some("ClusterIssuer ca")),
            ("clusterissuer/ca", None),
            ("ClusterIssuer/", None),
            ("/ca", None),
            ("a/b/c", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let named = text.parse::<IssuerName>().ok().map(|name| name.to_string());
            assert_eq!(named.as_deref(), expected, "{text:?}");
        }
    }
}
