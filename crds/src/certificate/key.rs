//! The kind of key, when it is replaced, and how things are signed with it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind of key, and when it is replaced.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("!has(self.size) || self.size == 0 || (has(self.algorithm) && self.algorithm == 'Ed25519') || (has(self.algorithm) && self.algorithm == 'ECDSA' ? self.size in [256, 384, 521] : self.size in [2048, 3072, 4096, 8192])")
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
    /// unless set); 0 is the same as not set. RSA 8192 is made only where the operator has
    /// `--max-rsa-bits=8192`, since it takes a core for many seconds. Ed25519 has one size, whatever stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i32>,
}

/// When a private key is replaced.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum RotationPolicy {
    /// With every certificate.
    #[default]
    Always,
    /// Only when there is none. A key that cannot be read, or is of another algorithm or size than
    /// the spec asks for, is not replaced: Ready then says `CannotRegenerateKey`, until the Secret is
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

/// A signature algorithm; it must be one of the key's.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each name is the algorithm's own")]
pub enum SignatureAlgorithm {
    SHA256WithRSA,
    SHA384WithRSA,
    SHA512WithRSA,
    ECDSAWithSHA256,
    ECDSAWithSHA384,
    ECDSAWithSHA512,
    PureEd25519,
}
