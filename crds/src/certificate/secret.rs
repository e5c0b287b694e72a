//! What is in the Secret beside the certificate and its key.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Labels and annotations for the Secret, kept right without re-issuing.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("!has(self.annotations) || self.annotations.map(name, size(name) + size(self.annotations[name])).sum() <= 65536")
        .message("secretTemplate.annotations must be at most 65536 bytes long, all together"),
    validation = Rule::new("!has(self.labels) || self.labels.all(name, size(name) >= 1 && size(name) <= 317)")
        .message("the names of secretTemplate.labels must be between 1 and 317 characters long"),
    validation = Rule::new("!has(self.annotations) || self.annotations.all(name, size(name) >= 1 && size(name) <= 317)")
        .message("the names of secretTemplate.annotations must be between 1 and 317 characters long"),
    validation = Rule::new("!has(self.annotations) || self.annotations.all(name, !name.startsWith('countersign.dev/') || name == 'countersign.dev/allow-direct-injection')")
        .message("secretTemplate.annotations must not begin with countersign.dev/, but for countersign.dev/allow-direct-injection")
)]
#[serde(rename_all = "camelCase")]
pub struct SecretTemplate {
    /// Annotations to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
    /// Labels to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
}

/// Kubernetes keeps at most 256 KiB of annotations; the operator's own need most of that at most.
fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 65_536 },
    })
}

/// What Kubernetes takes as the value of a label.
fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 64,
        "additionalProperties": {
            "type": "string", "maxLength": 63,
            "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
        },
    })
}

/// Key stores for programs that read no PEM.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Keystores {
    /// keystore.jks, and truststore.jks where the root is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jks: Option<JksKeystore>,
    /// keystore.p12, and truststore.p12 where the root is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pkcs12: Option<Pkcs12Keystore>,
}

/// A Java key store.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("!self.create || has(self.passwordSecretRef) != has(self.password)")
        .message("exactly one of passwordSecretRef and password must be set")
)]
#[serde(rename_all = "camelCase")]
pub struct JksKeystore {
    /// Whether it is made.
    pub create: bool,
    /// Under which name the key is kept; `certificate` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub alias: Option<String>,
    /// The password, in a Secret beside the Certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeySelector>,
    /// The password itself. Whoever may read the Certificate can read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub password: Option<String>,
}

/// A PKCS#12 key store (RFC 7292).
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("!self.create || has(self.passwordSecretRef) != has(self.password)")
        .message("exactly one of passwordSecretRef and password must be set")
)]
#[serde(rename_all = "camelCase")]
pub struct Pkcs12Keystore {
    /// Whether it is made.
    pub create: bool,
    /// How it is enciphered; LegacyRC2 unless set, as with cert-manager. That profile protects nothing:
    /// set Modern2023 where the program that reads it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Pkcs12Profile>,
    /// The password, in a Secret beside the Certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeySelector>,
    /// The password itself. Whoever may read the Certificate can read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub password: Option<String>,
}

/// How a PKCS#12 key store is enciphered.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum Pkcs12Profile {
    /// RC2 and 3DES with SHA-1: what the oldest programs read, and no protection.
    #[default]
    LegacyRC2,
    /// 3DES with SHA-1.
    LegacyDES,
    /// AES-256 and PBKDF2 with SHA-256.
    Modern2023,
    /// The same with PBMAC1 (RFC 9579).
    Modern2026,
}

/// A key of a Secret in the same namespace.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub struct SecretKeySelector {
    /// The Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its key; `password` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// Another form in which the key and the certificate are written.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub struct AdditionalOutputFormat {
    /// Which.
    #[serde(rename = "type")]
    pub type_: OutputFormat,
}

/// A form in which the key and the certificate are written.
#[derive(
    Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize,
)]
pub enum OutputFormat {
    /// key.der: the private key in DER.
    DER,
    /// tls-combined.pem: the private key, an empty line's feed, then the chain.
    CombinedPEM,
}

/// What becomes of the Secret when its Certificate is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum SecretDeletionPolicy {
    /// It stays: deleting a Certificate by mistake takes down nothing.
    #[default]
    Retain,
    /// It goes too.
    Delete,
}
