//! `CertificateRequest`: a CSR to be signed, whose private key stays where it was made.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::certificate::{IssuerRef, KeyUsage};
use crate::condition::Condition;
use crate::duration::too_long;

/// Asks an authority to sign a CSR. The private key is not part of it.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "countersign.dev",
    version = "v1",
    kind = "CertificateRequest",
    namespaced,
    shortname = "cr",
    shortname = "crs",
    category = "countersign",
    status = "CertificateRequestStatus",
    derive = "PartialEq",
    doc = "Asks an authority to sign a CSR. The private key stays with whoever made it.",
    validation = Rule::new("self.spec == oldSelf.spec").message("spec is immutable: create another CertificateRequest"),
    selectable = ".spec.issuerRef.name",
    selectable = ".spec.issuerRef.kind",
    selectable = ".spec.issuerRef.group",
    printcolumn(name = "Approved", type_ = "string", json_path = ".status.conditions[?(@.type==\"Approved\")].status"),
    printcolumn(name = "Denied", type_ = "string", json_path = ".status.conditions[?(@.type==\"Denied\")].status"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Issuer", type_ = "string", json_path = ".spec.issuerRef.name"),
    printcolumn(name = "Requester", type_ = "string", json_path = ".spec.username"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new(concat!("!", too_long!("self.duration")))
        .message("duration must be less than 1000000h")
        .field_path(".duration"),
    validation = Rule::new(concat!("!has(self.duration) || ", too_long!("self.duration"), " || duration(self.duration) >= duration('5m')"))
        .message("duration must be at least 5m")
        .field_path(".duration")
)]
#[serde(rename_all = "camelCase")]
pub struct CertificateRequestSpec {
    /// How long the certificate shall be valid, a Go duration; 2160h (90 days) unless set. It
    /// never outlives the authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"))]
    pub duration: Option<Duration>,
    /// Who shall sign.
    pub issuer_ref: IssuerRef,
    /// The CSR (PKCS#10), in PEM.
    #[schemars(schema_with = "request")]
    pub request: ByteString,
    /// Ask for a certificate that may sign others.
    #[serde(default, rename = "isCA", skip_serializing_if = "Option::is_none")]
    pub is_ca: Option<bool>,
    /// What the key may be used for; digital signature and key encipherment unless set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub usages: Vec<KeyUsage>,
    /// The user who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub username: Option<String>,
    /// The user's unique id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub uid: Option<String>,
    /// The user's groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(max = 1024)))]
    pub groups: Vec<String>,
    /// What else is known of the user.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What became of the request.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateRequestStatus {
    /// `Approved`, `Denied`, `InvalidRequest`, and `Ready` with `Pending`, `Issued`, `Failed` or
    /// `Denied`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The signed certificate, then its intermediates, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "answer")]
    pub certificate: Option<ByteString>,
    /// The root of the chain, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "answer")]
    pub ca: Option<ByteString>,
    /// When the request failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_time: Option<Time>,
}

/// A CSR with a thousand short names: 96 KiB, in base64.
fn request(_: &mut SchemaGenerator) -> Schema {
    base64(131_072)
}

impl CertificateRequestSpec {
    /// How many bytes the CSR in `request` has at most, PEM.
    pub const MAX_CSR_BYTES: usize = 98_304;
}

/// A certificate holds more than its CSR, and others stand above it.
fn answer(_: &mut SchemaGenerator) -> Schema {
    base64(524_288)
}

/// Bytes, base64 in JSON (RFC 4648, section 4, in its only canonical form: the operator reads no other).
/// The format `byte` would say the same, but CEL decodes such a field with the alphabet of URLs, so
/// that a rule which touches it fails for `+` and `/`.
fn base64(longest: u32) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": longest,
        "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/][AQgw]==)?$",
    })
}
