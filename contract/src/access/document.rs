//! What the operator writes for each namespace, and every sidecar of it reads. JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lenient;
use super::rule::Rule;
use super::selector::Selector;
use super::voucher::Authorities;
use crate::policy::{Mode, ProxyProtocol, TlsVersion, Unmeshed};

/// The format of the document that this version writes, and the latest that it understands.
pub const FORMAT: u32 = 2;

/// The lowest format that a reader must understand: older ones keep the policy that they have. It is raised
/// only where a part that an older reader passes over would admit too much.
pub const NEEDS: u32 = 1;

/// The format of documents that do not say.
fn first() -> u32 {
    1
}

/// The format of a document, which is read first: the rest may have another form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct DocumentVersion {
    /// The format that it is written in.
    #[serde(default = "first")]
    pub version: u32,
    /// The lowest format that a reader must understand.
    #[serde(default = "first")]
    pub needs: u32,
}

/// Every AccessPolicy of a namespace, compiled.
///
/// Unknown fields of the document itself are ignored: `needs` says where they must not be. Unknown parts of
/// policies and ports close the pods and ports that they are about; unknown rules admit no peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceDocument {
    /// The format that it is written in.
    #[serde(default = "first")]
    pub version: u32,
    /// The lowest format that a reader must understand.
    #[serde(default = "first")]
    pub needs: u32,
    /// Differs whenever the rest does; pods report it when they follow it.
    pub revision: String,
    /// Who may reach a pod that no enforced policy selects.
    #[serde(deserialize_with = "lenient::rules")]
    pub default_allow: Vec<Rule>,
    /// What pods may call that is not in the mesh, where no policy says.
    #[serde(default, deserialize_with = "lenient::unmeshed")]
    pub default_unmeshed: Unmeshed,
    /// Which CAs vouch for which names; absent in documents of an older operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<Authorities>,
    /// The policies, by name.
    #[serde(default, deserialize_with = "lenient::policies")]
    pub policies: Vec<PodPolicy>,
}

impl Default for NamespaceDocument {
    /// No policy, and no default that admits a peer.
    fn default() -> Self {
        Self {
            version: FORMAT,
            needs: NEEDS,
            revision: String::new(),
            default_allow: Vec::new(),
            default_unmeshed: Unmeshed::default(),
            authorities: None,
            policies: Vec::new(),
        }
    }
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
    #[serde(default, deserialize_with = "lenient::enforcement")]
    pub enforcement: Enforcement,
    /// Who may reach the pods; nobody, if there are none.
    #[serde(default, deserialize_with = "lenient::rules")]
    pub allow: Vec<Rule>,
    /// What holds for single ports.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "lenient::ports"
    )]
    pub ports: BTreeMap<u16, PortRules>,
    /// What the pods may call that is not in the mesh.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::some_unmeshed"
    )]
    pub unmeshed: Option<Unmeshed>,
    /// Whether it has a part that this version does not know: its pods admit no peer.
    #[serde(skip)]
    pub has_unknown_part: bool,
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
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::some_rules")]
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
    /// Whether it has a part that this version does not know: the port admits no peer.
    #[serde(skip)]
    pub has_unknown_part: bool,
}
