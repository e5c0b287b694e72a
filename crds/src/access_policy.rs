//! `AccessPolicy`: who may reach which ports of which pods, and how those ports speak TLS.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::policy::LabelExpression;

/// Says who may reach pods of its namespace.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "countersign.dev",
    version = "v1",
    kind = "AccessPolicy",
    plural = "accesspolicies",
    namespaced,
    shortname = "ap",
    category = "countersign",
    status = "AccessPolicyStatus",
    derive = "PartialEq",
    doc = "Says who may reach pods of its namespace. Policies that select one pod are added together; a pod that none selects follows the default of the whole cluster.",
    printcolumn(name = "Enforcement", type_ = "string", json_path = ".spec.enforcement"),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.selectedPods"),
    printcolumn(name = "In force", type_ = "integer", json_path = ".status.inForcePods"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicySpec {
    /// The pods that it is about; all of the namespace unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<PodSelector>,
    /// Whether it holds, or only tells what it would refuse.
    #[serde(default)]
    pub enforcement: AccessEnforcement,
    /// Who may reach the pods: whoever one of the rules admits. Without any, nobody may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow: Vec<AccessRule>,
    /// What holds for single ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["port"])
    )]
    pub ports: Vec<AccessPort>,
    /// What the pods may call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<AccessEgress>,
}

/// Selects pods: those of which all that is set here holds.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSelector {
    /// They have all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub match_labels: BTreeMap<String, String>,
    /// Their labels meet all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32))]
    pub match_expressions: Vec<LabelExpression>,
}

/// Whether a policy holds.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum AccessEnforcement {
    /// What it does not allow is refused.
    #[default]
    Enforce,
    /// What it would not allow passes, and is told. What else it says of ports is not used.
    Audit,
}

/// Who may pass: of each list that is set, one entry must hold. A rule with no list admits every
/// identity of the trust domain of the cluster; so does, within its lists, one that names neither
/// identities nor trustDomains but namespaces or serviceAccounts.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessRule {
    /// SPIFFE IDs. `*` stands for a run of characters within one segment of the path, and a last
    /// segment that is `*` for all below. The trust domain is written out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(
            length(max = 2048),
            regex(pattern = r"^spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._*-]+)+$")
        )
    )]
    pub identities: Vec<String>,
    /// The trust domain of the SPIFFE ID.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = 255), regex(pattern = r"^[a-z0-9._-]+$"))
    )]
    pub trust_domains: Vec<String>,
    /// The namespace in the SPIFFE ID.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub namespaces: Vec<String>,
    /// The service account in the SPIFFE ID.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))
    )]
    pub service_accounts: Vec<String>,
    /// DNS names of a certificate of the CA of people and devices; `*.` in front stands for one label.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = 253), regex(pattern = r"^(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"))
    )]
    pub dns_names: Vec<String>,
    /// The common name of a certificate; `*` stands for a run of characters. Only certificates of the CA of
    /// people and devices match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 256)))]
    pub common_names: Vec<String>,
}

/// What holds for one port.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("!has(self.allow) || !has(self.mode) || self.mode in ['mutual', 'permissive']")
        .message("allow is for ports that ask for a certificate: mode must be mutual or permissive")
        .field_path(".allow"),
    validation = Rule::new("!has(self.mode) || self.mode != 'off' || !(has(self.alpn) || has(self.minTLSVersion) || has(self.clientIdentity))")
        .message("mode off leaves the port as it is: alpn, minTLSVersion and clientIdentity must not be set")
        .field_path(".mode")
)]
#[serde(rename_all = "camelCase")]
pub struct AccessPort {
    /// The port of the pod, not of a Service.
    #[schemars(schema_with = "port")]
    pub port: u16,
    /// How it speaks TLS; mutual unless a policy says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PortMode>,
    /// Who may reach this port, in place of the policy's own `allow`; an empty list admits nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub allow: Option<Vec<AccessRule>>,
    /// Protocols that may be spoken inside TLS (ALPN), best first; any unless set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 255), regex(pattern = r"^[!-~]+$"))
    )]
    pub alpn: Vec<String>,
    /// The oldest version of TLS; 1.3 unless set.
    #[serde(default, rename = "minTLSVersion", skip_serializing_if = "Option::is_none")]
    pub min_tls_version: Option<MinTlsVersion>,
    /// How the application is told who calls; not at all unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_identity: Option<ClientIdentity>,
}

/// Rust's own bounds of it are others, and its format is one that the API server does not know.
fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 65_535 })
}

/// How a port speaks TLS.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PortMode {
    /// Both sides present certificates.
    Mutual,
    /// Only the pod presents one: for customers.
    Server,
    /// Who speaks TLS presents one, and who does not passes as it is, unless the port has an
    /// `allow` of its own: for the time of migration.
    Permissive,
    /// The port is left as it is.
    Off,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum MinTlsVersion {
    /// For partners who cannot do better.
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// How the application is told who calls.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum ClientIdentity {
    /// In a PROXY protocol header of version 2, before the first byte.
    ProxyProtocolV2,
    /// With each HTTP/1.1 request, in the header X-Forwarded-Client-Cert.
    ForwardedClientCert,
}

/// What pods may call.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessEgress {
    /// What is not in the mesh; what the whole cluster has for a default unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmeshed: Option<UnmeshedEgress>,
}

/// Whether what is not in the mesh may be called.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum UnmeshedEgress {
    /// It is called as it is.
    Allow,
    /// The call is refused.
    Deny,
}

/// What became of the policy.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicyStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: `Enforced`, `Audited`, `Conflict`, `TooLarge`, `NotPublished` or
    /// `NoSidecars`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How many running pods with a sidecar it selects.
    #[serde(default)]
    #[schemars(schema_with = "count")]
    pub selected_pods: i64,
    /// How many of them have said that they follow the policies as they are now.
    #[serde(default)]
    #[schemars(schema_with = "count")]
    pub in_force_pods: i64,
    /// Who was refused within the last hour, or would have been, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub recent_denials: Vec<RecentDenial>,
}

/// Somebody whom no rule admits.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecentDenial {
    /// Who, as its certificate says.
    pub peer: String,
    /// On which port.
    #[schemars(schema_with = "port")]
    pub port: u16,
    /// How often.
    #[schemars(schema_with = "count")]
    pub count: i64,
    /// When last.
    pub last_seen: Time,
    /// Whether it passed all the same, since the policy is only audited.
    pub audited: bool,
}

fn count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": 0 })
}
