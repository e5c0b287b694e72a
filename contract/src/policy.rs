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

use crate::access::{Allow, Authorities, Caller};

/// The whole document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PolicyDocument {
    /// Which state of a namespace's policies it was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// For ports that are not named.
    #[serde(default)]
    pub default: PortPolicy,
    /// By the port that the client asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<u16, PortPolicy>,
    /// What our own application may call that is not in the mesh.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unmeshed: Unmeshed,
    /// Which CAs vouch for which names. Where it is absent, every name of a certificate counts, whatever
    /// root its chain leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<Authorities>,
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
    /// Which peers may pass: `spiffe://...` exactly, `spiffe://.../*` for all below, `dns:NAME`, or a
    /// rule, [`crate::access::Rule`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<Allow>>,
    /// Who would pass if the policies held that are only audited: whoever is not among them passes,
    /// and is told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Vec<Allow>>,
    /// The names of the policies that it was made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// The names of those that are audited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audited_policies: Vec<String>,
    /// Whether a permissive port takes plaintext; unless said, only where `allow` is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<bool>,
    /// Which protocols may be spoken inside TLS (RFC 7301), best first: `h2`, `http/1.1`. A client
    /// that offers none of them is refused; one that offers nothing is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
    /// The oldest version of TLS that is spoken; 1.3 unless a partner cannot.
    #[serde(default, skip_serializing_if = "is_default")]
    pub min_version: TlsVersion,
    /// Which certificates are shown, by their names in the folder of certificates; the first whose
    /// names cover the one that the client asks for (SNI), or else the first. Our own identity, if
    /// there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// Whether the application is told first who calls, in a PROXY protocol header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether the application is told with each HTTP request who calls, in the header
    /// X-Forwarded-Client-Cert.
    #[serde(default, skip_serializing_if = "is_default")]
    pub forwarded_client_cert: bool,
}

impl PortPolicy {
    /// Whether a peer may pass; nothing is known of one that presented no certificate.
    #[must_use]
    pub fn admits(&self, peer: Option<&Caller<'_>>) -> bool {
        match (self.mode, peer, &self.allow) {
            (Mode::Off, ..) | (_, _, None) => true,
            (Mode::Permissive, None, Some(_)) => self.anonymous.unwrap_or(false),
            (_, None, Some(_)) => false,
            (_, Some(peer), Some(list)) => list.iter().any(|allow| allow.admits(peer)),
        }
    }

    /// Whether a peer that passes would not, if the policies held that are only audited.
    #[must_use]
    pub fn would_refuse(&self, peer: Option<&Caller<'_>>) -> bool {
        let admits = |allow: &Allow| peer.is_some_and(|peer| allow.admits(peer));
        self.audit.as_ref().is_some_and(|list| !list.iter().any(admits))
    }
}

/// How a port speaks TLS; the strictest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Both sides present certificates.
    #[default]
    Mutual,
    /// Only we present one: for customers.
    Server,
    /// Whoever speaks TLS must present a certificate; whoever does not passes as it is, unless
    /// `allow` is set. For the time of migration.
    Permissive,
    /// The port is left as it is.
    Off,
}

/// What an application may call that is not in the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Unmeshed {
    /// It is passed on as it is.
    #[default]
    Allow,
    /// It is refused.
    Deny,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// RFC 5246, with AEAD ciphers and ephemeral keys only.
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[default]
    #[serde(rename = "1.3")]
    V1_3,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProxyProtocol {
    /// Version 2, binary, with the peer's identity in it.
    #[serde(rename = "v2")]
    V2,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
