//! Which issuer an `issuerRef` names, with its defaults filled in.

use countersign_contract::names::API_GROUP;
use countersign_crds::IssuerRef;

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
        let or = |value: &Option<String>, default: &str| {
            value.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
        };
        Self {
            kind: or(&reference.kind, "Issuer"),
            group: or(&reference.group, API_GROUP),
            name: reference.name.clone(),
        }
    }

    /// Whether it is one of ours to answer for.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.group == API_GROUP
    }

    /// Whether it is cluster-wide.
    #[must_use]
    pub fn is_cluster_wide(&self) -> bool {
        self.kind == "ClusterIssuer"
    }
}

impl std::fmt::Display for IssuerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}
