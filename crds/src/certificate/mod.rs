//! `Certificate`: what should be in a Secret, and who shall sign it.

mod key;
mod names;
mod renewal;
mod secret;
mod usage;

use countersign_contract::names::API_GROUP;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::key::{
    KeyAlgorithm, KeyEncoding, PrivateKeySpec, RotationPolicy, SignatureAlgorithm,
};
pub use self::names::{NameConstraintItem, NameConstraints, OtherName, X509Subject};
pub use self::renewal::{Renewal, RenewalPolicy, RenewalWindow};
pub use self::secret::{
    AdditionalOutputFormat, JksKeystore, Keystores, OutputFormat, Pkcs12Keystore, Pkcs12Profile,
    SecretDeletionPolicy, SecretKeySelector, SecretTemplate,
};
pub use self::usage::KeyUsage;
use crate::condition::Condition;
use crate::duration::too_long;

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
    validation = Rule::new("(has(self.commonName) && self.commonName != '') || (has(self.literalSubject) && self.literalSubject.matches('(?i)(^|[,+;])[ ]*(CN|2\\\\.5\\\\.4\\\\.3)[ ]*=')) || [has(self.dnsNames) && size(self.dnsNames) > 0, has(self.ipAddresses) && size(self.ipAddresses) > 0, has(self.uris) && size(self.uris) > 0, has(self.emailAddresses) && size(self.emailAddresses) > 0, has(self.otherNames) && size(self.otherNames) > 0].exists(set, set)")
        .message("at least one of commonName (or CN in literalSubject), dnsNames, ipAddresses, uris, emailAddresses or otherNames must be set"),
    validation = Rule::new("!has(self.literalSubject) || self.literalSubject == '' || !((has(self.commonName) && self.commonName != '') || (has(self.subject) && ([self.subject.?organizations, self.subject.?countries, self.subject.?organizationalUnits, self.subject.?localities, self.subject.?provinces, self.subject.?streetAddresses, self.subject.?postalCodes].exists(parts, parts.orValue([]).size() > 0) || self.subject.?serialNumber.orValue('') != '')))")
        .message("literalSubject is the whole subject: leave out commonName and subject")
        .field_path(".literalSubject"),
    validation = Rule::new(concat!("!", too_long!("self.duration")))
        .message("duration must be less than 1000000h")
        .field_path(".duration"),
    validation = Rule::new(concat!("!", too_long!("self.renewBefore")))
        .message("renewBefore must be less than 1000000h")
        .field_path(".renewBefore"),
    validation = Rule::new(concat!("!has(self.duration) || ", too_long!("self.duration"), " || duration(self.duration) >= duration('5m')"))
        .message("duration must be at least 5m")
        .field_path(".duration"),
    validation = Rule::new(concat!("!has(self.renewBefore) || ", too_long!("self.renewBefore"), " || ", too_long!("self.duration"), " || duration(self.renewBefore) < (has(self.duration) ? duration(self.duration) : duration('2160h'))"))
        .message("renewBefore must be shorter than duration (2160h unless set)")
        .field_path(".renewBefore"),
    validation = Rule::new(concat!("!has(self.renewBefore) || ", too_long!("self.renewBefore"), " || duration(self.renewBefore) >= duration('1m')"))
        .message("renewBefore must be at least 1m")
        .field_path(".renewBefore"),
    validation = Rule::new("!has(self.renewBefore) || !has(self.renewBeforePercentage)")
        .message("renewBefore and renewBeforePercentage exclude each other: set one of them")
        .field_path(".renewBeforePercentage"),
    validation = Rule::new(concat!("!has(self.renewBeforePercentage) || ", too_long!("self.duration"), " || (has(self.duration) ? duration(self.duration) : duration('2160h')).getSeconds() * self.renewBeforePercentage / 100 >= 60"))
        .message("renewBeforePercentage of duration must be at least 1m")
        .field_path(".renewBeforePercentage"),
    validation = Rule::new("!has(self.nameConstraints) || (has(self.isCA) && self.isCA)")
        .message("nameConstraints are for authorities: set isCA to true")
        .field_path(".nameConstraints"),
    validation = Rule::new("!has(self.maxPathLength) || (has(self.isCA) && self.isCA)")
        .message("maxPathLength is for authorities: set isCA to true")
        .field_path(".maxPathLength"),
    validation = Rule::new("!has(self.signatureAlgorithm) || (has(self.privateKey) && has(self.privateKey.algorithm) ? (self.privateKey.algorithm == 'ECDSA' ? self.signatureAlgorithm.startsWith('ECDSA') : self.privateKey.algorithm == 'Ed25519' ? self.signatureAlgorithm == 'PureEd25519' : self.signatureAlgorithm.endsWith('WithRSA')) : self.signatureAlgorithm.endsWith('WithRSA'))")
        .message("signatureAlgorithm must be one of the key's: *WithRSA for RSA (the default), ECDSAWith* for ECDSA, PureEd25519 for Ed25519")
        .field_path(".signatureAlgorithm")
)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSpec {
    /// The subject's common name; at most 64 bytes (RFC 5280, ub-common-name). Names that are
    /// verified belong in dnsNames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("size(bytes(self)) <= 64").message("commonName must be at most 64 bytes long"))]
    pub common_name: Option<String>,
    /// The rest of the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<X509Subject>,
    /// The whole subject, in the text form of RFC 4514, in place of commonName and subject:
    /// `CN=web,OU=shop,O=bank,C=DE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub literal_subject: Option<String>,
    /// How long each certificate is valid, a Go duration; 2160h (90 days) unless set, 5m at
    /// least. It counts from notBefore, which is set back by up to 5 minutes, since clocks differ.
    /// A certificate never outlives the authority that signs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"))]
    pub duration: Option<Duration>,
    /// How long before its end a certificate is renewed, a Go duration; a third of its lifetime
    /// unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"))]
    pub renew_before: Option<Duration>,
    /// The same as a part of the lifetime, in percent: with 25, a certificate of an hour is renewed
    /// when 15 minutes are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub renew_before_percentage: Option<i32>,
    /// Whether it is renewed at all, and in which windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Renewal>,
    /// DNS names, with or without a leading wildcard label. A dot at the end, which no verifier
    /// matches, is left out of the certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        inner(
            length(min = 1, max = 253),
            regex(
                pattern = r"^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$"
            )
        )
    )]
    pub dns_names: Vec<String>,
    /// IP addresses, of either family. An IPv4 address in the form of IPv6 (`::ffff:10.0.0.1`) is
    /// that IPv4 address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 250), inner(length(min = 2, max = 45)))]
    #[x_kube(validation = Rule::new("self.all(address, isIP(address) || (address.lowerAscii().startsWith('::ffff:') && isIP(address.substring(7))))").message("ipAddresses must hold IP addresses only"))]
    pub ip_addresses: Vec<String>,
    /// URIs, such as a SPIFFE ID. What is not ASCII is written with percent signs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 250),
        inner(
            length(min = 1, max = 2048),
            regex(pattern = r"^([!-$&-9;-~]|%[0-9A-Fa-f]{2})([!-$&-~]|%[0-9A-Fa-f]{2})*$")
        )
    )]
    pub uris: Vec<String>,
    /// E-mail addresses, bare.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 250),
        inner(
            length(min = 3, max = 254),
            regex(
                pattern = r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"
            )
        )
    )]
    pub email_addresses: Vec<String>,
    /// Names of other kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub other_names: Vec<OtherName>,
    /// The Secret to write, of type kubernetes.io/tls: tls.crt, tls.key and ca.crt. A Secret that
    /// exists and was not made for this Certificate is written to only once its annotation
    /// `countersign.dev/adopt` names the Certificate.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub secret_name: String,
    /// Labels and annotations for the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_template: Option<SecretTemplate>,
    /// What becomes of the Secret when the Certificate is deleted; Retain unless set. A Secret that
    /// the operator did not make is never deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_deletion_policy: Option<SecretDeletionPolicy>,
    /// Key stores to make beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keystores: Option<Keystores>,
    /// Other forms in which key and certificate are written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub additional_output_formats: Vec<AdditionalOutputFormat>,
    /// Who shall sign. Where it is left out, the default issuer of the namespace (its annotation
    /// countersign.dev/default-issuer), or else of the cluster, where there is one.
    #[serde(default, skip_serializing_if = "IssuerRef::is_absent")]
    pub issuer_ref: IssuerRef,
    /// Ask for a certificate that may sign others; adds the usage `cert sign`.
    #[serde(default, rename = "isCA", skip_serializing_if = "Option::is_none")]
    pub is_ca: Option<bool>,
    /// How many authorities may follow below this one (RFC 5280, pathLenConstraint): 0 for one that
    /// signs leaves only. For isCA only. An authority that is limited itself signs one less than its
    /// own at most. Where it is left out, there is no limit but what an authority above has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub max_path_length: Option<i32>,
    /// What the key may be used for; digital signature and key encipherment unless set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub usages: Vec<KeyUsage>,
    /// The kind of key, and when it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<PrivateKeySpec>,
    /// How it signs itself or its request; what goes with the key unless set. An authority's own
    /// key decides about what it signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_algorithm: Option<SignatureAlgorithm>,
    /// Whether a request says which usages it wants; true unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encode_usages_in_request: Option<bool>,
    /// Which names it may sign, for an authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_constraints: Option<NameConstraints>,
    /// How many CertificateRequests of earlier revisions are kept, where any are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub revision_history_limit: Option<i32>,
}

/// Names an issuer.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Eq, Hash, Serialize)]
#[x_kube(
    validation = Rule::new("(has(self.group) && !(self.group in ['', 'countersign.dev'])) || !has(self.kind) || self.kind in ['', 'Issuer', 'ClusterIssuer']")
        .message("kind must be Issuer or ClusterIssuer where group is countersign.dev (the default): for an issuer of others, set group")
        .field_path(".kind"),
    validation = Rule::new("!has(self.group) || self.group != 'cert-manager.io'")
        .message("the issuers of cert-manager.io answer no requests of countersign.dev: leave group out, or write countersign.dev")
        .field_path(".group")
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

impl IssuerRef {
    /// Whether nobody is named.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self == &Self::default()
    }

    /// Its kind: Issuer unless set.
    #[must_use]
    pub fn effective_kind(&self) -> &str {
        self.kind.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("Issuer")
    }

    /// Its API group: ours unless set.
    #[must_use]
    pub fn effective_group(&self) -> &str {
        self.group.as_deref().filter(|group| !group.is_empty()).unwrap_or(API_GROUP)
    }
}

/// What is in the Secret, and what happens next.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// `Ready`, and `Issuing` while a certificate is wanted. A client that sets `Issuing` to True asks
    /// for a renewal now, as does a new value of annotation `countersign.dev/renew-requested-at`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
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
    /// The version of the Secret that this status is about: while it has not changed, the Secret
    /// need not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_resource_version: Option<String>,
    /// The value of annotation `countersign.dev/renew-requested-at` that was last acted upon. Another
    /// value asks for a renewal now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_requested_at: Option<String>,
    /// The fingerprint of the authority that signed the certificate (see the status of its
    /// issuer); when the issuer has another one, the certificate is issued again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}
