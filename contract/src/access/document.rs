//! What the operator writes for each namespace, and every sidecar of it reads. JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rule::Rule;
use super::selector::Selector;
use crate::policy::{Mode, ProxyProtocol, TlsVersion, Unmeshed};

/// Every AccessPolicy of a namespace, compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NamespaceDocument {
    /// Differs whenever the rest does; pods report it when they follow it.
    pub revision: String,
    /// Who may reach a pod that no enforced policy selects.
    pub default_allow: Vec<Rule>,
    /// What pods may call that is not in the mesh, where no policy says.
    #[serde(default)]
    pub default_unmeshed: Unmeshed,
    /// The policies, by name.
    #[serde(default)]
    pub policies: Vec<PodPolicy>,
}

/// One AccessPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PodPolicy {
    /// Its name.
    pub name: String,
    /// The pods that it is about.
    #[serde(default)]
    pub pod_selector: Selector,
    /// Whether it holds, or is only watched.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// Who may reach the pods; nobody, if there are none.
    #[serde(default)]
    pub allow: Vec<Rule>,
    /// What holds for single ports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<u16, PortRules>,
    /// What the pods may call that is not in the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmeshed: Option<Unmeshed>,
}

/// Whether a policy holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Enforcement {
    /// What it does not allow is refused.
    #[default]
    Enforce,
    /// What it would not allow is told, and passes.
    Audit,
}

/// What one policy says of one port; what it leaves out, it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PortRules {
    /// How TLS is spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Who may reach it, in place of those of the whole policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<Rule>>,
    /// Protocols that may be spoken inside TLS, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
    /// The oldest version of TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Whether the application is told who calls by a PROXY protocol header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether the application is told who calls by X-Forwarded-Client-Cert.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forwarded_client_cert: bool,
}
