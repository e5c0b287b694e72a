//! The policy document: which ports ask for what, and which peers may pass. JSON.
//!
//! `{"default":{"mode":"mutual","allow":["spiffe://cluster.local/ns/shop/sa/web"]},
//!   "ports":{"8443":{"mode":"server"}}}`
//!
//! A port that `ports` does not name follows `default`, and an absent `default` is mutual for
//! every peer that chains to the roots. An empty `allow` admits nobody; an absent one everybody
//! whose chain verifies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PolicyDocument {
    /// For ports that are not named.
    #[serde(default)]
    pub default: PortPolicy,
    /// By the port that the client asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<u16, PortPolicy>,
}

impl PolicyDocument {
    /// What holds for a port.
    #[must_use]
    pub fn of_port(&self, port: u16) -> &PortPolicy {
        self.ports.get(&port).unwrap_or(&self.default)
    }
}

/// What holds for one port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PortPolicy {
    /// What a client must do.
    #[serde(default)]
    pub mode: Mode,
    /// Which peers may pass: `spiffe://...` exactly, `spiffe://.../*` for all below, `dns:NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
}

/// How a port speaks TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Both sides present certificates.
    #[default]
    Mutual,
    /// Only we present one: for customers.
    Server,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_without_a_rule_is_mutual() {
        let document: PolicyDocument =
            serde_json::from_str(r#"{"ports":{"8443":{"mode":"server"}}}"#).unwrap();
        assert_eq!(document.of_port(8443).mode, Mode::Server);
        assert_eq!(document.of_port(80).mode, Mode::Mutual);
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let error = serde_json::from_str::<PolicyDocument>(r#"{"defautl":{}}"#).unwrap_err();
        assert!(error.to_string().contains("defautl"), "{error}");
    }
}
