//! `Issuer` and `ClusterIssuer`: who signs.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;

/// An authority that signs for Certificates of its own namespace.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "countersign.dev",
    version = "v1",
    kind = "Issuer",
    namespaced,
    shortname = "iss",
    category = "countersign",
    status = "IssuerStatus",
    derive = "PartialEq",
    doc = "An authority that signs for Certificates of its own namespace.",
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
#[x_kube(
    validation = Rule::new("[has(self.ca), has(self.selfSigned)].exists_one(set, set)")
        .message("exactly one of ca or selfSigned must be set")
)]
#[serde(rename_all = "camelCase")]
pub struct IssuerSpec {
    /// Signs with a certificate and key from a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaIssuer>,
    /// Every certificate is signed with its own key: for roots, and for tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_signed: Option<SelfSignedIssuer>,
}

/// An authority that signs for Certificates of every namespace.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "countersign.dev",
    version = "v1",
    kind = "ClusterIssuer",
    shortname = "ciss",
    category = "countersign",
    status = "IssuerStatus",
    derive = "PartialEq",
    doc = "An authority that signs for Certificates of every namespace. Its Secret is read from the operator's own namespace.",
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
#[x_kube(
    validation = Rule::new("[has(self.ca), has(self.selfSigned)].exists_one(set, set)")
        .message("exactly one of ca or selfSigned must be set")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterIssuerSpec {
    /// Signs with a certificate and key from a Secret in the operator's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaIssuer>,
    /// Every certificate is signed with its own key: for roots, and for tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_signed: Option<SelfSignedIssuer>,
}

impl From<ClusterIssuerSpec> for IssuerSpec {
    fn from(ClusterIssuerSpec { ca, self_signed }: ClusterIssuerSpec) -> Self {
        Self { ca, self_signed }
    }
}

/// Signs with a certificate and key from a Secret.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CaIssuer {
    /// The Secret with tls.crt (the authority, then its intermediates), tls.key, and ca.crt (the
    /// root, where tls.crt does not hold it).
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
    /// Written into what is signed: where its revocation list can be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 2048)))]
    pub crl_distribution_points: Vec<String>,
}

/// Every certificate is signed with its own key.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfSignedIssuer {
    /// Written into what is signed: where its revocation list can be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 2048)))]
    pub crl_distribution_points: Vec<String>,
}

/// Whether the authority can sign.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerStatus {
    /// `Ready`: `KeyPairVerified`, `IsReady`, `ErrGetKeyPair` or `ErrInvalidKeyPair`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
