//! Which issuer an `issuerRef` names, with its defaults filled in.

use countersign_contract::names::API_GROUP;
use countersign_crds::IssuerRef;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;

/// An `issuerRef` with its defaults filled in, beside the namespace it is used from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IssuerId {
    /// `Issuer` unless set.
    pub kind: String,
    /// `countersign.dev` unless set.
    pub group: String,
    /// Its name.
    pub name: String,
}

impl IssuerId {
    /// Fills in the defaults.
    #[must_use]
    pub fn of(reference: &IssuerRef) -> Self {
        Self {
            kind: reference.effective_kind().to_owned(),
            group: reference.effective_group().to_owned(),
            name: reference.name.clone(),
        }
    }

    /// Whether it is one of ours to answer for.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        is_our_group(&self.group)
    }

    /// Whether it is cluster-wide.
    #[must_use]
    pub fn is_cluster_wide(&self) -> bool {
        self.kind == "ClusterIssuer"
    }
}

/// Whether an API group is ours.
#[must_use]
pub fn is_our_group(group: &str) -> bool {
    group == API_GROUP
}

/// The annotation of a namespace that names the issuer of Certificates that name none.
pub const DEFAULT_ISSUER: &str = "countersign.dev/default-issuer";

/// The issuer of a Certificate that names none: what its namespace says, or else the operator's.
#[must_use]
pub fn default_issuer(
    namespace: Option<&PartialObjectMeta<Namespace>>,
    of_operator: Option<&IssuerId>,
) -> Option<IssuerId> {
    match namespace.and_then(|namespace| namespace.annotations().get(DEFAULT_ISSUER)) {
        Some(text) => text.parse().ok(),
        None => of_operator.cloned(),
    }
}

/// A text that names no issuer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no issuer: write Kind/name, such as ClusterIssuer/countersign, or Kind.group/name"
)]
pub struct NoIssuer(String);

impl std::str::FromStr for IssuerId {
    type Err = NoIssuer;

    /// `name`, `Kind/name` or `Kind.group/name`.
    fn from_str(text: &str) -> Result<Self, NoIssuer> {
        let (kind, name) = text.rsplit_once('/').unwrap_or(("Issuer", text));
        let (kind, group) = kind.split_once('.').unwrap_or((kind, API_GROUP));
        let is_kind = is_our_group(group).then(|| ["Issuer", "ClusterIssuer"].contains(&kind));
        if name.is_empty() || kind.is_empty() || is_kind == Some(false) {
            return Err(NoIssuer(text.to_owned()));
        }
        let [kind, group, name] = [kind, group, name].map(str::to_owned);
        Ok(Self { kind, group, name })
    }
}

impl From<IssuerId> for IssuerRef {
    fn from(IssuerId { kind, group, name }: IssuerId) -> Self {
        Self { name, kind: Some(kind), group: Some(group) }
    }
}

impl std::fmt::Display for IssuerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_named_in_one_line() {
        let id = |kind: &str, group: &str, name: &str| {
            let [kind, group, name] = [kind, group, name].map(str::to_owned);
            Some(IssuerId { kind, group, name })
        };
        let cases = [
            ("ca", id("Issuer", API_GROUP, "ca")),
            ("ClusterIssuer/ca", id("ClusterIssuer", API_GROUP, "ca")),
            ("StepIssuer.certmanager.step.sm/ca", id("StepIssuer", "certmanager.step.sm", "ca")),
            ("Authority/ca", None),
            ("ClusterIssuer/", None),
            ("/ca", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
    }
}
