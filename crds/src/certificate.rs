//! `Certificate`: what should be in a Secret, and who shall sign it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;

/// Asks for a certificate and its key in a Secret, renewed before it expires.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "countersign.dev",
    version = "v1",
    kind = "Certificate",
    namespaced,
    shortname = "cert",
    shortname = "certs",
    category = "countersign",
    status = "CertificateStatus",
    derive = "PartialEq",
    doc = "Asks for a certificate and its key in a Secret, renewed before it expires.",
    selectable = ".spec.issuerRef.name",
    selectable = ".spec.issuerRef.kind",
    selectable = ".spec.issuerRef.group",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Secret", type_ = "string", json_path = ".spec.secretName"),
    printcolumn(
        name = "Issuer",
        type_ = "string",
        json_path = ".spec.issuerRef.name",
        priority = 1
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
    validation = Rule::new("has(self.commonName) || [has(self.dnsNames) && size(self.dnsNames) > 0, has(self.ipAddresses) && size(self.ipAddresses) > 0, has(self.uris) && size(self.uris) > 0, has(self.emailAddresses) && size(self.emailAddresses) > 0].exists(set, set)")
        .message("at least one of commonName, dnsNames, ipAddresses, uris or emailAddresses must be set"),
    validation = Rule::new("!has(self.duration) || duration(self.duration) >= duration('5m')")
        .message("duration must be at least 5m")
        .field_path(".duration"),
    validation = Rule::new("!has(self.renewBefore) || duration(self.renewBefore) < (has(self.duration) ? duration(self.duration) : duration('2160h'))")
        .message("renewBefore must be shorter than duration (2160h unless set)")
        .field_path(".renewBefore"),
    validation = Rule::new("!has(self.renewBefore) || duration(self.renewBefore) >= duration('1m')")
        .message("renewBefore must be at least 1m")
        .field_path(".renewBefore")
)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSpec {
    /// The subject's common name; at most 64 bytes (RFC 5280, ub-common-name). Names that are
    /// verified belong in dnsNames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("size(bytes(self)) <= 64").message("commonName must be at most 64 bytes long"))]
    pub common_name: Option<String>,
    /// The rest of the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<X509Subject>,
    /// How long each certificate is valid, a Go duration; 2160h (90 days) unless set, 5m at
    /// least. A certificate never outlives the authority that signs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"))]
    pub duration: Option<Duration>,
    /// How long before its end a certificate is renewed, a Go duration; a third of its lifetime
    /// unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"))]
    pub renew_before: Option<Duration>,
    /// DNS names, with or without a leading wildcard label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 250),
        inner(
            length(min = 1, max = 253),
            regex(
                pattern = r"^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$"
            )
        )
    )]
    pub dns_names: Vec<String>,
    /// IP addresses, of either family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 250), inner(length(min = 2, max = 45)))]
    #[x_kube(validation = Rule::new("self.all(address, isIP(address))").message("ipAddresses must hold IP addresses only"))]
    pub ip_addresses: Vec<String>,
    /// URIs, such as a SPIFFE ID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 250),
        inner(length(min = 3, max = 2048), regex(pattern = r"^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+$"))
    )]
    pub uris: Vec<String>,
    /// E-mail addresses, bare.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 250),
        inner(length(min = 3, max = 254), regex(pattern = r"^[!-;=?-~]+@[A-Za-z0-9.-]+$"))
    )]
    pub email_addresses: Vec<String>,
    /// The Secret to write, of type kubernetes.io/tls: tls.crt, tls.key and ca.crt.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub secret_name: String,
    /// Labels and annotations for the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_template: Option<SecretTemplate>,
    /// Who shall sign.
    pub issuer_ref: IssuerRef,
    /// Ask for a certificate that may sign others; adds the usage `cert sign`.
    #[serde(default, rename = "isCA", skip_serializing_if = "Option::is_none")]
    pub is_ca: Option<bool>,
    /// What the key may be used for; digital signature and key encipherment unless set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub usages: Vec<KeyUsage>,
    /// The kind of key, and when it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<PrivateKeySpec>,
    /// How many CertificateRequests of earlier revisions are kept, where any are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub revision_history_limit: Option<i32>,
}

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

/// Labels and annotations for the Secret, kept right without re-issuing.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("!has(self.annotations) || self.annotations.all(name, !name.startsWith('countersign.dev/') || name == 'countersign.dev/allow-direct-injection')")
        .message("secretTemplate.annotations must not begin with countersign.dev/, but for countersign.dev/allow-direct-injection")
)]
#[serde(rename_all = "camelCase")]
pub struct SecretTemplate {
    /// Annotations to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// Labels to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
}

/// Names an issuer.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Eq, Hash, Serialize)]
#[x_kube(
    validation = Rule::new("(has(self.group) && self.group != 'countersign.dev') || !has(self.kind) || self.kind in ['Issuer', 'ClusterIssuer']")
        .message("kind must be Issuer or ClusterIssuer where group is countersign.dev")
)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its kind; Issuer unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub kind: Option<String>,
    /// Its API group; countersign.dev unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
}

/// The kind of key, and when it is replaced.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("!has(self.size) || (has(self.algorithm) && self.algorithm == 'Ed25519') || (has(self.algorithm) && self.algorithm == 'ECDSA' ? self.size in [256, 384, 521] : self.size in [2048, 3072, 4096, 8192])")
        .message("size must be 256, 384 or 521 for ECDSA, and 2048, 3072, 4096 or 8192 for RSA")
        .field_path(".size")
)]
#[serde(rename_all = "camelCase")]
pub struct PrivateKeySpec {
    /// When the key is replaced; Always unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_policy: Option<RotationPolicy>,
    /// How the key is written; PKCS1 unless set, and always PKCS8 for Ed25519.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<KeyEncoding>,
    /// RSA unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<KeyAlgorithm>,
    /// Bits: 2048, 3072, 4096 or 8192 for RSA (2048 unless set); 256, 384 or 521 for ECDSA (256
    /// unless set). Ed25519 has one size, whatever stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i32>,
}

/// When a private key is replaced.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum RotationPolicy {
    /// With every certificate.
    #[default]
    Always,
    /// Only when there is none that can be read. One of another algorithm or size than the spec
    /// asks for is not replaced: Ready then says `CannotRegenerateKey`, until the Secret is
    /// deleted or the policy is Always.
    Never,
}

/// How a private key is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum KeyEncoding {
    /// PKCS#1 for RSA, SEC 1 for ECDSA.
    #[default]
    PKCS1,
    /// PKCS#8.
    PKCS8,
}

/// The algorithm of a private key.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum KeyAlgorithm {
    /// RSA.
    #[default]
    RSA,
    /// ECDSA on a NIST curve.
    ECDSA,
    /// Ed25519.
    Ed25519,
}

/// What a key may be used for: RFC 5280 key usages and extended key usages by their usual names.
#[derive(
    Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize,
)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each name is the usage's own")]
pub enum KeyUsage {
    Signing,
    #[serde(rename = "digital signature")]
    DigitalSignature,
    #[serde(rename = "content commitment")]
    ContentCommitment,
    #[serde(rename = "key encipherment")]
    KeyEncipherment,
    #[serde(rename = "key agreement")]
    KeyAgreement,
    #[serde(rename = "data encipherment")]
    DataEncipherment,
    #[serde(rename = "cert sign")]
    CertSign,
    #[serde(rename = "crl sign")]
    CrlSign,
    #[serde(rename = "encipher only")]
    EncipherOnly,
    #[serde(rename = "decipher only")]
    DecipherOnly,
    Any,
    #[serde(rename = "server auth")]
    ServerAuth,
    #[serde(rename = "client auth")]
    ClientAuth,
    #[serde(rename = "code signing")]
    CodeSigning,
    #[serde(rename = "email protection")]
    EmailProtection,
    #[serde(rename = "s/mime")]
    SMime,
    #[serde(rename = "ipsec end system")]
    IpsecEndSystem,
    #[serde(rename = "ipsec tunnel")]
    IpsecTunnel,
    #[serde(rename = "ipsec user")]
    IpsecUser,
    Timestamping,
    #[serde(rename = "ocsp signing")]
    OcspSigning,
    #[serde(rename = "microsoft sgc")]
    MicrosoftSgc,
    #[serde(rename = "netscape sgc")]
    NetscapeSgc,
}

/// What is in the Secret, and what happens next.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// `Ready`, and `Issuing` while a certificate is wanted. Whoever sets `Issuing` to True asks
    /// for a renewal now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// When issuance last failed; absent once it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure_time: Option<Time>,
    /// From when the certificate in the Secret is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// Until when it is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// When it will be renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal_time: Option<Time>,
    /// How many certificates were issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// The Secret that holds the key of a request that is under way, with an external issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_private_key_secret_name: Option<String>,
    /// How many issuances failed since the last that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_issuance_attempts: Option<i32>,
}
