//! Labels, annotations and keys of the Secrets that the operator writes.

/// Label of every Secret of ours; the operator watches Secrets by it.
pub const OURS_LABEL: &str = "controller.countersign.dev/fao";
/// The Certificate that a Secret belongs to.
pub const CERTIFICATE_NAME: &str = "countersign.dev/certificate-name";
/// Who signed it.
pub const ISSUER_NAME: &str = "countersign.dev/issuer-name";
/// The kind of who signed it.
pub const ISSUER_KIND: &str = "countersign.dev/issuer-kind";
/// The API group of who signed it.
pub const ISSUER_GROUP: &str = "countersign.dev/issuer-group";
/// The lifetime that was asked for, in seconds; the certificate's own may have been cut short by
/// its authority's, so that it cannot tell whether the spec changed since.
pub const REQUESTED_SECONDS: &str = "countersign.dev/requested-duration-seconds";
/// The path length that was asked for, where one was: the certificate alone cannot tell one that was
/// asked for from one that its authority wrote.
pub const REQUESTED_PATH_LENGTH: &str = "countersign.dev/requested-max-path-length";
/// Which revision of a Certificate a request is for, or a Secret holds.
pub const REVISION: &str = "countersign.dev/certificate-revision";
/// The Secret with the private key of a CSR that a selfSigned issuer shall sign.
pub const PRIVATE_KEY_SECRET: &str = "countersign.dev/private-key-secret-name";
/// What a request was asked to say, as a digest of that part of the Certificate's spec.
pub const REQUEST_DIGEST: &str = "countersign.dev/request-digest";
/// Label of a Secret with the key of a request that is under way.
pub const NEXT_KEY_LABEL: &str = "countersign.dev/next-private-key";
/// Annotation of a Certificate: a certificate that nobody trusts shall be there while it waits.
pub const ISSUE_TEMPORARY: &str = "countersign.dev/issue-temporary-certificate";
/// Annotation of a Secret: the Certificate of this name may write to it, although the operator did not
/// make it.
pub const ADOPT: &str = "countersign.dev/adopt";
/// Annotation of a Certificate: a renewal is asked for; each value once.
pub const RENEW_REQUESTED_AT: &str = "countersign.dev/renew-requested-at";
/// Annotation of a Secret whose certificate nobody trusts.
pub const TEMPORARY: &str = "countersign.dev/temporary";
/// The names in the certificate, for people and their tools.
pub const COMMON_NAME: &str = "countersign.dev/common-name";
/// DNS names, comma separated.
pub const ALT_NAMES: &str = "countersign.dev/alt-names";
/// IP addresses, comma separated.
pub const IP_SANS: &str = "countersign.dev/ip-sans";
/// URIs, comma separated.
pub const URI_SANS: &str = "countersign.dev/uri-sans";
/// E-mail addresses, comma separated; only where there are any, as all that follow.
pub const EMAIL_SANS: &str = "countersign.dev/email-sans";
/// O of the subject.
pub const SUBJECT_ORGANIZATIONS: &str = "countersign.dev/subject-organizations";
/// OU of the subject.
pub const SUBJECT_UNITS: &str = "countersign.dev/subject-organizationalunits";
/// C of the subject.
pub const SUBJECT_COUNTRIES: &str = "countersign.dev/subject-countries";
/// ST of the subject.
pub const SUBJECT_PROVINCES: &str = "countersign.dev/subject-provinces";
/// L of the subject.
pub const SUBJECT_LOCALITIES: &str = "countersign.dev/subject-localities";
/// The postal codes of the subject.
pub const SUBJECT_POSTAL_CODES: &str = "countersign.dev/subject-postalcodes";
/// STREET of the subject.
pub const SUBJECT_STREETS: &str = "countersign.dev/subject-streetaddresses";
/// The subject's own serial number.
pub const SUBJECT_SERIAL_NUMBER: &str = "countersign.dev/subject-serialnumber";

/// Key of a Secret: the certificate, then its intermediates.
pub const TLS_CRT: &str = "tls.crt";
/// Key of a Secret: the private key.
pub const TLS_KEY: &str = "tls.key";
/// Key of a Secret: the root.
pub const CA_CRT: &str = "ca.crt";
/// What every Secret of ours holds; `ca.crt` where the root is known.
pub const THREE: [&str; 3] = [TLS_CRT, TLS_KEY, CA_CRT];
