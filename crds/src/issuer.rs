//! `Issuer` and `ClusterIssuer`: who signs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::policy::{Approval, SigningPolicy};

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
    printcolumn(
        name = "Expiration",
        type_ = "string",
        json_path = ".status.notAfter",
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
    printcolumn(
        name = "Expiration",
        type_ = "string",
        json_path = ".status.notAfter",
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

impl IssuerSpec {
    /// Who may have what signed; everything for everybody where there is none.
    #[must_use]
    pub fn policy(&self) -> Option<&SigningPolicy> {
        let of_ca = self.ca.as_ref().and_then(|ca| ca.policy.as_ref());
        of_ca.or_else(|| self.self_signed.as_ref()?.policy.as_ref())
    }

    /// Whether somebody must approve a request before it is signed.
    #[must_use]
    pub fn requires_approval(&self) -> bool {
        self.policy().is_some_and(|policy| policy.approval == Some(Approval::Required))
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
    /// Written into what is signed: where its revocation list can be had, URLs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 5, max = 2048), regex(pattern = r"^[A-Za-z][A-Za-z0-9+.-]*://[!-~]+$"))
    )]
    pub crl_distribution_points: Vec<String>,
    /// Written into what is signed: who answers whether it is revoked, URLs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 5, max = 2048), regex(pattern = r"^[A-Za-z][A-Za-z0-9+.-]*://[!-~]+$"))
    )]
    pub ocsp_servers: Vec<String>,
    /// Written into what is signed: where the certificate of this authority can be had, URLs.
    #[serde(default, rename = "issuingCertificateURLs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 5, max = 2048), regex(pattern = r"^[A-Za-z][A-Za-z0-9+.-]*://[!-~]+$"))
    )]
    pub issuing_certificate_urls: Vec<String>,
    /// Who may have what signed; everything for everybody unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<SigningPolicy>,
}

/// Every certificate is signed with its own key.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfSignedIssuer {
    /// Written into what is signed: where its revocation list can be had, URLs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 5, max = 2048), regex(pattern = r"^[A-Za-z][A-Za-z0-9+.-]*://[!-~]+$"))
    )]
    pub crl_distribution_points: Vec<String>,
    /// Who may have what signed; everything for everybody unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<SigningPolicy>,
}

/// Whether the authority can sign.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerStatus {
    /// `Ready`: `KeyPairVerified`, `IsReady`, `ErrGetKeyPair`, `ErrInvalidKeyPair` or, of the issuer of
    /// identities, `ErrUnverifiable`: sidecars could not verify what it signs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Which authority signs: the SHA-256 of its certificate and of those above it. The same stands
    /// on the status of each Certificate that it signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Since when that authority signs. What another one signed before is issued again from then
    /// on: authorities at once, leaves spread over the time that the operator was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_since: Option<Time>,
    /// The CA that signs, then those above it, PEM. Set on the issuers of identities and of people and
    /// devices only: sidecars learn from it whose certificates are whose.
    #[serde(default, rename = "caChain", skip_serializing_if = "Option::is_none")]
    pub ca_chain: Option<String>,
    /// Until when it can sign: the earliest end of a certificate in its chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}
