//! `spec.ca.policy` and `spec.selfSigned.policy`: who may have what signed.

use std::collections::BTreeMap;

use kube::KubeSchema;
use kube::core::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::certificate::{KeyAlgorithm, KeyUsage};
use crate::duration::too_long;

/// Who may have what signed. Without a policy an issuer signs whatever it is asked for; with one,
/// only what the policy allows, and authorities only where a rule says so.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningPolicy {
    /// Whether somebody must approve a CertificateRequest before it is signed; Automatic unless
    /// set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The namespaces that may ask; every one unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSelector>,
    /// The rules, of which one must allow the whole request. Unless set, every leaf is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub allow: Option<Vec<SigningRule>>,
}

/// Whether somebody must approve a CertificateRequest before it is signed.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum Approval {
    /// What the policy allows is approved.
    #[default]
    Automatic,
    /// It waits until somebody sets the condition Approved.
    Required,
}

/// Selects namespaces: those of which all that is set here holds.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// One of these is its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 256),
        inner(length(max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub match_names: Vec<String>,
    /// It has all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub match_labels: BTreeMap<String, String>,
    /// Its labels meet all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32))]
    pub match_expressions: Vec<LabelExpression>,
}

/// What must hold of a label.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)")
        .message("values must be given for In and NotIn, and not for Exists and DoesNotExist")
        .field_path(".values")
)]
#[serde(rename_all = "camelCase")]
pub struct LabelExpression {
    /// The name of the label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// What it is asked.
    pub operator: LabelOperator,
    /// The values for In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// What a label is asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum LabelOperator {
    /// It has one of the values.
    #[default]
    In,
    /// It has none of the values, or is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// What may be signed. A field that is not set allows none of what it is about, but for usages,
/// maxDuration and keys. In every pattern `$(namespace)` stands for the namespace of whoever asks,
/// `$(clusterDomain)` for the DNS domain of Services, and `$(trustDomain)` for that of identities.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new(concat!("!", too_long!("self.maxDuration")))
        .message("maxDuration must be less than 1000000h")
        .field_path(".maxDuration"),
    validation = Rule::new(concat!("!has(self.maxDuration) || ", too_long!("self.maxDuration"), " || duration(self.maxDuration) >= duration('5m')"))
        .message("maxDuration must be at least 5m")
        .field_path(".maxDuration")
)]
#[serde(rename_all = "camelCase")]
pub struct SigningRule {
    /// Told to whoever is denied.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// DNS names: `www.example.org` is that name, `*.example.org` every name below it at any
    /// depth, wildcards too, and `*` every name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(
            length(min = 1, max = 253),
            regex(
                pattern = r"^(\*|(\*\.)?([A-Za-z0-9_-]|\$\((namespace|clusterDomain|trustDomain)\))+(\.([A-Za-z0-9_-]|\$\((namespace|clusterDomain|trustDomain)\))+)*)$"
            )
        )
    )]
    pub dns_names: Vec<String>,
    /// URIs: `*` stands for one character or more, none of them one that parts a URI (`/ ? # @ :
    /// % [ ] \`); `**` for one or more of any. Neither ever covers a segment `.` or `..`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(
            length(min = 2, max = 512),
            regex(
                pattern = r"^(\*\*|[A-Za-z][A-Za-z0-9+.-]*:([!-#%-~]|\$\((namespace|clusterDomain|trustDomain)\))+)$"
            )
        )
    )]
    pub uris: Vec<String>,
    /// IP addresses, and blocks of them (CIDR).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 2, max = 49)))]
    #[x_kube(validation = Rule::new("self.all(block, isCIDR(block) || isIP(block))").message("ipAddresses must hold IP addresses and CIDR blocks only"))]
    pub ip_addresses: Vec<String>,
    /// E-mail addresses: `*` stands for one character or more, but for `@`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(
            length(min = 3, max = 254),
            regex(
                pattern = r"^([!-#%-?A-~]|\$\((namespace|clusterDomain|trustDomain)\))+@([A-Za-z0-9.*-]|\$\((namespace|clusterDomain|trustDomain)\))+$"
            )
        )
    )]
    pub email_addresses: Vec<String>,
    /// Names of kinds that X.509 itself does not know, such as the UPN of a Windows account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub other_names: Vec<OtherNameRule>,
    /// Common names: `*` stands for one character or more. One that is also among the DNS names
    /// of the request is allowed together with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(
            length(min = 1, max = 256),
            regex(pattern = r"^([^$]|\$\((namespace|clusterDomain|trustDomain)\))+$")
        )
    )]
    pub common_names: Vec<String>,
    /// The other parts of the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectRule>,
    /// Usages; digital signature, key encipherment, server auth and client auth unless set. Where
    /// isCA is true, cert sign and crl sign are allowed beside them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32))]
    pub usages: Vec<KeyUsage>,
    /// Whether an authority may be asked for, which may sign others; not unless set.
    #[serde(default, rename = "isCA", skip_serializing_if = "Option::is_none")]
    pub is_ca: Option<bool>,
    /// The longest duration that may be asked for, a Go duration; any unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"))]
    pub max_duration: Option<Duration>,
    /// The kinds of key; any that is signed at all unless set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8))]
    pub keys: Vec<KeyRule>,
}

/// Names of one kind.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherNameRule {
    /// The object identifier of the kind, in numbers with dots.
    #[schemars(length(max = 256), regex(pattern = r"^[0-2](\.(0|[1-9][0-9]*))+$"))]
    pub oid: String,
    /// Names: `*` stands for one character or more.
    #[schemars(schema_with = "texts")]
    pub values: Vec<String>,
}

/// Patterns for the parts of a subject beside its common name: `*` stands for one character or
/// more. A part that is not set must not be asked for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubjectRule {
    /// O.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "texts")]
    pub organizations: Vec<String>,
    /// C.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "texts")]
    pub countries: Vec<String>,
    /// OU.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "texts")]
    pub organizational_units: Vec<String>,
    /// L.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "texts")]
    pub localities: Vec<String>,
    /// ST.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "texts")]
    pub provinces: Vec<String>,
    /// STREET.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "texts")]
    pub street_addresses: Vec<String>,
    /// The postal codes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "texts")]
    pub postal_codes: Vec<String>,
    /// The subject's (not the certificate's) serial numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "texts")]
    pub serial_numbers: Vec<String>,
}

/// A list of patterns for texts.
fn texts(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 64,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            "pattern": r"^([^$]|\$\((namespace|clusterDomain|trustDomain)\))+$",
        },
    })
}

/// A kind of key.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("!has(self.minSize) || !has(self.maxSize) || self.minSize <= self.maxSize")
        .message("minSize must not be greater than maxSize")
        .field_path(".minSize"),
    validation = Rule::new("self.algorithm != 'Ed25519' || !(has(self.minSize) || has(self.maxSize))")
        .message("Ed25519 has one size: minSize and maxSize are for RSA and ECDSA")
        .field_path(".algorithm")
)]
#[serde(rename_all = "camelCase")]
pub struct KeyRule {
    /// The algorithm.
    pub algorithm: KeyAlgorithm,
    /// The fewest bits; any unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16_384))]
    pub min_size: Option<i32>,
    /// The most bits; any unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16_384))]
    pub max_size: Option<i32>,
}
