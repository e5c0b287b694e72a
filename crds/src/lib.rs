//! The API: one kind a file, and the schema that `kubectl apply -f crds/` installs.
//!
//! Every rule that the API server can check stands here, as schema or CEL, so that a wrong
//! manifest is refused at `kubectl apply`, with a message that names the field, and no webhook of
//! ours stands in that path. What a rule says in prose is said once, in its message.

#![expect(
    unreachable_pub,
    reason = "what the derive of kube makes beside a type is pub, and stays here"
)]
#![expect(clippy::duplicated_attributes, reason = "each printer column names its type")]

mod access_policy;
mod certificate;
mod condition;
mod duration;
mod issuer;
mod policy;
mod request;

pub use access_policy::{
    AccessEgress, AccessEnforcement, AccessPolicy, AccessPolicySpec, AccessPolicyStatus,
    AccessPort, AccessRule, ClientIdentity, MinTlsVersion, PodSelector, PortMode, RecentDenial,
    UnmeshedEgress,
};
pub use certificate::{
    AdditionalOutputFormat, Certificate, CertificateSpec, CertificateStatus, IssuerRef,
    JksKeystore, KeyAlgorithm, KeyEncoding, KeyUsage, Keystores, NameConstraintItem,
    NameConstraints, OtherName, OutputFormat, Pkcs12Keystore, Pkcs12Profile, PrivateKeySpec,
    Renewal, RenewalPolicy, RenewalWindow, RotationPolicy, SecretDeletionPolicy, SecretKeySelector,
    SecretTemplate, SignatureAlgorithm, X509Subject,
};
pub use condition::{Condition, ConditionStatus};
pub use issuer::{
    CaIssuer, ClusterIssuer, ClusterIssuerSpec, Issuer, IssuerSpec, IssuerStatus, SelfSignedIssuer,
};
pub use policy::{
    Approval, KeyRule, LabelExpression, LabelOperator, NamespaceSelector, OtherNameRule,
    SigningPolicy, SigningRule, SubjectRule,
};
pub use request::{CertificateRequest, CertificateRequestSpec, CertificateRequestStatus};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Every definition, in the order in which people read them.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        AccessPolicy::crd(),
        Certificate::crd(),
        CertificateRequest::crd(),
        ClusterIssuer::crd(),
        Issuer::crd(),
    ]
}
