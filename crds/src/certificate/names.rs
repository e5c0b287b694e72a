//! Whose certificate it is, beside the plain lists of names.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The parts of a subject beside its common name (RFC 5280, 4.1.2.6).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct X509Subject {
    /// O.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub organizations: Vec<String>,
    /// C.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub countries: Vec<String>,
    /// OU.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub organizational_units: Vec<String>,
    /// L.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub localities: Vec<String>,
    /// ST.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub provinces: Vec<String>,
    /// STREET.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub street_addresses: Vec<String>,
    /// The postal codes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub postal_codes: Vec<String>,
    /// The subject's (not the certificate's) serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
}

/// A name of another kind (RFC 5280, 4.2.1.6, otherName), for example a user principal name.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherName {
    /// Its type, a dotted object identifier: 1.3.6.1.4.1.311.20.2.3 for a user principal name.
    #[schemars(length(min = 3, max = 128), regex(pattern = r"^[0-2](\.(0|[1-9][0-9]*))+$"))]
    pub oid: String,
    /// Its value, written as a UTF8String.
    #[schemars(length(min = 1, max = 1024))]
    pub utf8_value: String,
}

/// Which names an authority may sign (RFC 5280, 4.2.1.10).
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("has(self.permitted) || has(self.excluded)")
        .message("nameConstraints must have permitted or excluded")
)]
#[serde(rename_all = "camelCase")]
pub struct NameConstraints {
    /// Whether a verifier that does not know of constraints must refuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<bool>,
    /// Only these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permitted: Option<NameConstraintItem>,
    /// None of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<NameConstraintItem>,
}

/// Subtrees of names.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NameConstraintItem {
    /// DNS domains: `example.com` with all below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    pub dns_domains: Vec<String>,
    /// Networks, as 10.0.0.0/8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 3, max = 64)))]
    #[x_kube(validation = Rule::new("self.all(range, isCIDR(range))").message("ipRanges must hold networks such as 10.0.0.0/8 only"))]
    pub ip_ranges: Vec<String>,
    /// Mailboxes, hosts, or domains with a dot before them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 254)))]
    pub email_addresses: Vec<String>,
    /// Hosts of URIs, or domains with a dot before them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    pub uri_domains: Vec<String>,
}
